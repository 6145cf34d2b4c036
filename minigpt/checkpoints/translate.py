"""Translate tensors by a name table: Hugging Face's -> ours, and back."""

import re
from collections.abc import Container, Iterator
from itertools import takewhile

import torch

from .files import CONFIG_FILE, CheckpointError

# What stands in names, anywhere, for a module that wraps another one: of torch.compile, DDP and DeepSpeed, FSDP,
# activation checkpointing. No model here has a part of such a name.
WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def plain_names(tensors: dict[str, torch.Tensor], family, config, file) -> dict[str, torch.Tensor]:
    """Names as the name table has them: without the parts that wrappers add (`WRAPPERS`), without what all names begin
    with and no name of the family does (a Lightning module calls its model `model`), without Hugging Face's own
    family.prefix, and old names as today's (family.old_names).

    Raises CheckpointError when two tensors end up with one name.
    """
    bare = {name: WRAPPERS.sub("", name) for name in tensors}
    own = {row[0].partition(".")[0] for row in family.table(config)} | {family.prefix.rstrip(".")}
    columns = zip(*(name.split(".")[:-1] for name in bare.values()), strict=False)  # all first parts, all second, ...
    in_common = takewhile(lambda parts: len(set(parts)) == 1 and parts[0] not in own, columns)
    outer = "".join(f"{parts[0]}." for parts in in_common)
    plain = {}
    for name, tensor in tensors.items():
        short = re.sub(f"^({re.escape(family.prefix)})+", "", bare[name].removeprefix(outer))
        for old, new in family.old_names.items():
            short = re.sub(old, new, short)
        if short in plain:
            raise CheckpointError(f"{file}: tensor {short} is there twice, once as {name}")
        plain[short] = tensor
    return plain


def check_layers(tensors: Container[str], family, config, file) -> None:
    """Raise CheckpointError when the file has not as many layers as config.json says, before any is built."""
    for stack, field in family.layers.items():
        found = {int(i) for name in tensors for i in re.findall(rf"\b{re.escape(stack)}\.(\d{{1,9}})\.", name)}
        if len(found) != getattr(config, field):
            says = f"{CONFIG_FILE} says {field}={getattr(config, field)}"
            raise CheckpointError(f"{file} has the tensors of {len(found)} layers, {says}")


def from_hugging_face(
    tensors: dict[str, torch.Tensor],
    family,
    shapes: dict[str, tuple],
    config,
    file="checkpoint",
    dtype=None,
) -> dict[str, torch.Tensor]:
    """Hugging Face's tensors -> ours, by the name table, each checked against the shape the model expects.

    family is one of `NAMES`, config the model's. dtype None = as they are. The dictionary `tensors` is emptied, so that
    no weight is in memory twice for long.
    Raises CheckpointError for a tensor that is missing, unexpected, of another shape, not floating point, not finite,
    and for a copy that differs from its original, such as a tied head from the token embedding.
    """
    callers_own, tensors = tensors, plain_names(tensors, family, config, file)
    callers_own.clear()
    state = {}
    rows = list(_table_rows(family, config))
    own = {theirs for theirs, ours, _ in rows if ours in shapes}
    for copy, original in family.copies.items():
        if copy in tensors and copy not in own:
            _take_copy(tensors, copy, original, file)
    for theirs, ours, transpose in rows:
        if ours is None:
            tensors.pop(theirs, None)
            continue
        targets = ours if isinstance(ours, tuple) else (ours,)
        if targets[0] not in shapes:  # a part that this model is made without; a tensor of it is unexpected
            continue
        tensor = tensors.pop(theirs, None)
        if tensor is None:
            raise CheckpointError(f"{file}: tensor {theirs} is missing{_under_a_prefix(theirs, tensors, family)}")
        expected = (len(targets) * shapes[targets[0]][0], *shapes[targets[0]][1:])
        expected = expected[::-1] if transpose else expected
        if tuple(tensor.shape) != expected:
            raise CheckpointError(f"{file}: tensor {theirs} has shape {tuple(tensor.shape)}, expected {expected}")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{file}: tensor {theirs} holds {tensor.dtype}, expected floating point numbers")
        tensor = tensor.to(dtype or tensor.dtype)
        if not all_finite(tensor):
            raise CheckpointError(f"{file}: tensor {theirs} holds nan or inf")
        parts = (tensor.t() if transpose else tensor).chunk(len(targets))
        for name, part in zip(targets, parts, strict=True):
            state[name] = part.contiguous()
    if tensors:
        raise CheckpointError(f"{file}: unexpected tensor {sorted(tensors)[0]}, {len(tensors)} in all")
    return state


def _under_a_prefix(missing: str, tensors: Container[str], family) -> str:
    """For an error: what to do where the tensor is there under a longer name, but other tensors stand beside."""
    longer = sorted(name for name in tensors if name.endswith(f".{missing}"))
    if not longer:
        return ""
    prefix = longer[0].removesuffix(missing).removesuffix(family.prefix)
    return (
        f", and {longer[0]} is there. If this model's names begin with {prefix!r}, save its tensors alone and without "
        f"this prefix: {{name.removeprefix({prefix!r}): tensor for name, tensor in tensors.items() "
        f"if name.startswith({prefix!r})}}"
    )


def _take_copy(tensors: dict[str, torch.Tensor], copy: str, original: str, file) -> None:
    """Keep a tensor that is there twice, or under its copy's name only, under the original's name alone."""
    tensor = tensors.pop(copy)
    other = tensors.setdefault(original, tensor)
    if not (tensor.is_floating_point() and other.is_floating_point()):
        raise CheckpointError(f"{file}: {copy} holds {tensor.dtype}, {original} {other.dtype}")
    if not same(tensor, other):
        raise CheckpointError(f"{file}: {copy} differs from {original}, but the config ties them")


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal. Two dtypes round differently, so tensors equal in the coarser dtype are equal."""
    return torch.equal(one.to(other.dtype), other) or torch.equal(one, other.to(one.dtype))


def to_hugging_face(state: dict[str, torch.Tensor], family, config) -> dict[str, torch.Tensor]:
    """Our tensors -> Hugging Face's, by the name table, contiguous and ready to save."""
    tensors, (_, prefix) = {}, family.layout(config)
    for theirs, ours, transpose in _table_rows(family, config):
        targets = ours if isinstance(ours, tuple) else (ours,)
        if targets[0] not in state:
            continue
        tensor = torch.cat([state[name] for name in targets]) if len(targets) > 1 else state[targets[0]]
        in_front = "" if theirs.startswith(family.without_prefix) else prefix
        tensors[in_front + theirs] = (tensor.t() if transpose else tensor).detach().cpu().contiguous()
    return tensors


def _table_rows(family, config) -> Iterator[tuple]:
    """The name table with {i} written out for every layer."""
    for theirs, ours, transpose in family.table(config):
        n_layer = next(
            (getattr(config, field) for stack, field in family.layers.items() if theirs.startswith(stack)), 1
        )
        for i in range(n_layer if "{i}" in theirs else 1):
            filled = tuple(name.format(i=i) for name in ours) if isinstance(ours, tuple) else ours and ours.format(i=i)
            yield theirs.format(i=i), filled, transpose


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether no number is nan or inf. A finite sum shows it in one pass without a copy; if not, each is checked."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())
