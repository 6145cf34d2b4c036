"""The commands with a BERT, a T5 and a Llama: what each does, and in one sentence what it cannot do."""

import json
import shutil
from fnmatch import fnmatch

import huggingface_hub
import pytest
import torch
from command_line import run
from tokenizers import BertWordPieceTokenizer, Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as LibrarysTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from minigpt import T5, Bert, BertConfig, Llama, LlamaConfig, T5Config, generate, load_model, load_tokenizer, save_model
from minigpt.checkpoints import HUB_NAMES
from minigpt.generation import fill_mask

TEXT = ["Return the length of the list.", "If the array is sorted, return the item.", "the quick brown fox"] * 20
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def a_bert(folder):
    words = BertWordPieceTokenizer()
    words.train_from_iterator(TEXT, vocab_size=200, show_progress=False)
    words.save_model(str(folder))
    AutoTokenizer.from_pretrained(folder, tokenizer_type="bert").save_pretrained(folder)
    config = BertConfig(words.get_vocab_size(), 32, 2, 4, 64, max_position_embeddings=32)
    save_model(Bert(config), folder)


def a_t5(folder):
    pieces = LibrarysTokenizer(models.Unigram())
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    pieces.train_from_iterator(TEXT, trainer)
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=pieces, **names).save_pretrained(folder)
    save_model(T5(T5Config(pieces.get_vocab_size() + 4, 32, 8, 64, 2, 2, 4)), folder)


def a_llama(folder):
    merged = LibrarysTokenizer(models.BPE(ignore_merges=True))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merged.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level])
    merged.decoder = decoders.ByteLevel()
    special, alphabet = ["<|begin_of_text|>", "<|end_of_text|>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    merged.train_from_iterator(TEXT, trainer)
    begin = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], 0)])
    merged.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    names = dict(bos_token=special[0], eos_token=special[1])
    PreTrainedTokenizerFast(tokenizer_object=merged, **names).save_pretrained(folder)
    size = dict(max_position_embeddings=64, bos_token_id=0, eos_token_id=1)
    save_model(Llama(LlamaConfig(merged.get_vocab_size(), 32, 64, 2, 4, 2, **size)), folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    made = {}
    for name, make in [("bert", a_bert), ("t5", a_t5), ("llama", a_llama)]:
        folder = tmp_path_factory.mktemp(name)
        make(folder)
        made[name] = str(folder)
    return made


def test_fill(capsys, folders):
    text, source = "Return the [MASK] of the [MASK].", ("--source", folders["bert"], "--device", "cpu")
    code, out, _ = run(capsys, "fill", text, *source, "--n", "3", "--json")
    found = json.loads(out)
    model, tokenizer = load_model(folders["bert"]), load_tokenizer(folders["bert"])
    gaps = fill_mask(model, tokenizer.encode(text), tokenizer.mask_id, 3)
    assert code == 0 and found["text"] == text and len(found["gaps"]) == 2
    for gap, expected in zip(found["gaps"], gaps, strict=True):
        assert gap["position"] == expected.position
        assert [word for word, _ in gap["likely"]] == tokenizer.pieces([token for token, _ in expected.likely])
        assert [p for _, p in gap["likely"]] == pytest.approx([p for _, p in expected.likely], rel=1e-3)
    assert "[MASK]" not in found["filled"] and "[CLS]" not in found["filled"] and "[SEP]" not in found["filled"]
    code, out, _ = run(capsys, "fill", text, *source)
    assert code == 0 and out.startswith("gap 1 of 2\n") and out.count("%") == 10
    assert out.strip().split("\n")[-1] == found["filled"]


def test_a_t5_answers_and_a_llama_goes_on(capsys, folders):
    for name, prompts in [("t5", ["Return the list", "the item"]), ("llama", ["Return the", "If"])]:
        model, tokenizer = load_model(folders[name]), load_tokenizer(folders[name])
        unwritable = list(range(tokenizer.vocab_size, model.vocab_size)) or None
        ids = [tokenizer.encode(prompt) for prompt in prompts]
        answers = generate(model, ids, 6, suppress_tokens=unwritable)
        begun = model.first_texts(ids)
        texts = [tokenizer.decode(a[len(b) :]) for a, b in zip(answers, begun, strict=True)]
        common = ("--source", folders[name], "--max-new-tokens", "6", "--device", "cpu")
        code, out, _ = run(capsys, "generate", prompts[0], *common)
        in_front = "" if name == "t5" else prompts[0]
        assert code == 0 and out.strip() == (in_front + texts[0]).strip()
        code, out, _ = run(capsys, "generate", *prompts, *common, "--json")
        assert code == 0 and [json.loads(line)["text"] for line in out.strip().split("\n")] == texts
        for settings in (["--num-beams", "3"], ["--temperature", "0.8", "--seed", "1"], ["--show-probabilities"]):
            assert run(capsys, "generate", prompts[0], *common, *settings)[0] == 0
        assert (
            run(capsys, "generate", prompts[0], *common, "--prompt-lookup")[1].strip() == (in_front + texts[0]).strip()
        )


def test_perplexity_of_a_llama(capsys, folders, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(" ".join(TEXT))
    options = ("--text", str(file), "--source", folders["llama"], "--device", "cpu", "--json")
    code, out, _ = run(capsys, "perplexity", *options)
    found = json.loads(out)
    assert code == 0 and found["window"] == 64 and 200 < found["perplexity"] < 500


CANNOT = [
    ("bert", ["generate", "Return the"], "Bert cannot continue a text: it looks at both sides"),
    ("bert", ["perplexity", "--text", "{file}"], "Bert cannot score a text token by token"),
    ("t5", ["perplexity", "--text", "{file}"], "T5 predicts a text from another one"),
    ("t5", ["fill", "Return the [MASK]"], "has no mask token, so it is no BERT: it cannot fill gaps"),
    ("llama", ["fill", "Return the [MASK]"], "has no mask token, so it is no BERT: it cannot fill gaps"),
    ("bert", ["fill", "Return the item"], "the text has no gap: write [MASK] where a word is missing"),
    ("bert", ["fill", "[MASK] " * 40], "has 42 tokens; this Bert reads from 1 to 32"),
    ("llama", ["generate", "a " * 80], "the context holds 64"),
    ("t5", ["generate", "the", "--dtype", "float16"], "T5 cannot compute in float16"),
]


@pytest.mark.parametrize("name, arguments, words", CANNOT)
def test_what_a_family_cannot_do_is_said_in_one_sentence(capsys, folders, tmp_path, name, arguments, words):
    file = tmp_path / "text.txt"
    file.write_text(" ".join(TEXT))
    arguments = [argument.format(file=file) for argument in arguments]
    code, out, err = run(capsys, *arguments, "--source", folders[name], "--device", "cpu")
    assert code == 2 and out == "" and words in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("name, kind", [("bert", "WordPiece"), ("t5", "LibraryTokenizer")])
def test_only_with_byte_level_bpe_a_model_is_trained_further(capsys, folders, tmp_path, name, kind):
    out_folder, file = tmp_path / "out", tmp_path / "text.txt"
    file.write_text("\n".join(TEXT * 9))
    options = ("--text", str(file), "--init", folders[name], "--out", str(out_folder), "--steps", "1")
    code, _, err = run(capsys, "train", *options, "--set", "context=16", "warmup_steps=0")
    assert code == 2 and f"has a {kind}; models with a byte-level BPE can be trained here" in err
    assert not out_folder.exists()


@pytest.mark.parametrize("name", ["bert", "t5", "llama"])
def test_saved_with_its_tokenizer_it_is_the_same_again(folders, tmp_path, name):
    model, tokenizer = load_model(folders[name]), load_tokenizer(folders[name])
    save_model(model, tmp_path, tokenizer)
    again, its_tokenizer = load_model(tmp_path), load_tokenizer(tmp_path)
    assert type(again) is type(model) and again.config == model.config and type(its_tokenizer) is type(tokenizer)
    for text in [*TEXT[:3], "Größe 中文 😀"]:
        assert (
            its_tokenizer.encode(text)
            == tokenizer.encode(text)
            == AutoTokenizer.from_pretrained(tmp_path)(text).input_ids
        )


HUB = {
    "bert-base-uncased": "bert",
    "t5-small": "t5",
    "google/flan-t5-small": "t5",
    "HuggingFaceTB/SmolLM2-135M": "llama",
}


@pytest.mark.parametrize("name", HUB)
def test_a_download_brings_all_that_is_needed(capsys, folders, tmp_path, monkeypatch, name):
    """A folder stands for the hub here; it holds more files than are needed."""
    hub = tmp_path / "hub"
    shutil.copytree(folders[HUB[name]], hub)
    for other in ("tf_model.h5", "flax_model.msgpack", "README.md", "spiece.model", "onnx.onnx"):
        (hub / other).write_text("large")
    asked = []

    def snapshot_download(repository, local_dir=None, allow_patterns=None):
        asked.append(repository)
        local_dir.mkdir(parents=True)
        for file in hub.iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, local_dir)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setenv("MINIGPT_WEIGHTS", str(tmp_path / "weights"))
    code, out, _ = run(capsys, "download", name)
    assert code == 0 and out.strip() == str(tmp_path / "weights" / name) and asked == [HUB_NAMES[name]]
    assert not {"tf_model.h5", "README.md"} & {file.name for file in (tmp_path / "weights" / name).iterdir()}
    assert type(load_model(name)) is type(load_model(folders[HUB[name]]))
    assert load_tokenizer(name).encode(TEXT[0]) == load_tokenizer(folders[HUB[name]]).encode(TEXT[0])
    assert asked == [HUB_NAMES[name]]  # the second time it is on disk
