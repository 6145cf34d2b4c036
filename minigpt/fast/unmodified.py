"""Does a network compute what its file says? Only then may its answer be computed in another way than by its modules.

Whoever adds a hook or an adapter, writes a subclass, or exchanges a part or a method wants the modules to run.
"""

from collections.abc import Callable
from itertools import chain

from torch import nn
from torch.nn.modules import module as hooks_of_all_modules

from ..attention import MultiHeadAttention
from ..layers import MLP, GatedMLP, RMSNorm
from ..models import GPT2, T5, Llama, gpt2, llama, t5

# The classes whose methods the fast ways replace, and these methods.
_METHODS = {
    GPT2: ("forward", "hidden", "read", "logits"),
    Llama: ("forward", "hidden", "read", "logits"),
    T5: ("forward", "hidden", "read", "logits"),
    gpt2.Block: ("forward",),
    llama.Block: ("forward",),
    t5.Stack: ("bias",),
    t5.EncoderBlock: ("forward", "add_mlp"),
    t5.DecoderBlock: ("forward", "add_mlp"),
    MLP: ("forward", "inner"),
    GatedMLP: ("forward", "inner"),
    RMSNorm: ("forward",),
    MultiHeadAttention: ("forward", "keys_values"),
    nn.Linear: ("forward",),
    nn.LayerNorm: ("forward",),
    nn.Embedding: ("forward",),
    nn.Dropout: ("forward",),
    nn.ModuleList: (),
}
# As they were when this file was read: somebody may patch a class later.
_WATCHED = [(kind, name) for kind, names in _METHODS.items() for name in names]
_AS_WRITTEN = [getattr(kind, name) for kind, name in _WATCHED]
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_unmodified(module: nn.Module) -> bool:
    """Whether a module computes what its class says, without hooks and changes. Its parts are not looked at."""
    kind = type(module)
    return kind in _METHODS and _is_plain(module, _METHODS[kind]) and not _classes_or_all_modules_are_changed()


def is_unmodified_throughout(model: nn.Module) -> bool:
    """`is_unmodified` of a model and of all its parts."""
    if type(model) not in _METHODS or _classes_or_all_modules_are_changed():
        return False
    return all(type(part) in _METHODS and _is_plain(part, _METHODS[type(part)]) for part in parts(model))


def watch(model: nn.Module) -> Callable[[], bool]:
    """A function that says whether a model is still made of the parts and parameters that it is made of now, without
    hooks and changes. (The values in the parameters may change.)

    It is asked before every token, so it takes microseconds: it keeps the dictionaries in which the modules hold their
    parts, parameters and hooks, and looks whether they are as they were.
    """
    all_parts = parts(model)
    own = [part.__dict__ for part in all_parts]
    hooks = [attributes[name] for attributes in own for name in _HOOKS]
    held = [attributes[kind] for attributes in own for kind in ("_modules", "_parameters") if attributes[kind]]

    def state() -> tuple:
        things = list(map(id, chain.from_iterable(map(dict.values, held))))
        return list(map(type, all_parts)), list(map(len, own)), things  # an own method is one more attribute

    then = state()
    return lambda: not any(hooks) and not _classes_or_all_modules_are_changed() and state() == then


def parts(model: nn.Module) -> list[nn.Module]:
    """model.modules() as a list, in a tenth of the time."""
    found = [model]
    for part in found:  # the list grows in the loop
        found.extend([child for child in part._modules.values() if child is not None])
    return found


def _is_plain(module, methods) -> bool:
    own = module.__dict__
    if type(module) in (GPT2, Llama, T5) and getattr(module.lm_head, "bias", None) is not None:
        return False  # a head with a bias is not the one that the model makes
    return not any(own[name] for name in _HOOKS) and not any(name in own for name in methods)


def _classes_or_all_modules_are_changed() -> bool:
    if hooks_of_all_modules._global_forward_hooks or hooks_of_all_modules._global_forward_pre_hooks:
        return True
    return [getattr(kind, name) for kind, name in _WATCHED] != _AS_WRITTEN
