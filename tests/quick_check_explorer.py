"""The quick check of the explorer: a small Llama with grouped key heads, a small T5 and a small GPT-2, random.

`quick_check` imports this file: its checks stand in the same list.
"""

import base64
import copy
import importlib
import json

import numpy as np
import torch
from quick_check import check


class Letters:
    """A tokenizer whose tokens are numbers."""

    vocab_size = 13

    def pieces(self, ids):
        return [f"<{id}>" for id in ids]

    def decode(self, ids):
        return " ".join(self.pieces(ids))

    def encode(self, text):
        return [ord(letter) % 13 for letter in text]


def subject(kind: str):
    minigpt, texts = importlib.import_module("minigpt"), importlib.import_module("minigpt.explorer.texts")
    torch.manual_seed(0)
    model = {
        "gpt2": lambda: minigpt.GPT2(minigpt.GPT2Config(13, 16, 8, 2, 2)),
        "llama": lambda: minigpt.Llama(minigpt.LlamaConfig(13, 16, 16, 2, 4, 2, max_position_embeddings=16)),
        "t5": lambda: minigpt.T5(minigpt.T5Config(13, 8, 4, 8, 2, num_heads=2, decoder_start_token_id=0)),
    }[kind]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return texts.Subject(model.eval(), Letters())


def ask(about, question: str, **fields) -> dict:
    return importlib.import_module("minigpt.explorer.questions").answer(about, question, fields)


def unpacked(part) -> np.ndarray:
    kinds = {"f4": "<f4", "u1": "u1", "i4": "<i4"}
    return np.frombuffer(base64.b64decode(part["data"]), kinds[part["type"]]).reshape(part["shape"])


ROW = [3, 1, 4, 1, 5, 9, 2]


@check(
    "a head that is off",
    "explorer.heads explorer.effects",
    "test_explorer.py::test_a_head_that_is_off_is_a_head_that_nothing_reads",
)
def _():
    about = subject("llama")
    tokens = torch.tensor([ROW])
    before = about.model(tokens)[0, -1].softmax(dim=-1)
    effects = ask(about, "effects", tokens=ROW)["effects"]
    assert [effect["heads"] for effect in effects] == [[["self", layer, h]] for layer in (0, 1) for h in range(4)]
    for effect in effects:
        [(_, layer, head)] = effect["heads"]
        changed = copy.deepcopy(about.model)
        changed.blocks[layer].attention.output.weight.data[:, 4 * head : 4 * head + 4] = 0
        after = changed(tokens)[0, -1].softmax(dim=-1)
        torch.testing.assert_close(torch.tensor(effect["after"]), after[effect["ids"]], atol=1e-5, rtol=1e-4)
        assert abs(effect["moved"] - float((after - before).abs().sum() / 2)) < 1e-5


@check(
    "inside one head",
    "explorer.reading explorer.numbers",
    "test_explorer.py::test_the_page_can_follow_a_weight_from_q_and_k",
)
def _():
    describe = importlib.import_module("minigpt.explorer.reading").describe
    for kind in ("llama", "t5"):
        about = subject(kind)
        rows = {"tokens": ROW} | ({"source": [0, *ROW]} if kind == "t5" else {})
        reading, scales = ask(about, "read", **rows), describe(about)["scale"]
        lengths = [unpacked(kept["keys"]).shape[1] for kept in reading["caches"]]
        assert lengths == ([7] if kind == "llama" else [7, 8])
        for one in reading["attention"]:
            for head in range(4 if kind == "llama" else 2):
                found = ask(about, "head", **rows, kind=one["kind"], layer=1, head_number=head)
                scores = unpacked(found["queries"]) @ unpacked(found["keys"]).T * scales[one["kind"]][1]
                scores = scores + (0 if found["bias"] is None else unpacked(found["bias"]))
                if one["causal"]:
                    scores = np.where(np.tri(*scores.shape, dtype=bool), scores, -np.inf)
                weights = torch.tensor(scores).softmax(dim=-1).numpy()
                assert np.abs(weights - unpacked(found["weights"])).max() < 1e-5
                assert np.abs(weights @ unpacked(found["values"]) - unpacked(found["output"])).max() < 1e-4
                shades = unpacked(one["shades"])[1, head] / 255
                assert np.abs(shades - np.sqrt(weights)).max() < 0.0021


@check("losses of a reading", "explorer.reading", "test_explorer.py::test_losses_and_prediction")
def _():
    about = subject("gpt2")
    reading = ask(about, "read", tokens=ROW)
    log_p = about.model(torch.tensor([ROW]))[0].log_softmax(dim=-1).detach()
    expected = [-float(log_p[i, token]) for i, token in enumerate(ROW[1:])]
    assert np.abs(np.array(reading["losses"][1:]) - expected).max() < 1e-4 and reading["losses"][0] is None
    assert abs(reading["perplexity"] - np.exp(np.mean(expected))) < 1e-3
    cache = about.model.new_cache(1, len(ROW))
    assert len(ROW) * reading["caches"][0]["bytes_per_token"] == cache.keys.nbytes + cache.values.nbytes


@check("the lens", "explorer.layers", "test_explorer.py::test_the_lens_ends_with_what_the_model_says")
def _():
    about = subject("llama")
    found = ask(about, "lens", tokens=ROW)
    p = about.model(torch.tensor([ROW]))[0].softmax(dim=-1).detach().numpy()
    assert np.abs(unpacked(found["probabilities"])[-1] - p.max(axis=-1)).max() < 1e-5
    assert found["ids"][-1] == p.argmax(axis=-1).tolist()


@check("drawing by the sliders", "explorer.questions", "test_explorer.py::test_next_draws_by_the_settings")
def _():
    about = subject("gpt2")
    for seed in range(8):
        settings = {"temperature": 3.0, "top_k": 5, "top_p": None, "min_p": None}
        found = ask(about, "next", tokens=ROW, sample=True, seed=seed, settings=settings)
        likely = about.model(torch.tensor([ROW]))[0, -1].topk(5).indices.tolist()
        assert found["tokens"]["ids"][:-1] == ROW and found["tokens"]["ids"][-1] in likely
    assert ask(about, "next", tokens=ROW)["tokens"]["ids"][-1] == likely[0]


@check("markup in a text", "explorer.html", "test_explorer_server.py::test_markup_in_a_text_is_no_markup")
def _():
    harmless = importlib.import_module("minigpt.explorer.html").harmless
    text = "</script><!-- & \u2028"
    assert json.loads(harmless(text)) == text and not set(harmless(text)) & set("<>&\u2028")


@check("who may ask", "explorer.server", "test_explorer_server.py::test_hostile_input_is_answered_in_words")
def _():
    server = importlib.import_module("minigpt.explorer.server")
    from email.message import Message

    def is_refused(host, origin=None) -> bool:
        handler = object.__new__(server.Handler)
        handler.headers = Message()
        handler.headers["Host"] = host
        if origin:
            handler.headers["Origin"] = origin
        try:
            handler._check_sender()
        except server.Refused:
            return True
        return False

    assert not is_refused("127.0.0.1:8000", "http://127.0.0.1:8000") and not is_refused("localhost")
    for sender in [
        ("evil.example",),
        ("127.0.0.1.evil.example",),
        ("127.0.0.1:8000", "http://evil.example"),
        ("127.0.0.1:8000", "http://127.0.0.1:9"),
        ("localhost", "null"),
    ]:
        assert is_refused(*sender), sender
    assert server.ADDRESS == "127.0.0.1"
