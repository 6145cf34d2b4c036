"""Prompt lookup: guess what comes next from the text itself, and let the model check many guesses at once.

Reading five tokens costs a model little more than reading one: the weights, which have to come from memory, are the
same. So if the newest tokens occur earlier in the text, what followed them there is taken as a draft. The model reads
the whole draft in one pass and keeps it as far as greedy decoding would have written it. (Leviathan et al. 2023, with
drafts from the text instead of a smaller model: Saxena 2023, "Prompt lookup decoding".)
"""

from collections.abc import Iterator, Sequence

import torch

from .._checks import integer
from ..language_model import LanguageModel, eval_mode
from .loop import log_probabilities, next_logits
from .settings import Settings, check_prompts


def find_draft(text: Sequence[int], max_ngram: int, draft_length: int) -> list[int]:
    """What followed the newest tokens where they occur earlier in the text: draft_length tokens, or none at all.

    It looks for the longest ending, of up to max_ngram tokens, that occurs earlier, and takes its latest place. Where
    the copy reaches the end of the text, it goes on with the copied tokens: a text that repeats itself gets a draft
    that repeats itself.
    """
    text = list(text)
    for n in range(min(max_ngram, len(text) - 1), 0, -1):
        ending = text[len(text) - n :]
        for start in range(len(text) - n - 1, -1, -1):
            if text[start : start + n] == ending:
                for place in range(start + n, start + n + draft_length):
                    text.append(text[place])
                return text[len(text) - draft_length :] if draft_length else []
    return []


def speculate(
    model: LanguageModel,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    max_ngram: int = 3,
    draft_length: int = 8,
    stop_tokens: Sequence[int] | None = None,
    suppress_tokens: Sequence[int] | None = None,
) -> Iterator[int]:
    """The tokens of greedy decoding, `stream(model, prompt, max_new_tokens)`, in fewer passes where a text repeats.

    A pass over several tokens rounds differently from one over a single token: where two logits are equal to the last
    digits, the texts may differ from there. Raises ValueError, before any work, as `stream` does, and for max_ngram or
    draft_length below 1.
    """
    max_ngram, draft_length = integer("max_ngram", max_ngram, 1), integer("draft_length", draft_length, 1)
    [text] = check_prompts([prompt], model)
    settings = Settings(stop_tokens=stop_tokens, suppress_tokens=suppress_tokens)
    stopping = settings.stopping(model, max_new_tokens)
    return _speculate(model, text, settings, stopping, max_ngram, draft_length)


@torch.inference_mode()
def _speculate(model, prompt, settings, stopping, max_ngram, draft_length) -> Iterator[int]:
    if stopping.reason(len(prompt), 0) is not None:
        return
    [text], unread, past = model.start([prompt], stopping.max_new_tokens)
    n_prompt = len(text)
    logits = next_logits(model, unread, past)
    draft = []
    while True:
        # The token that greedy decoding writes at each place of the draft, and after it.
        greedy = settings.process(logits, []).argmax(dim=-1).tolist()
        log_probabilities(logits)  # raises FloatingPointError for nan
        n_right = next((i for i, token in enumerate(draft) if token != greedy[i]), len(draft))
        for token in greedy[: n_right + 1]:  # the first wrong guess is replaced by the right token
            text.append(token)
            yield token
            if stopping.reason(n_prompt, len(text) - n_prompt, token) is not None:
                return
        past.truncate(len(text) - 1)  # forget the rest of the draft; the newest token is still to be read
        n_to_write = stopping.most_new(n_prompt) - (len(text) - n_prompt)
        draft = find_draft(text, max_ngram, min(draft_length, n_to_write - 1))
        unread = torch.tensor([[text[-1], *draft]], device=model.device)
        with eval_mode(model):
            logits = model.logits(model.read(unread, past)[0]).float()
