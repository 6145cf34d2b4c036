"""Decoding: the nucleus of a distribution, and one step of a beam search."""

import torch

from ...generation.processors import keep_top_p
from .checking import Exercise, numbers


def _keep_first(logits, p, count):
    """Sort from likely to unlikely, keep the first count(cumulative probabilities) of them."""
    descending, order = logits.sort(descending=True)
    kept = order[: count(descending.softmax(-1).cumsum(-1))]
    return torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])


def _without_the_crossing(logits, p):
    return _keep_first(logits, p, lambda total: int((total <= p).sum()))


def _without_the_crossing_but_one(logits, p):
    return _keep_first(logits, p, lambda total: max(1, int((total <= p).sum())))


def _from_the_unlikely_end(logits, p):
    ascending, order = logits.sort()
    total = ascending.softmax(-1).cumsum(-1)
    kept = order[: int((total < p).sum()) + 1]
    return torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])


def _adding_logits(logits, p):
    descending, order = logits.sort(descending=True)
    kept = order[: int((descending.cumsum(-1) < p).sum()) + 1]
    return torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])


def _mask_not_sorted_back(logits, p):
    total = logits.sort(descending=True).values.softmax(-1).cumsum(-1)
    return logits.masked_fill(torch.arange(len(logits)) > (total < p).sum(), -torch.inf)


def _beam_step(scores, log_probabilities, num_beams):
    totals = scores[:, None] + log_probabilities
    best = totals.flatten().topk(num_beams)
    return best.values, best.indices // totals.size(1), best.indices % totals.size(1)


def _best_child_of_each(scores, log_probabilities, num_beams):
    values, tokens = log_probabilities.max(dim=1)
    best = (scores + values).topk(min(num_beams, len(scores)))
    return best.values, best.indices, tokens[best.indices]


def _divided_by_beams(scores, log_probabilities, num_beams):
    best = (scores[:, None] + log_probabilities).flatten().topk(num_beams)
    return best.values, best.indices // len(scores), best.indices % len(scores)


def _history_forgotten(scores, log_probabilities, num_beams):
    return _beam_step(torch.zeros_like(scores), log_probabilities, num_beams)


def _tokens_before_parents(scores, log_probabilities, num_beams):
    values, parents, tokens = _beam_step(scores, log_probabilities, num_beams)
    return values, tokens, parents


_SURE = torch.tensor([0.5, 4.0, -1.0, 1.0], dtype=torch.float64)

EXERCISES = {
    "top_p": Exercise(
        "From logits (V,) and p, return new logits: -inf for every token outside the nucleus, which is the smallest "
        "set of most likely tokens whose probabilities add up to at least p.",
        keep_top_p,
        [(2 * numbers(8), 0.8), (numbers(12, seed=1), 0.9), (_SURE, 0.3)],  # the last: one token is already enough
        [
            (
                _without_the_crossing,
                "the token that crosses p was dropped. Keep it: without it the others do not reach p, and if the "
                "likeliest token alone is above p, no token would be left.",
            ),
            (
                _without_the_crossing_but_one,
                "the token that crosses p was dropped, except where no other token was left. Always keep it: without "
                "it the others do not reach p.",
            ),
            (
                _from_the_unlikely_end,
                "the sum began at the unlikely end, so the likeliest tokens were removed. Sort with descending=True.",
            ),
            (
                _adding_logits,
                "logits were added up, and they are no probabilities: softmax first, then the cumulative sum.",
            ),
            (
                _mask_not_sorted_back,
                "the count is right, the tokens are not: what is first in the sorted order was kept at the first "
                "places of the vocabulary. Use the indices that sort returns.",
            ),
            (
                lambda x, p: keep_top_p(x, p).masked_fill(keep_top_p(x, p) == -torch.inf, 0.0),
                "the right tokens, but the others got the logit 0, and exp(0) is 1: they can still be drawn. Only -inf "
                "becomes the probability 0.",
            ),
            (
                lambda x, p: keep_top_p(x, p).softmax(-1),
                "these are the probabilities after top-p. The task asks for new *logits*.",
            ),
            (
                lambda x, p: x.masked_fill(x.softmax(-1) < p, -torch.inf),
                "each probability was compared with p by itself. It is their sum, from the likeliest down, that "
                "should reach p.",
            ),
        ],
    ),
    "beam_step": Exercise(
        "From the scores (K,) of the beams and the log-probabilities (K, V) of their next tokens, return the new "
        "(scores, parents, tokens), best first, each (num_beams,): parents are the numbers of the beams continued.",
        _beam_step,
        [
            (torch.tensor([-1.0, -1.5]).double(), numbers(2, 5).log_softmax(-1), 2),
            (torch.tensor([-0.1, -9.0, -9.5]).double(), numbers(3, 6, seed=1).log_softmax(-1), 3),
        ],
        [
            (
                _best_child_of_each,
                "each beam kept its own best token. The best num_beams of *all* K·V candidates count: one beam may "
                "have several children, another none.",
            ),
            (
                _divided_by_beams,
                "a flattened (K, V) tensor has V entries a row: the parent is index // V and the token index % V.",
            ),
            (
                _history_forgotten,
                "only the newest token counted. A candidate's score is its beam's score plus the new log-probability.",
            ),
            (
                _tokens_before_parents,
                "parents and tokens have changed places: index // V is the parent, index % V the token.",
            ),
        ],
    ),
}
