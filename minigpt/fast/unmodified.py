"""Is this network what its file says? Only then may its answer be computed in another way than by its modules.

A hook, an adapter, a subclass, an exchanged part or method: each is a wish that the modules themselves run.
"""

from torch import nn
from torch.nn.modules import module as hooks_of_all_modules

from ..attention import MultiHeadAttention
from ..layers import MLP
from ..models import GPT2
from ..models.gpt2 import Block

# The classes that the fast ways know by heart, and the methods of each that they stand in for.
_METHODS = {
    GPT2: ("forward", "hidden", "read", "logits"),
    Block: ("forward",),
    MLP: ("forward",),
    MultiHeadAttention: ("forward", "keys_values"),
    nn.Linear: ("forward",),
    nn.LayerNorm: ("forward",),
    nn.Embedding: ("forward",),
    nn.Dropout: ("forward",),
    nn.ModuleList: (),
}
# As they were when this file was read: somebody may patch a class later.
_AS_WRITTEN = {kind: [getattr(kind, name) for name in names] for kind, names in _METHODS.items()}


def is_unmodified(module: nn.Module) -> bool:
    """Whether a module, its parts left out, computes what its class says, and nobody listens to it or changes it."""
    kind = type(module)
    return kind in _METHODS and _is_plain(module, _METHODS[kind]) and not _classes_or_all_modules_are_changed()


def is_unmodified_throughout(model: nn.Module) -> bool:
    """`is_unmodified` of a model and of all its parts."""
    if type(model) not in _METHODS or _classes_or_all_modules_are_changed():
        return False
    return all(type(part) in _METHODS and _is_plain(part, _METHODS[type(part)]) for part in parts(model))


def parts(model: nn.Module) -> list[nn.Module]:
    """model.modules() as a list, in a tenth of the time: this is asked before every token."""
    found = [model]
    for part in found:  # which grows meanwhile
        found.extend([child for child in part._modules.values() if child is not None])
    return found


def _is_plain(module, methods) -> bool:
    own = module.__dict__
    return not (
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or any(name in own for name in methods)
    )


def _classes_or_all_modules_are_changed() -> bool:
    if hooks_of_all_modules._global_forward_hooks or hooks_of_all_modules._global_forward_pre_hooks:
        return True
    return any([getattr(kind, name) for name in names] != _AS_WRITTEN[kind] for kind, names in _METHODS.items())
