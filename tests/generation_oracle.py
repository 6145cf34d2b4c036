"""transformers.generate gives the right answers for our decoding: random prompts and settings, and how many cases."""

import random

import torch

# The number of cases with --full; without it, a fifth. A case is one call of transformers.generate and one or two of
# ours (with the cache and without), equal token for token.
N_GREEDY, N_SETTINGS, N_BEAMS = 200, 500, 360

# Each function draws a value that changes texts.
PROCESSORS = {
    "repetition_penalty": lambda rng: rng.choice([0.7, 1.1, 1.3, 2.0, 10.0]),
    "no_repeat_ngram_size": lambda rng: rng.randint(1, 4),
    "temperature": lambda rng: rng.uniform(0.3, 3.0),
    "top_k": lambda rng: rng.randint(1, 15),
    "top_p": lambda rng: rng.uniform(0.05, 1.0),
    "min_p": lambda rng: rng.uniform(0.0, 0.6),
}
NEED_SAMPLING = {"temperature", "top_k", "top_p", "min_p"}


def each_case(metafunc, argument: str, n: int) -> None:
    """Parametrise a test that has this argument with the numbers 0 ... n - 1 of its cases, a fifth without --full."""
    if argument in metafunc.fixturenames:
        metafunc.parametrize(argument, range(n if metafunc.config.getoption("--full") else n // 5))


def random_prompts(config, seed, n, longest=10):
    rng = random.Random(seed)
    return [[rng.randrange(config.vocab_size) for _ in range(rng.randint(1, longest))] for _ in range(n)]


def random_settings(case: int) -> dict:
    """Of four cases, one has one processor (each in turn), one the two that work without sampling, two any of them."""
    rng = random.Random(case)
    names = list(PROCESSORS)
    if case % 4 == 0:
        names = [names[case // 4 % len(names)]]
    elif case % 4 == 1:
        names = names[:2]
    else:
        names = [name for name in names if rng.random() < 0.5]
    settings = {name: PROCESSORS[name](rng) for name in names}
    if NEED_SAMPLING & set(names) or (case % 4 != 1 and rng.random() < 0.5):
        settings["do_sample"] = True
    return settings


def by_hugging_face(theirs, prompts, max_new_tokens, stop=(), **settings) -> list[list[int]]:
    """The answers of transformers.generate on a padded batch, without pads, up to the first stop token; with
    num_return_sequences prompt by prompt. The answers of a T5 begin with its start token."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    if settings.get("do_sample"):
        settings = {"top_k": 0} | settings  # transformers' default is 50
    theirs.generation_config.eos_token_id = list(stop) or None
    out = theirs.generate(
        tokens, attention_mask=mask, max_new_tokens=max_new_tokens, pad_token_id=0, **{"do_sample": False} | settings
    )
    answers = []
    prompts = [prompt for prompt in prompts for _ in range(settings.get("num_return_sequences", 1))]
    if theirs.config.is_encoder_decoder:
        prompts, longest = [row[:1] for row in out.tolist()], 1
    for row, prompt in zip(out.tolist(), prompts, strict=True):
        new = row[longest:]
        end = next((place + 1 for place, token in enumerate(new) if token in stop), len(new))
        answers.append(prompt + new[:end])
    return answers
