"""A text ends before its first stop string, wherever tokens begin and end."""

import random

import pytest
from oracle import pair

from minigpt import generate, load_tokenizer
from minigpt.generation import stream_text
from minigpt.generation.text import before_stop, check_stop


class Letters:
    """A tokenizer whose tokens are given texts: some of one letter, some of several."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def encode(self, text):
        return [self.pieces.index(letter) for letter in text]

    def decode_stream(self, ids):
        return (self.pieces[id] for id in ids)


def cut(text, stop):
    """(what is in front of the first stop string, that string) by the definition: after each character, look whether
    the text ends with a stop string; the longest one counts."""
    for end in range(1, len(text) + 1):
        ending = [one for one in stop if text[:end].endswith(one)]
        if ending:
            found = max(ending, key=len)
            return text[: end - len(found)], found
    return text, None


def run(pieces, stop):
    """(pieces that come out, the result of the generator, how many pieces it has taken)."""
    taken, written = 0, []

    def counted():
        nonlocal taken
        for piece in pieces:
            taken += 1
            yield piece

    def outer():
        return (yield from before_stop(counted(), stop))

    going = outer()
    while True:
        try:
            written.append(next(going))
        except StopIteration as end:
            return written, end.value, taken


@pytest.mark.parametrize(
    "pieces, stop, expected, found",
    [
        (["ab", "cd"], [], ["ab", "cd"], None),
        (["ab", "END", "cd"], ["END"], ["ab"], "END"),
        (["ab E", "N", "D cd", "x"], ["END"], ["ab "], "END"),  # over three tokens
        (["ab END cd", "x"], ["END"], ["ab "], "END"),  # inside one
        (["ab E", "NE", "xt"], ["END"], ["ab ", "EN", "Ext"], None),  # it only began like one; E may be a new beginning
        (["ab E", "N"], ["END"], ["ab ", "EN"], None),  # the text ends in its middle
        (["EN", "D"], ["END"], [], "END"),  # nothing in front
        (["aaa", "b"], ["aab"], ["a"], "aab"),
        (["a", "a", "a", "b"], ["aab"], ["a"], "aab"),  # the first beginning was not it
        (["x\n", "\n", "y"], ["\n\n"], ["x"], "\n\n"),
        (["abc"], ["bc", "abc"], [], "abc"),  # both end here: the longest
        (["abcd"], ["abcd", "bc"], ["a"], "bc"),  # complete first
        (["ab", "cd"], ["abcd", "bc"], ["a"], "bc"),  # the same in two pieces
        (["ab END END"], ["END"], ["ab "], "END"),
        (["🙂", "🙂你"], ["🙂你"], ["🙂"], "🙂你"),
        ([], ["END"], [], None),
    ],
    ids=str,
)
def test_where_a_text_ends(pieces, stop, expected, found):
    written, result, _ = run(pieces, stop)
    assert (written, result) == (expected, found)
    assert ("".join(written), result) == cut("".join(pieces), stop)


def test_any_text_cut_into_any_pieces():
    """Texts of two letters, where beginnings of stop strings are everywhere; and nothing waits longer than it must."""
    rng, n_found = random.Random(0), 0
    for _ in range(3000):
        text = "".join(rng.choice("ab") for _ in range(rng.randint(0, 14)))
        stop = ["".join(rng.choice("ab") for _ in range(rng.randint(1, 5))) for _ in range(rng.randint(0, 3))]
        places = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 6)))
        pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
        written, result, taken = run(pieces, stop)
        assert ("".join(written), result) == cut(text, stop), (pieces, stop)
        assert all(written)
        n_found += result is not None
        if result is not None:  # no piece was taken after the one in which the stop string is complete
            before = "".join(pieces[: taken - 1])
            assert cut(before, stop) == (before, None)
        elif pieces[-1]:  # what is held back until the end is the beginning of a stop string, and no more
            waits = max((n for one in stop for n in range(len(one)) if text.endswith(one[:n])), default=0)
            assert "".join(written_before_the_end(pieces, stop)) == text[: len(text) - waits]
    assert 1000 < n_found < 2700


def written_before_the_end(pieces, stop):
    """What is written when the last piece is there and it is not known yet that the text ends."""
    at_the_end = False

    def given():
        nonlocal at_the_end
        yield from pieces
        at_the_end = True

    for piece in before_stop(given(), stop):
        if at_the_end:
            return
        yield piece


def test_a_models_text_ends_before_the_stop_string_and_no_token_is_chosen_after_it():
    """Tokens of several letters: a stop string over two tokens, and one inside a token."""
    ours, _ = pair(3, vocab_size=30, bos_token_id=0, eos_token_id=None)
    tokenizer = Letters(*"abcdefghij", *(a + b for a in "abcde" for b in "fghi"))
    passes = []
    ours.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    for settings in ({}, {"do_sample": True, "seed": 3, "temperature": 2.0}, {"min_new_tokens": 2}):
        ids = generate(ours, [tokenizer.encode("abc")], 12, **settings)[0][3:]
        spelled = [tokenizer.pieces[id] for id in ids]
        whole = "".join(spelled)
        assert "".join(stream_text(ours, tokenizer, "abc", 12, **settings)) == whole
        ends = {whole[first:last] for first in range(len(whole)) for last in range(first + 1, first + 4)}
        for end in ends - {""}:
            passes.clear()
            text = "".join(stream_text(ours, tokenizer, "abc", 12, stop=["??", end], **settings))
            assert text == whole[: whole.index(end)]
            needed = next(n for n in range(1, 13) if end in "".join(spelled[:n]))
            assert len(passes) == needed
    assert "".join(stream_text(ours, tokenizer, "abc", 0, stop=["a"])) == ""


def test_a_text_of_the_tiny_model(tiny):
    tokenizer = load_tokenizer("tiny")
    whole = "".join(stream_text(tiny, tokenizer, "Return the", 30))
    [ids] = generate(tiny, [tokenizer.encode("Return the")], 30)
    assert whole == tokenizer.decode(ids)[len("Return the") :]
    middle = whole[len(whole) // 2 :][:3]
    for stop in ([middle], ["no such text", middle], (middle, whole)):
        pieces = list(stream_text(tiny, tokenizer, "Return the", 30, stop=stop))
        assert "".join(pieces) == whole[: whole.index(middle)] and all(pieces)
    assert "".join(stream_text(tiny, tokenizer, "Return the", 30, stop=["Return", "the"])) == whole.split("the")[0]


def test_bad_stop_strings_are_refused_before_any_work():
    """The error comes at the call, not at the first piece."""
    ours, _ = pair(1)
    ours.blocks[0].register_forward_hook(lambda *_: pytest.fail("work was done"))
    for bad, place in ([""], 0), (["a", ""], 1), (["a", "b", "", ""], 2):
        with pytest.raises(
            ValueError, match=f"stop must be a list of texts that are not empty, got '' as text {place}"
        ):
            stream_text(ours, Letters("a"), "a", 3, stop=bad)
    for bad in ("END", b"END", None, 5, [5], ["a", None], ["a", b"b"], [["a"]]):
        with pytest.raises(ValueError, match="stop must be a list of texts, got"):
            stream_text(ours, Letters("a"), "a", 3, stop=bad)
    for bad in ([0], None, b"a", ["a"]):
        with pytest.raises(ValueError, match="prompt must be a text"):
            stream_text(ours, Letters("a"), bad, 3)
    for bad, words in [({"temperature": 2.0}, "do_sample"), ({"num_beams": 2}, "num_beams=2 cannot be streamed")]:
        with pytest.raises(ValueError, match=words):
            stream_text(ours, Letters("a"), "a", 3, **bad)
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        stream_text(ours, Letters("a"), "", 3)
    assert check_stop(["a", "bc"]) == ["a", "bc"] and check_stop(()) == []
