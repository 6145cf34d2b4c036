"""Bad arguments of Llama, BERT and T5, their configurations, losses, tokenizers and tasks: rows for
test_bad_arguments.py."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from minigpt import T5, Bert, BertConfig, Llama, LlamaConfig, T5Config
from minigpt.generation import fill_mask, sentence_vectors
from minigpt.language_model import check_language_model
from minigpt.loss import decoder_inputs, masked_loss, refuse_pads, sequence_loss
from minigpt.positions import RopeScaling
from minigpt.tokenizer import LibraryTokenizer, WordPiece, read_any
from minigpt.tokenizer.words import word_pattern
from minigpt.train import MaskedTokens, Spans
from minigpt.train.baselines import kneser_ney_guesses, kneser_ney_nll, primed_lzma_bytes, unigram
from minigpt.train.held_out import masked_guesses, span_losses

META = torch.device("meta")
NAN, INF = math.nan, math.inf
NO_SIZE = [0, -1, 2.5, "3", None, NAN, True]
NO_LIST = [None, "ab", 5]
NO_TEXT = [None, 5, ["b"], b"b"]
LLAMA = dict(
    vocab_size=10, hidden_size=8, intermediate_size=6, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=6,
)  # fmt: skip
BERT = dict(
    vocab_size=10, hidden_size=8, intermediate_size=6, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=6,
)  # fmt: skip
T5_SIZE = dict(vocab_size=10, d_model=8, d_kv=4, d_ff=6, num_layers=2, num_heads=2)
TEXT = np.arange(60) % 5 + 4
ASKED = MaskedTokens(10, mask_id=2, begin_id=0, end_id=1, special_ids=(0, 1, 2))
WRITTEN = Spans(sentinels=(3, 2), end_id=1, start_id=0)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
)


def idle(model):
    """The model in eval mode; if one of its blocks runs, the test fails."""
    for name, part in model.named_modules():
        if name.endswith(("blocks.0", "blocks.1")):
            part.register_forward_pre_hook(lambda *_: pytest.fail("work was done"))
    return model.eval()


llama, bert, t5 = idle(Llama(LlamaConfig(**LLAMA))), idle(Bert(BertConfig(**BERT))), idle(T5(T5Config(**T5_SIZE)))
headless = idle(Bert(BertConfig(**BERT, has_head=False, has_pooler=False, has_sentence_head=False)))
half = idle(T5(T5Config(**T5_SIZE))).half()
source = T5(T5Config(**T5_SIZE)).eval().read_source(torch.tensor([[1, 2]]))
other_cache = Llama(LlamaConfig(**LLAMA | {"num_key_value_heads": 1})).new_cache(1, 4)


def ids(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.long)


def with_usual(*fixed, **usual):
    """Calls of one function that differ in a few arguments."""
    return lambda **changes: lambda f, w: f(*fixed, **usual | changes)


def sizes(config, names, values=NO_SIZE):
    return [
        (config(**{name: bad}), f"{name} must be an integer of at least 1, got {bad!r}")
        for name in names.split()
        for bad in values
    ]


of_llama, of_bert, of_t5 = with_usual(**LLAMA), with_usual(**BERT), with_usual(**T5_SIZE)
scaling = with_usual(**LLAMA3)
read, look, encode, decode = (
    with_usual(llama, tokens=ids([1, 2])),
    with_usual(bert, tokens=ids([1, 2])),
    with_usual(t5, source=ids([1, 2])),
    with_usual(t5, tokens=ids([1, 2]), source=source),
)
loss = with_usual(logits=torch.zeros(2, 4, 5), labels=torch.zeros(2, 4, dtype=torch.long))
wordpiece = with_usual(vocabulary={"[UNK]": 0}, names={"unk_token": "[UNK]"})
fill = with_usual(bert, tokens=[1, 2, 3], mask_id=2)
OF_LOSS = [
    (loss(labels=ids([0, 1, 2])), r"logits \(B, T, V\) and labels \(B, T\), got \(2, 4, 5\), \(1, 3\)"),
    (loss(logits=torch.zeros(8, 5)), r"got \(8, 5\), \(2, 4\)"),
    (loss(labels=ids([0, 0, 0, 0], [0, 0, 5, 0])), r"target 5 at position \(1, 2\) is outside 0..4"),
    (loss(reduction="average"), "reduction must be"),
    (loss(num_items=0), "num_items must be an integer of at least 1, got 0"),
    (loss(num_items=3, reduction="sum"), 'num_items=3 needs reduction "mean"'),
]
words = WordPiece({"[UNK]": 0, "a": 1}, names={"unk_token": "[UNK]"})
LONE = r"text has a lone surrogate '\\ud800' at position 0"
OF_IDS = [
    ([-1], "token id must be an integer of at least 0, got -1"),
    ([1, 1.5], "token id must be .* got 1.5"),
    *[(bad, f"ids must be a list of token ids, got {bad!r}") for bad in NO_LIST],
]
OF_ROWS = [(bad, "must be a row of integer ids, got") for bad in (*NO_LIST, [1, None])]
OF_DROPOUT = [(1.0, "below 1"), (-0.1, "at least 0"), (NAN, "nan")]

CASES = {
    RopeScaling: [
        (scaling(rope_type="yarn"), "rope_type must be one of linear, llama3; got 'yarn'"),
        (scaling(rope_type="linear"), "low_freq_factor belongs to rope_type llama3"),
        (scaling(factor=0.5), "factor must be at least 1, got 0.5"),
        *[(scaling(**{name: bad}), name) for name in list(LLAMA3)[1:] for bad in (0, -1, None, "2", NAN)],
        (scaling(low_freq_factor=4.0), "low_freq_factor must be below high_freq_factor"),
    ],
    LlamaConfig: [
        *sizes(
            of_llama, "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
            "max_position_embeddings"
        ),
        *sizes(of_llama, "num_key_value_heads head_dim", [0, -1, 2.5, "3", True]),
        (of_llama(hidden_size=9), "hidden_size must be divisible by num_attention_heads, got 9 and 2"),
        (of_llama(num_attention_heads=8, num_key_value_heads=3), "divisible by num_key_value_heads, got 8 and 3"),
        (of_llama(head_dim=3), "head_dim must be even"),
        (of_llama(hidden_act="geglu"), "hidden_act must be one of"),
        *[(of_llama(rms_norm_eps=bad), "rms_norm_eps must be above 0") for bad in (0, -1)],
        *[(of_llama(rope_theta=bad), "rope_theta must be above 0") for bad in (0, -1)],
        *[(of_llama(attention_dropout=bad), words) for bad, words in OF_DROPOUT],
        (of_llama(attention_bias=1), "attention_bias must be True or False, got 1"),
        (of_llama(mlp_bias=None), "mlp_bias must be True or False"),
        (of_llama(rope_scaling="linear"), "rope_scaling must be a RopeScaling, a dictionary or None, got 'linear'"),
        (of_llama(rope_scaling={"rope_type": "linear", "factor": 0}), "factor must be at least 1, got 0"),
        (of_llama(eos_token_id="2"), "eos_token_id must be an integer, got '2'"),
        (of_llama(eos_token_id=[1, 2.5]), "eos_token_id must be an integer, got 2.5"),
        (of_llama(eos_token_id=[]), r"eos_token_id must be an integer, got \[\]"),
    ],
    BertConfig: [
        *sizes(
            of_bert, "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size "
            "max_position_embeddings type_vocab_size"
        ),
        (of_bert(hidden_size=9), "hidden_size must be divisible by num_attention_heads, got 9 and 2"),
        *[(of_bert(hidden_dropout_prob=bad), words) for bad, words in OF_DROPOUT],
        (of_bert(layer_norm_eps=0), "layer_norm_eps must be above 0, got 0"),
        (of_bert(hidden_act="erf"), "hidden_act must be one of"),
        (of_bert(has_head=1), "has_head must be True or False, got 1"),
        (of_bert(has_pooler=False), "has_sentence_head needs has_pooler"),
        (of_bert(pad_token_id=0.5), "pad_token_id must be an integer, got 0.5"),
    ],
    T5Config: [
        *sizes(of_t5, "vocab_size d_model d_kv d_ff num_layers num_heads"),
        *sizes(of_t5, "num_decoder_layers", [0, -1, 2.5, "3", True]),
        (of_t5(relative_attention_num_buckets=2), "relative_attention_num_buckets must be an integer of at least 4"),
        (of_t5(relative_attention_num_buckets=7), "relative_attention_num_buckets must be even .* got 7 and 128"),
        (of_t5(relative_attention_max_distance=16), "relative_attention_num_buckets .* got 32 and 16"),
        (of_t5(feed_forward_proj="gated-geglu"), "feed_forward_proj must be one of"),
        *[(of_t5(dropout_rate=bad), words) for bad, words in OF_DROPOUT],
        (of_t5(layer_norm_epsilon=-1), "layer_norm_epsilon must be above 0, got -1"),
        (of_t5(scale_decoder_outputs=1), "scale_decoder_outputs must be True or False, got 1"),
        *[(of_t5(eos_token_id=bad), "eos_token_id must be an integer, got") for bad in ("2", [], [1, 2.5], [1, None])],
        (of_t5(pad_token_id=None), "decoder_start_token_id must be an integer of at least 0, got None"),
    ],
    Llama.hidden: [
        (read(tokens=ids([1, 10])), "token id 10 at row 0, column 1 is outside 0..9"),
        (read(tokens=ids([1] * 7)), r"position id 6 .*\(max_position_embeddings=6\)"),
        (read(attention_mask=ids([1, 1, 1])), r"attention_mask must cover all keys, shape \(1, 2\), got \(1, 3\)"),
        (read(position_ids=ids([0, 6])), "position id 6 at row 0, column 1"),
        (read(cache=other_cache), "cache was made for .* the model has"),
        (read(tokens=ids([1, 2, 3, 4, 5]), cache=llama.new_cache(1, 4)), "cannot take tokens"),
        (read(segment_ids=ids([0, 0]), attention_mask=ids([1, 1])), "segment_ids .* without cache or attention_mask"),
    ],
    Llama.new_cache: [(with_usual(llama, batch_size=0, capacity=4)(), "batch_size of a cache must be an integer of")],
    Bert.hidden: [
        (look(tokens=ids([1, 2], [3, -1])), "token id -1 at row 1, column 1 is outside 0..9"),
        (look(tokens=ids([1] * 7)), "position id 6 at row 0, column 6 is outside 0..5"),
        (look(attention_mask=ids([0, 1])), "attention_mask begins with a pad in some row: pad BERT's rows on the"),
        (look(tokens=ids([1, 2], [1, 2]), attention_mask=ids([1, 1], [0, 1])), "begins with a pad"),
        (look(attention_mask=ids([1, 2])), "attention_mask may hold only 0 and 1"),
        (look(token_types=ids([0, 2])), r"token type 2 at row 0, column 1 is outside 0..1 \(type_vocab_size=2\)"),
        (look(token_types=ids([0])), r"token_types \(1, 1\) must have the shape of tokens, \(1, 2\)"),
        (look(token_types=torch.zeros(1, 2)), "token_types must be int64 ids, got torch.float32"),
        (look(token_types=ids([0, 1]).to(META)), "token_types must be a tensor on cpu"),
        (look(position_ids=ids([0, -1])), "position id -1 at row 0, column 1"),
    ],
    Bert.logits: [(lambda f, w: f(headless, torch.zeros(1, 2, 8)), "this Bert has no masked-token head")],
    Bert.pooled: [(lambda f, w: f(headless, torch.zeros(1, 2, 8)), "this Bert has no pooler")],
    Bert.sentence_logits: [(lambda f, w: f(headless, torch.zeros(1, 2, 8)), "this Bert has no next-sentence head")],
    Bert.forward: [(lambda f, w: f(bert, ids([])), "tokens must have shape")],
    T5.encode: [
        (encode(source=ids([1, 10])), "token id 10 at row 0, column 1 is outside 0..9"),
        (encode(source=torch.zeros(1, 2)), "source must be int64 ids, got torch.float32"),
        (encode(source=ids([])), "source must have shape"),
        (encode(source=[[1, 2]]), "source must be a tensor on cpu, where the model is, got list"),
        (encode(source_mask=ids([1])), r"source_mask must cover all keys, shape \(1, 2\), got \(1, 1\)"),
        (encode(source_mask=ids([1, 3])), "attention_mask may hold only 0 and 1"),
        (lambda f, w: f(half, ids([1, 2])), "T5 cannot compute in float16: .* take bfloat16 or float32"),
    ],
    T5.read_source: [(lambda f, w: f(t5, ids([1, 10])), "token id 10 at row 0, column 1")],
    T5.hidden: [
        (decode(tokens=ids([1, 10])), "token id 10 at row 0, column 1 is outside 0..9"),
        (decode(attention_mask=ids([1, 1, 1])), r"attention_mask must cover all keys, shape \(1, 2\), got \(1, 3\)"),
        (decode(cache=t5.new_cache(1, 1)), "cannot take tokens"),
        (decode(cache=T5(T5Config(**T5_SIZE | {"num_heads": 1})).new_cache(1, 4)), "cache was made for"),
        (decode(tokens=ids([1, 2], [3, 4])), "source has 1 rows, tokens 2"),
    ],
    T5.forward: [(lambda f, w: f(t5, ids([1, 10]), ids([1])), "token id 10 at row 0, column 1")],
    T5.new_cache: [(with_usual(t5, batch_size=1, capacity=0)(), "capacity of a cache must be an integer of")],
    masked_loss: OF_LOSS,
    sequence_loss: [
        *OF_LOSS,
        (loss(labels=ids([1, 1, 1, 1], [1, 1, 0, 0]), pad_token_id=0), "labels hold the pad 0 at row 1, column 2"),
    ],
    decoder_inputs: [
        (lambda f, w: f(ids([1, 2], [3, 0]), 0, 0), "labels hold the pad 0 at row 1, column 1.*ignore_index=-100"),
        (lambda f, w: f(ids([1, 2]), True, 0), "start_token_id must be an integer, got True"),
        (lambda f, w: f(ids([1, 2]), 0, None), "pad_token_id must be an integer, got None"),
        (lambda f, w: f(ids([1, 2]), 0, 0, 0.5), "ignore_index must be an integer, got 0.5"),
    ],
    refuse_pads: [
        (lambda f, w: f(ids([5]), 5), "labels hold the pad 5 at row 0, column 0"),
        (lambda f, w: f(ids([5]), "5"), "pad_token_id must be an integer, got '5'"),
    ],
    unigram: [(lambda f, w, bad=bad: f(bad, 10), said) for bad, said in OF_ROWS],
    kneser_ney_nll: [
        *[(lambda f, w, bad=bad: f(bad, TEXT, 10), "tokens " + said) for bad, said in OF_ROWS],
        *[(lambda f, w, bad=bad: f(TEXT, bad, 10), "held_out " + said) for bad, said in OF_ROWS],
        *[(lambda f, w, bad=bad: f(TEXT, TEXT, bad), "vocab_size must be an integer of at least 1") for bad in NO_SIZE],
    ],
    kneser_ney_guesses: [
        (lambda f, w, bad=bad: f(TEXT, TEXT, bad, 10), f"places must be a list of integer token ids, got {bad!r}")
        for bad in NO_LIST
    ],
    primed_lzma_bytes: [
        *[(lambda f, w, bad=bad: f(bad, ["a"]), f"training must be a list of texts, got {bad!r}") for bad in NO_LIST],
        *[(lambda f, w, bad=bad: f(["a"], ["a", bad]), "held_out must be .* as text 1") for bad in (None, 5, ["b"])],
    ],
    check_language_model: [
        (lambda f, w: f(bert, "sing"), "Bert cannot sing: it looks at both sides"),
        (lambda f, w: f(torch.nn.Linear(1, 1), "sing"), "Linear cannot sing: it has no `start`"),
    ],
    fill_mask: [
        (lambda f, w: f(w.model, [1, 2], 2), "GPT2 cannot fill gaps: that needs a Bert"),
        (lambda f, w: f(t5, [1, 2], 2), "T5 cannot fill gaps: that needs a Bert"),
        (lambda f, w: f(headless, [1, 2], 2), "this Bert has no masked-token head, so it cannot fill gaps"),
        (fill(tokens=[1, 3]), "there is no gap in the text: no token is mask_id=2"),
        (fill(tokens=[]), "text 0 has 0 tokens; this Bert reads from 1 to 6"),
        (fill(tokens=[2] * 7), "text 0 has 7 tokens; this Bert reads from 1 to 6"),
        (fill(tokens=[2, 10]), "in text 0, token id 10 at row 0, column 1 is outside 0..9"),
        (fill(tokens=[2, 1.5]), "text 0 must be a list of integer token ids"),
        *[(fill(tokens=bad), f"text 0 must be a list of integer token ids, got {bad!r}") for bad in NO_LIST],
        *[(fill(tokens=[2], token_types=bad), "token_types must be a list of integer") for bad in ("ab", 5, [True])],
        (fill(mask_id=None), "mask_id must be an integer, got None"),
        (fill(n=0), "n must be an integer of at least 1, got 0"),
    ],
    sentence_vectors: [
        (lambda f, w: f(w.model, [[1, 2]]), "GPT2 cannot make vectors of texts: that needs a Bert"),
        (lambda f, w: f(bert, []), "texts is empty"),
        (lambda f, w: f(bert, [[1], []]), "text 1 has 0 tokens"),
        (lambda f, w: f(bert, [[1], [1] * 7]), "text 1 has 7 tokens"),
        (lambda f, w: f(bert, [[1], [10]]), "in text 1, token id 10"),
        *[(lambda f, w, bad=bad: f(bert, [[1], bad]), f"text 1 must be .*, got {bad!r}") for bad in NO_LIST],
        *[(lambda f, w, bad=bad: f(bert, bad), f"texts must be a list of .* ids, got {bad!r}") for bad in NO_LIST],
    ],
    masked_guesses: [
        (lambda f, w: f(bert, TEXT[:3], 6, ASKED), "tokens has 3 tokens, one row needs context=4"),
        (lambda f, w: f(bert, TEXT + 0.5, 6, ASKED), "tokens must be a row of integer ids, got float64"),
        *[(lambda f, w, bad=bad: f(bert, bad, 6, ASKED), said) for bad, said in OF_ROWS],
        *[(lambda f, w, bad=bad: f(bert, TEXT, bad, ASKED), "context must be .* of at least 3") for bad in (2, "6")],
        (lambda f, w: f(bert, TEXT, 6, ASKED, True), "batch_size must be an integer of at least 1, got True"),
    ],
    span_losses: [
        (lambda f, w: f(t5, TEXT[:5], 6, WRITTEN), "tokens has 5 tokens, one row needs context=6"),
        *[(lambda f, w, bad=bad: f(t5, bad, 6, WRITTEN), said) for bad, said in OF_ROWS],
        *[(lambda f, w, bad=bad: f(t5, TEXT, bad, WRITTEN), "context must be .* of at least 2") for bad in (1, 6.0)],
        (lambda f, w: f(t5, TEXT, 6, WRITTEN, 0), "batch_size must be an integer of at least 1, got 0"),
        (lambda f, w: f(t5, TEXT, 3, dataclasses.replace(WRITTEN, share=0.9)), "rows of 3 tokens are too short"),
    ],
    WordPiece: [
        (lambda f, w: f({"a": 1}), "the ids of a vocabulary of 1 tokens must be 0..0"),
        (lambda f, w: f({"a": 0}), "unk_token must be a token of the vocabulary, got None"),
        (wordpiece(names={"unk_token": "[UNK]", "mask": "a"}), "names has 'mask': 'a', expected one of"),
        (wordpiece(lower_case=1), "lower_case must be True or False, got 1"),
        (wordpiece(max_word=0), "max_word must be an integer of at least 1"),
        *[(wordpiece(special_tokens=bad), "special_tokens must be a list of tokens, got") for bad in NO_LIST],
        *[(wordpiece(prefix=bad), "prefix must be a list of integer token ids, got") for bad in NO_LIST],
    ],
    WordPiece.encode: [
        (lambda f, w: f(words, "\ud800"), LONE),
        *[(lambda f, w, bad=bad: f(words, bad), "text must be a str, got") for bad in NO_TEXT],
    ],
    WordPiece.encode_pair: [
        (lambda f, w: f(words, "a", "\ud800"), LONE),
        *[(lambda f, w, bad=bad: f(words, "a", bad), "text must be a str, got") for bad in NO_TEXT],
    ],
    WordPiece.decode: [(lambda f, w, ids=bad: f(words, ids), said) for bad, said in OF_IDS],
    WordPiece.pieces: [(lambda f, w, ids=bad: f(words, ids), said) for bad, said in OF_IDS],
    WordPiece.decode_stream: [(lambda f, w, ids=bad: list(f(words, ids)), said) for bad, said in OF_IDS],
    WordPiece.load: [(lambda f, w: f("whole.npy"), "no WordPiece tokenizer in whole.npy", FileNotFoundError)],
    WordPiece.save: [(lambda f, w: f(words, "whole.npy"), "whole.npy", FileExistsError)],
    LibraryTokenizer.load: [(lambda f, w: f("whole.npy"), "expected tokenizer.json", FileNotFoundError)],
    read_any: [(lambda f, w: f("whole.npy"), "no tokenizer in whole.npy: expected tokenizer", FileNotFoundError)],
    word_pattern: [(lambda f, w: f(r"\w+"), "has more in it than this tokenizer is sure to read as Hugging Face does")],
}  # fmt: skip

# Their callers check the arguments, or their own tests show what they refuse.
LEFT_OUT = {
    "MaskedGuesses", "SpanLosses", "cross_attention_cut", "longest_shared_run",
    "Bert", "DecoderBlock", "DecoderBlock.forward", "DecoderOnly.first_texts", "DecoderOnly.read",
    "DecoderOnly.start", "EncoderBlock", "EncoderBlock.add_mlp", "EncoderBlock.forward", "Gap", "LanguageModel",
    "LanguageModel.first_texts", "LanguageModel.logits", "LanguageModel.read", "LanguageModel.start",
    "LibraryTokenizer", "LibraryTokenizer.decode", "LibraryTokenizer.decode_stream", "LibraryTokenizer.encode",
    "LibraryTokenizer.pieces", "LibraryTokenizer.save", "Llama", "Llama.forward", "Llama.logits", "Past",
    "Past.parts_to_read", "Past.read", "Past.real_tokens", "Past.select", "Past.tokens_with", "Past.truncate",
    "Source", "Source.select", "Stack", "Stack.bias", "Start", "T5", "T5.check_dtype", "T5.first_texts",
    "T5.logits", "T5.read", "T5.start", "TokenHead", "TokenHead.forward", "TokenModel.check_dtype",
    "WordPiece.normalize", "attention_of", "cut", "eval_mode", "first_place", "longest_pieces",
    "padded_on_the_right", "relative_bias", "relative_buckets", "rotary_rates", "rotation", "same",
}  # fmt: skip
