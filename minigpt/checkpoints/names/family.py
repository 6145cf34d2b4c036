"""What loading and saving know of a family of models: one record each, filled in by the files beside this one."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Row = tuple[str, str | tuple[str, ...] | None, bool]  # Hugging Face's name, ours (None: not needed), transposed?


@dataclass(frozen=True)
class Family:
    """What translates Hugging Face's names of tensors and of fields of config.json into ours.

    table(config) is the name table. layers maps what the tensor names of a stack begin with to the field of the
    config that counts its layers. layout(config) gives the class that transformers loads such a file with, and
    the prefix that most names in it have. prefix is one that names in a file may have (`bert.`); names that begin with
    one of without_prefix never have it.
    """

    table: Callable[[Any], list[Row]]
    layers: dict[str, str]
    layout: Callable[[Any], tuple[str, str]]
    prefix: str = ""
    without_prefix: tuple[str, ...] = ()
    copies: dict[str, str] = field(default_factory=dict)  # a tensor that may be there twice: copy -> original
    old_names: dict[str, str] = field(default_factory=dict)  # regular expression -> today's name

    aliases: dict[str, str] = field(default_factory=dict)  # other names of fields of config.json -> ours
    harmless: frozenset[str] = frozenset()  # fields that change no number here
    # For each of these fields the only values that are accepted. Other values would change what the model computes.
    fixed: dict[str, tuple] = field(default_factory=dict)
    not_settings: frozenset[str] = frozenset()  # fields of ours that change no number in eval mode
    # Fields of config.json -> the same in today's words. Raises ValueError for what cannot be obeyed.
    obey_fields: Callable[[dict], dict] = lambda fields: fields
    # A config and the tensors of the file, by plain names -> the config that the tensors are of.
    obey_tensors: Callable[[Any, dict], Any] = lambda config, tensors: config
    to_fields: Callable[[Any], dict] = asdict  # a config -> the fields of config.json
