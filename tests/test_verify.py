"""`verify` compares all four families with transformers, and names the first layer that differs."""

import json

import pytest
import torch
from command_line import run
from oracle import pair

from minigpt import load_model, save_model
from minigpt.checkpoints.configs import model_type
from minigpt.commands import verify as verify_command
from minigpt.compare import first_layer, first_place, verdict, verify

FAMILIES = ["gpt2", "llama", "bert", "t5"]


def saved(folder, family, dtype=torch.float64, **fixed):
    ours, _ = pair(1, dtype, family=family, **fixed)
    save_model(ours, folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_quantity_of_every_family(tmp_path, family, dtype):
    found = verify(load_model(saved(tmp_path, family), dtype=dtype), tmp_path)
    assert all(difference.ok for difference in found) and verdict(found) is None and first_layer(found) is None
    assert all(d.difference >= 0 for d in found) and any(d.difference > 0 for d in found)
    names = {difference.quantity for difference in found}
    assert len(names) == len(found)
    expected = {
        "gpt2": {"logits, left padding", "logits, cached", "loss", "hidden states", "attention weights", "logits"},
        "bert": {"logits, masked token", "loss, masked token", "logits, next sentence", "hidden states, right padding"},
        "t5": {"encoder hidden states", "decoder hidden states", "cross attention weights", "logits, cached", "loss"},
    }
    assert names >= expected.get(family, expected["gpt2"])


HEADS = [
    (dict(has_sentence_head=False, has_pooler=False), {"logits, masked token"}),
    (dict(has_head=False), {"logits, next sentence"}),
    (dict(has_head=False, has_sentence_head=False), {"hidden states, pooled"}),
]


@pytest.mark.parametrize("heads, expected", HEADS, ids=str)
def test_berts_with_some_of_the_heads(tmp_path, heads, expected):
    found = verify(load_model(saved(tmp_path, "bert", **heads), dtype=torch.float64), tmp_path)
    assert all(difference.ok for difference in found)
    special = {"logits, masked token", "logits, next sentence", "hidden states, pooled"}
    assert {difference.quantity for difference in found} & special == expected


WRONG = [
    ("llama", lambda m: m.blocks[1].mlp.gate.weight, 1, "llama has no stacks", ""),
    ("bert", lambda m: m.blocks[1].attention.value.bias, 1, "", ""),
    ("t5", lambda m: m.encoder.blocks[1].mlp.down.weight, 1, "encoder", " of the encoder"),
    ("t5", lambda m: m.decoder.blocks[1].cross_attention.key.weight, 1, "cross", ""),
    ("t5", lambda m: m.decoder.blocks[1].mlp.down.weight, 1, "decoder", " of the decoder"),
]
SIZES = {
    "llama": {"num_hidden_layers": 3},
    "bert": {"num_hidden_layers": 3},
    "t5": {"num_layers": 3, "num_decoder_layers": 3},
}


@pytest.mark.parametrize("family, parameter, layer, stack, words", WRONG)
def test_a_wrong_weight_is_found_in_its_layer(tmp_path, capsys, monkeypatch, family, parameter, layer, stack, words):
    saved(tmp_path, family, **SIZES[family])

    def wrong(*arguments):
        model = load_model(*arguments)
        with torch.no_grad():
            parameter(model).mul_(1.001)
        return model

    found = verify(wrong(tmp_path, None, torch.float64), tmp_path)
    assert verdict(found) == "bug" and first_layer(found) == layer
    if family == "t5":
        assert first_place(found).quantity.startswith(stack)
    monkeypatch.setattr(verify_command, "load_model", wrong)
    code, out, _ = run(capsys, "verify", "--source", str(tmp_path), "--device", "cpu")
    assert code == 1 and f"They differ from layer {layer}{words} on. The verdict is a bug" in out
    report = json.loads(run(capsys, "verify", "--source", str(tmp_path), "--device", "cpu", "--json")[1])
    assert report["first_layer"] == layer and report["verdict"] == "bug"


@pytest.mark.parametrize("layer", [0, 1])
def test_a_nan_is_not_lost(tmp_path, layer):
    model = load_model(saved(tmp_path, "t5", num_layers=2, num_decoder_layers=2), dtype=torch.float64)
    with torch.no_grad():
        model.decoder.blocks[layer].mlp.down.weight.fill_(torch.nan)
    found = verify(model, tmp_path)
    assert verdict(found) == "bug" and first_layer(found) == layer
    assert not next(d for d in found if d.quantity == "decoder hidden states").ok


def test_the_folders_say_which_family_they_are(tmp_path):
    for family in FAMILIES:
        assert model_type(load_model(saved(tmp_path / family, family)).config) == family
