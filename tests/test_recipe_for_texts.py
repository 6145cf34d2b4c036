"""A text of one's own gets a model, a vocabulary and a training of its size."""

import json
import math

import pytest
from command_line import run

from minigpt import load_tokenizer
from minigpt.data import module_documentation
from minigpt.models import MODELS
from minigpt.train.recipe_for_texts import FIELDS, SIZES, recipe_for_texts

POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n"
ENGLISH = "The quick brown fox jumps over the lazy dog. "


def of_bytes(n: int) -> str:
    return (ENGLISH * (n // len(ENGLISH) + 1))[:n]


def test_longer_texts_get_larger_models():
    smaller = None
    for size in SIZES:
        n = 20_000_000 if size.most_bytes == math.inf else size.most_bytes
        recipe = recipe_for_texts([of_bytes(n)])
        assert (recipe.vocab_size, recipe.config.steps) == (size.vocab_size, size.steps)
        assert recipe.tokens_within == "words" and recipe.config.context == size.context
        assert recipe.config.steps == 20 * recipe.config.evaluate_every
        if smaller is not None:
            assert smaller.most_bytes < size.most_bytes
            assert smaller.width * smaller.n_layer <= size.width * size.n_layer
            assert recipe_for_texts([of_bytes(smaller.most_bytes + 1)]) == recipe
        smaller = size
    halves = [of_bytes(15_000), of_bytes(15_000)]  # they count together
    assert recipe_for_texts(halves).vocab_size == 1024


@pytest.mark.parametrize("model", FIELDS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width} wide")
def test_every_size_is_a_model_of_every_family(model, size):
    config = MODELS[model][1](vocab_size=size.vocab_size, **FIELDS[model](size))
    limit = getattr(config, "n_positions", None) or getattr(config, "max_position_embeddings", size.context)
    assert limit == size.context
    dropped = [value for name, value in vars(config).items() if "drop" in name and isinstance(value, float)]
    assert size.dropout in dropped and set(dropped) <= {size.dropout, 0.0}
    MODELS[model][0](config)


@pytest.mark.parametrize("n_bytes", [900, 2_000, 20_000])
def test_a_row_is_shorter_than_the_part_that_is_held_out(n_bytes):
    context = recipe_for_texts([of_bytes(n_bytes)]).config.context
    assert 8 <= context <= max(8, n_bytes / 80) and math.log2(context).is_integer()


def test_a_text_in_chinese_alone_is_enough(tmp_path, capsys):
    """The README's command, shortened: each character is a token, and the command that it prints works."""
    text = "".join(POEM + chr(0x4E00 + 7 * number) * 2 + "\n" for number in range(100))
    file, out = tmp_path / "poems.txt", tmp_path / "poems"
    file.write_text(text, encoding="utf-8")
    code, said, err = run(capsys, "train", "--text", file, "--out", out, "--steps", 40)
    assert code == 0, err
    assert f"chosen for {len(text.encode()):,} bytes of text: a token for each of the characters" in said
    settings = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert settings["model"]["n_layer"] == SIZES[0].n_layer and settings["config"]["steps"] == 40
    tokenizer = load_tokenizer(str(out))
    known = text[: int(len(text) * 0.9)]
    assert len(tokenizer.encode(known)) == len(known)  # no character of the training part is cut into bytes
    [generate] = [line for line in said.split("\n") if line.startswith("  python -m minigpt generate")]
    assert run(capsys, *generate.split()[3:4], "床前", *generate.split()[-2:], "--max-new-tokens", 3)[0] == 0


@pytest.mark.parametrize("model", [name for name in FIELDS if name != "gpt2"])
def test_the_other_families_are_chosen_for_too(tmp_path, capsys, model):
    file, out = tmp_path / "text.txt", tmp_path / "run"
    file.write_text(module_documentation("python.statistics").text[:12_000], encoding="utf-8")
    code, _, err = run(capsys, "train", "--text", file, "--out", out, "--model", model, "--steps", 2)
    assert code == 0, err
    settings = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert settings["model_type"] == model and settings["config"]["learning_rate"] == SIZES[0].learning_rate


@pytest.mark.parametrize("more", [["--recipe", "smoke"], ["--init", "tiny", "--set", "context=64"]])
def test_who_asks_for_a_recipe_or_a_model_gets_it(tmp_path, capsys, more):
    file, out = tmp_path / "text.txt", tmp_path / "run"
    file.write_text(of_bytes(9_000), encoding="utf-8")
    code, said, err = run(capsys, "train", "--text", file, "--out", out, "--steps", 1, *more)
    assert code == 0 and "chosen" not in said.replace("(chosen on", ""), err


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="model must be one of gpt2, llama, bert, t5; got 'gpt3'"):
        recipe_for_texts([POEM], "gpt3")
    with pytest.raises(ValueError, match="texts must be a list of texts"):
        recipe_for_texts(POEM)
    with pytest.raises(ValueError, match="texts must be a list of texts, got 3 as text 1"):
        recipe_for_texts([POEM, 3])
