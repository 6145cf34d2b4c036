"""tiny-llama, tiny-bert, tiny-t5 and tiny-zh are what their cards, weights/README.md, say they are."""

import json

import numpy as np
import pytest
import torch
import transformers
from cards import WEIGHTS, Card
from safetensors.torch import load_file

from minigpt import generate, load_model, load_tokenizer
from minigpt.data import documentation_corpus, encode_documents, module_documentation
from minigpt.data.tang_poems import keeps_form, poems_of, tang_poems_corpus
from minigpt.data.texts import longest_shared_run
from minigpt.perplexity import score
from minigpt.tokenizer import Tokenizer
from minigpt.train.baselines import kneser_ney_guesses, kneser_ney_nll, primed_lzma_bytes, unigram
from minigpt.train.held_out import cross_attention_cut, masked_guesses, span_losses
from minigpt.train.recipes import objective_of, recipe_config

FAMILIES = {"tiny-llama": "llama", "tiny-bert": "bert", "tiny-t5": "t5", "tiny-zh": "gpt2"}
EACH = pytest.mark.parametrize("name", FAMILIES)
UNSEEN = "python.unittest.mock"  # held out


def plain(tokenizer) -> Tokenizer:
    """The tokenizer without the tokens that it puts around a text: for texts that are cut into rows."""
    return Tokenizer(tokenizer.vocabulary, tokenizer.merges, tokenizer.special_tokens, tokenizer.eos_token)


def held_out_rows(tokenizer) -> np.ndarray:
    return np.array(plain(tokenizer).encode(module_documentation(UNSEEN).text))


@pytest.fixture(scope="module")
def corpus():
    """(training, held-out) texts; skips if they are not those of the cards."""
    training, held_out = ([document.text for document in part] for part in documentation_corpus())
    if sum(len(text.encode()) for text in held_out) != Card("tiny").said(r"([\d,]+) bytes in 78 held-out"):
        pytest.skip("other versions of Python or its libraries are installed, and document themselves differently")
    return training, held_out


@EACH
def test_the_files_are_those_of_the_card(name):
    Card(name).check_files(WEIGHTS / name)


@EACH
def test_it_is_small_and_half_precision_on_disk_only(name):
    folder = WEIGHTS / name
    assert (
        sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".json", ".safetensors", ".txt"))
        <= 6.5e6
    )
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"
    n_parameters = sum(parameter.numel() for parameter in load_model(name).parameters())
    assert 2e6 <= n_parameters <= 3.1e6 and n_parameters == Card(name).said(r"of ([\d,]+) parameters")


@EACH
def test_it_has_the_size_of_its_recipe(name):
    there, recipe = vars(load_model(name).config), vars(recipe_config(name))
    ids = {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
    assert {field: there[field] for field in there.keys() - ids} == {
        field: recipe[field] for field in there.keys() - ids
    }


THEIRS = {
    "tiny-llama": transformers.AutoModelForCausalLM,
    "tiny-bert": transformers.AutoModelForMaskedLM,
    "tiny-t5": transformers.AutoModelForSeq2SeqLM,
    "tiny-zh": transformers.AutoModelForCausalLM,
}
TEXTS = {
    "tiny-llama": ["Return the", "If the array is 1-D,\n    it is", "x<|endoftext|>y"],
    "tiny-bert": ["Return the [MASK] of the list.", "a [MASK]", "import [MASK] as np\n>>> [MASK]"],
    "tiny-t5": ["Return the <extra_id_0> of the list.", "<extra_id_0>", "a <extra_id_0> b<extra_id_1>"],
    "tiny-zh": ["春夜\n李白\n", "床前明月光，疑是地上霜。", "a 龘 🙂"],
}


@EACH
@torch.no_grad()
def test_transformers_loads_it_unchanged(name):
    folder = WEIGHTS / name
    theirs, loading = THEIRS[name].from_pretrained(folder, output_loading_info=True)
    assert theirs.dtype == torch.float32 and not any(loading.values()), loading
    ours, tokenizer = load_model(name), load_tokenizer(name)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS[name]:
        ids = tokenizer.encode(text)
        assert their_tokenizer(text)["input_ids"] == ids and tokenizer.decode(ids) == their_tokenizer.decode(ids)
        tokens = torch.tensor([ids])
        if name == "tiny-t5":
            start = torch.tensor([[theirs.config.decoder_start_token_id, *ids[:3]]])
            a, b = ours(tokens, start), theirs(input_ids=tokens, decoder_input_ids=start).logits
        else:
            a, b = ours(tokens), theirs.eval()(tokens).logits
        assert (a - b).abs().max() < 2e-5 * b.abs().max()


def test_they_share_the_merges_of_tiny():
    merges = load_tokenizer("tiny").merges
    for name in FAMILIES.keys() - {"tiny-zh"}:
        own = load_tokenizer(name).merges
        assert own == merges[: len(own)] and len(own) >= len(merges) - 33


# --- the figures -----------------------------------------------------------------------------------------------------


def test_tiny_bert_guesses_masked_tokens():
    card, model, tokenizer = Card("tiny-bert"), load_model("tiny-bert", attention="sdpa"), load_tokenizer("tiny-bert")
    found = masked_guesses(model, held_out_rows(tokenizer), 128, objective_of("bert", tokenizer))
    assert found.nats == pytest.approx(card.said(rf"{UNSEEN} alone \| ([\d.]+) nats"), abs=1e-3)
    assert found.right.mean() == pytest.approx(card.said(rf"{UNSEEN} alone \| [\d.]+ nats, ([\d.]+) %") / 100, abs=2e-3)


def test_tiny_bert_beats_a_guess_from_the_left(corpus, full):
    if not full:
        pytest.skip("counting the corpus takes a minute: python -m pytest --full")
    card, model, tokenizer = Card("tiny-bert"), load_model("tiny-bert", attention="sdpa"), load_tokenizer("tiny-bert")
    tokens, unseen = (encode_documents(texts, plain(tokenizer)) for texts in corpus)
    found = masked_guesses(model, unseen, 128, objective_of("bert", tokenizer))
    truth, often = unseen[found.places], unigram(tokens, tokenizer.vocab_size)
    guesses = kneser_ney_guesses(tokens, unseen, found.places, tokenizer.vocab_size)
    nats = kneser_ney_nll(tokens, unseen, tokenizer.vocab_size)[found.places].mean()
    for what, loss, right in [
        ("held-out masked tokens", found.nats, found.right.mean()),
        ("the commonest token", -np.log(often[truth]).mean(), (truth == often.argmax()).mean()),
        ("Kneser-Ney from the left", nats, (truth == guesses).mean()),
    ]:
        assert loss == pytest.approx(card.said(rf"{what} \| ([\d.]+) nats"), abs=1e-3), what
        assert right == pytest.approx(card.said(rf"{what} \| [\d.]+ nats, ([\d.]+) %") / 100, abs=1e-3), what
    assert found.right.mean() > (truth == guesses).mean()  # the bar


def test_tiny_t5_reads_its_source():
    card, model, tokenizer = Card("tiny-t5"), load_model("tiny-t5", attention="sdpa"), load_tokenizer("tiny-t5")
    rows, objective = held_out_rows(tokenizer), objective_of("t5", tokenizer)
    whole = span_losses(model, rows, 64, objective)
    with cross_attention_cut(model):
        cut = span_losses(model, rows, 64, objective)
    assert whole.nats == pytest.approx(card.said(rf"{UNSEEN} alone \| ([\d.]+) nats"), abs=1e-3)
    assert cut.nats == pytest.approx(card.said(rf"{UNSEEN} alone, cross attention cut \| ([\d.]+) nats"), abs=1e-3)
    assert whole.nats < 0.85 * cut.nats and whole.nats_in_spans < 0.85 * cut.nats_in_spans  # the bar


def test_tiny_t5_beats_a_guess_from_the_left(corpus, full):
    if not full:
        pytest.skip("counting the corpus takes a minute: python -m pytest --full")
    card, model, tokenizer = Card("tiny-t5"), load_model("tiny-t5", attention="sdpa"), load_tokenizer("tiny-t5")
    tokens, unseen = (encode_documents(texts, plain(tokenizer)) for texts in corpus)
    objective = objective_of("t5", tokenizer)
    whole = span_losses(model, unseen, 64, objective)
    with cross_attention_cut(model):
        cut = span_losses(model, unseen, 64, objective)
    counted = kneser_ney_nll(tokens, unseen, tokenizer.vocab_size)[whole.places].mean()
    for what, losses in [("held-out spans", whole), ("cross attention cut", cut)]:
        assert losses.nats == pytest.approx(card.said(rf"\| {what} \| ([\d.]+) nats a predicted token"), abs=1e-3)
        said = card.said(rf"\| {what} \| [\d.]+ nats a predicted token, ([\d.]+) a token of a span")
        assert losses.nats_in_spans == pytest.approx(said, abs=1e-3)
    assert counted == pytest.approx(card.said(r"Kneser-Ney from the left \| ([\d.]+) nats a token of a span"), abs=1e-3)
    assert whole.nats < 0.85 * cut.nats and whole.nats_in_spans < counted


def test_tiny_llama_predicts_as_well_as_a_gpt2(corpus, full):
    if not full:
        pytest.skip("scoring the held-out documentation takes half a minute: python -m pytest --full")
    card, model, tokenizer = (
        Card("tiny-llama"),
        load_model("tiny-llama", attention="sdpa"),
        load_tokenizer("tiny-llama"),
    )
    unseen = encode_documents(corpus[1], tokenizer)
    bits = score(model, unseen.astype(np.int64), 256).bits_per_byte(sum(len(text.encode()) for text in corpus[1]))
    assert bits == pytest.approx(card.said(r"bits per byte \| ([\d.]+)"), abs=1e-4)
    assert bits <= 1.02 * Card("tiny").said(r"bits per byte \| ([\d.]+)")  # the bar


# --- poems -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples():
    """A hundred poems, each after the end-of-text token alone: the texts of 100 rows, seed 0."""
    model, tokenizer = load_model("tiny-zh", attention="sdpa"), load_tokenizer("tiny-zh")
    rows = generate(model, [[tokenizer.eos_id]] * 100, 200, do_sample=True, temperature=0.8, seed=0)
    return [tokenizer.decode(token for token in row if token != tokenizer.eos_id) for row in rows]


def test_tiny_zh_writes_regular_poems(samples):
    poems = [poems_of(text)[0] if text.count("\n") >= 2 else None for text in samples]
    regular = sum(poem is not None and keeps_form(poem) for poem in poems)
    assert regular == Card("tiny-zh").said(r"regular \| (\d+) of 100") and regular >= 80  # the bar
    assert not any("\ufffd" in text for text in samples)  # no half characters
    assert len(set(samples)) == 100


def test_tiny_zh_does_not_recite(samples, data):
    if not (data / "tangshi" / "tangshi.txt").exists():
        pytest.skip("$MINIGPT_DATA has no tangshi/tangshi.txt: python -m minigpt.data.tang_poems makes it")
    text = "\n\n".join(document.text for document in tang_poems_corpus()[0])
    runs = sorted(len(longest_shared_run(sample, text)) for sample in samples)
    card = Card("tiny-zh")
    assert runs[50] == card.said(r"verbatim \| (\d+) characters in the median")
    assert runs[-1] == card.said(r"verbatim \| \d+ characters in the median, (\d+) at most")


def test_tiny_zh_predicts_poets_that_it_has_not_read(data, full):
    if not full:
        pytest.skip("counting the poems takes a minute: python -m pytest --full")
    if not (data / "tangshi" / "tangshi.txt").exists():
        pytest.skip("$MINIGPT_DATA has no tangshi/tangshi.txt: python -m minigpt.data.tang_poems makes it")
    card, model, tokenizer = Card("tiny-zh"), load_model("tiny-zh", attention="sdpa"), load_tokenizer("tiny-zh")
    parts = [[document.text for document in part] for part in tang_poems_corpus()]
    tokens, unseen = (encode_documents(part, tokenizer) for part in parts)
    characters = sum(map(len, parts[1]))
    nats = {
        "bits per character": score(model, unseen.astype(np.int64), 256).whole_total,
        "Kneser-Ney": kneser_ney_nll(tokens, unseen, tokenizer.vocab_size).sum(),
        "lzma": 8 * np.log(2) * primed_lzma_bytes(*[[tokenizer.decode(part.tolist())] for part in (tokens, unseen)]),
    }
    for what, value in nats.items():
        assert value / np.log(2) / characters == pytest.approx(card.said(rf"{what} \| ([\d.]+)"), abs=1e-3), what
    assert nats["bits per character"] < min(nats["Kneser-Ney"], nats["lzma"])
