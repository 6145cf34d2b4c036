"""The tour's section on the three formulas in three trained models: BERT, T5 and Llama beside GPT-2."""

import torch

from ..checkpoints import load_model, load_tokenizer
from ..generation import fill_mask, generate
from ..loss import decoder_inputs, sequence_loss
from ..trace import trace
from ..train.held_out import cross_attention_cut

GAP, FITS = ">>> np.[MASK]((2, 3))", "zeros"
SPAN = "Return the number of <extra_id_0> in the list."
ANSWER = "<extra_id_0> elements"


def three_trained_models(guide) -> None:
    guide.title("The same attention in BERT, T5 and Llama")
    bert_reads_both_sides(guide)
    t5_asks_its_source(guide)
    llama_knows_distances(guide)


def bert_reads_both_sides(guide) -> None:
    bert, tokenizer = load_model("tiny-bert"), load_tokenizer("tiny-bert")
    gpt2 = load_model("tiny")
    ids = tokenizer.encode(GAP)
    [gap] = fill_mask(bert, ids, tokenizer.mask_id)
    pieces = tokenizer.pieces([token for token, _ in gap.likely])
    likely = ", ".join(f"{piece!r} {p:.0%}" for piece, (_, p) in zip(pieces, gap.likely, strict=True))
    guide.say("   BERT (tiny-bert), attention without M:   {gap}   {likely}", gap=GAP, likely=likely)
    before = torch.tensor([ids])
    after = before.clone()
    after[0, -3] = before[0, 1]  # another word at the end of the sentence
    moved = [(model.hidden(before) != model.hidden(after)).any(dim=-1)[0] for model in (bert, gpt2)]
    ok = bool(moved[0].all() and not moved[1][:-3].any() and moved[1][-3:].all())
    guide.claim("a later word changes every earlier state of BERT, and no earlier one of GPT-2", ok)
    left_only = [*ids[: gap.position + 1], ids[-1]]
    [half] = fill_mask(bert, left_only, tokenizer.mask_id, n=bert.vocab_size)
    whole, half = (dict(found.likely).get(tokenizer.vocabulary[FITS], 0.0) for found in (gap, half))
    guide.claim(
        "{word!r} has {whole:.0%} from both sides, and {half:.0%} from the left alone",
        whole > 2 * half,
        word=FITS,
        whole=whole,
        half=half,
    )


def t5_asks_its_source(guide) -> None:
    t5, tokenizer = load_model("tiny-t5"), load_tokenizer("tiny-t5")
    source, target = (torch.tensor([tokenizer.encode(text)]) for text in (SPAN, ANSWER))
    [answer] = generate(t5, source.tolist(), 8)
    written = " ".join(repr(piece) for piece in tokenizer.pieces(answer))
    guide.say("   T5 (tiny-t5), three attentions:   {source}   → {written}", source=SPAN, written=written)
    start = t5.config.decoder_start_token_id
    inputs = decoder_inputs(target, start, start)
    seen = trace(t5, source, inputs)
    n, m = source.size(1), inputs.size(1)
    weights = [seen.encoder.attention_weights[0], seen.attention_weights[0], seen.cross_attention_weights[0]]
    shapes = [tuple(part.shape[2:]) for part in weights]
    guide.claim(
        "encoder {n}×{n}, decoder {m}×{m}, cross attention {m}×{n}: the lecture's three formulas",
        shapes == [(n, n), (m, m), (m, n)],
        n=n,
        m=m,
    )
    ok = bool((weights[1].triu(1) == 0).all() and (weights[0] > 0).all() and (weights[2] > 0).all())
    guide.claim("M hides the future in the decoder's own attention, and nothing in the other two", ok)
    whole = sequence_loss(t5(source, inputs), target).item()
    with cross_attention_cut(t5):
        cut = sequence_loss(t5(source, inputs), target).item()
    guide.claim(
        "{answer!r}: loss {whole:.2f}; with cross attention cut {cut:.2f}",
        whole < cut,
        answer=ANSWER,
        whole=whole,
        cut=cut,
    )


def llama_knows_distances(guide) -> None:
    llama, tokenizer = load_model("tiny-llama"), load_tokenizer("tiny-llama")
    prompt = tokenizer.encode("Return the")
    [written] = generate(llama, [prompt], 24, do_sample=True, temperature=0.7, seed=1)
    text = tokenizer.decode(written).replace("\n", "\n      ")
    guide.say(
        "   Llama (tiny-llama), causal attention, keys shared by groups, positions by rotation:\n      {text}",
        text=text,
    )
    tokens = torch.tensor([written])
    places = torch.arange(tokens.size(1))[None]
    at_0, at_100 = (llama(tokens, position_ids=places + start) for start in (0, 100))
    apart = (at_0 - at_100).abs().max() / at_0.abs().max()
    guide.claim(
        "moved by 100 positions it computes the same (to {apart:.0e}): only distances count", apart < 1e-4, apart=apart
    )
