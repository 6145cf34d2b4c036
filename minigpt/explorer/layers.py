"""Through the layers: what each would predict (logit lens), and how long the vectors of the stream are."""

from __future__ import annotations

import torch

from ..trace import Trace
from .heads import attention_layers
from .numbers import packed
from .texts import Subject, Texts, pieces, place, traced

N_LIKELY = 5
MOST_LOGITS = 40_000_000  # of all layers and positions: of a large vocabulary only the last positions are computed


@torch.no_grad()
def lens(subject: Subject, texts: Texts, position: int | None = None) -> dict:
    """The logit lens (nostalgebraist 2020): the model's last norm and its head, applied to what each layer gives on.

    Row 0 is what the first block reads, the last row the prediction of the model itself. For each position, or n of
    them (`columns`): the likeliest token, its probability, and the probability of the token that the last row finds
    likeliest, (L + 1, n) each. For the position of the prediction: the likeliest tokens of each layer.
    """
    model, seen, at = subject.model, traced(subject, texts), place(subject, texts, position)
    states = torch.stack([seen.embeddings[0], *(state[0] for state in seen.hidden_states)])  # (L + 1, T, C)
    n = max(1, min(states.size(1), MOST_LOGITS // (len(states) * model.vocab_size)))
    first = min(states.size(1) - n, at)
    columns = list(range(first, first + n))  # `at` is one of them
    final = model.logits(_normed(model, states[-1, columns])).argmax(dim=-1)  # (n): what the model says
    likeliest, probability, of_final, steps = [], [], [], []
    for state in states:  # layer by layer: all logits at once may not fit
        p = model.logits(_normed(model, state[columns])).float().softmax(dim=-1)  # (n, V)
        top = p.max(dim=-1)
        likeliest.append(top.indices.tolist())
        probability.append(top.values)
        of_final.append(p.gather(1, final[:, None])[:, 0])
        here = model.logits(_normed(model, state[at : at + 1])).float().softmax(dim=-1)[0]
        top = here.topk(min(N_LIKELY, len(here)))
        ids = top.indices.tolist()
        steps.append({"ids": ids, "pieces": pieces(subject, ids), "probabilities": top.values.tolist()})
    return {
        "columns": columns,
        "ids": likeliest,
        "pieces": [pieces(subject, row) for row in likeliest],
        "probabilities": packed(torch.stack(probability)),
        "of_final": packed(torch.stack(of_final)),
        "here": steps,
    }


def _normed(model, states: torch.Tensor) -> torch.Tensor:
    """The states as the head reads them: after the last norm, which a BERT has inside its blocks."""
    norm = getattr(getattr(model, "decoder", model), "final_norm", None)
    return states if norm is None else norm(states)


def streams(subject: Subject, seen: Trace) -> list[dict]:
    """Lengths of vectors at each layer and token: of the stream (L + 1, T), of what attention computes for it (L, T),
    and of what the MLP does (L, T). (A T5's decoder has two attentions, whose answers are added.) In a BERT a norm
    stands after each of them."""
    layers = attention_layers(subject.model)
    if seen.encoder is None:
        return [_stream("tokens", seen, [(layers["self"], seen.attention)])]
    written = [(layers["decoder"], seen.attention), (layers["cross"], seen.cross_attention)]
    return [
        _stream("source", seen.encoder, [(layers["encoder"], seen.encoder.attention)]),
        _stream("tokens", seen, written),
    ]


def _stream(row: str, seen: Trace, attentions) -> dict:
    states = torch.stack([seen.embeddings[0], *(state[0] for state in seen.hidden_states)]).float()
    answers = 0
    for modules, found in attentions:
        heads = [layer.heads[0].transpose(0, 1).flatten(1) for layer in found]  # (T, H*D): side by side
        answers = answers + torch.stack([module.output(x) for module, x in zip(modules, heads, strict=True)])
    return {
        "row": row,
        "states": packed(states.norm(dim=-1)),
        "attention": packed(answers.float().norm(dim=-1)),
        "mlp": packed(torch.stack([out[0] for out in seen.mlp_outputs]).float().norm(dim=-1)),
    }
