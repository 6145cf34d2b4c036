"""Hugging Face's names for the tensors of a Llama, and ours."""

from dataclasses import asdict

from .family import Family

# Nothing is transposed. Queries and keys pair columns i and i + D/2 here, as `positions.rotation` does.
#
# Hugging Face's name                           ours                               transpose
NAME_TABLE = [
    ("embed_tokens.weight",                      "token_embedding.weight",            False),
    ("layers.{i}.input_layernorm.weight",        "blocks.{i}.attention_norm.weight",  False),
    ("layers.{i}.self_attn.q_proj.weight",       "blocks.{i}.attention.query.weight", False),
    ("layers.{i}.self_attn.q_proj.bias",         "blocks.{i}.attention.query.bias",   False),  # with attention_bias
    ("layers.{i}.self_attn.k_proj.weight",       "blocks.{i}.attention.key.weight",   False),
    ("layers.{i}.self_attn.k_proj.bias",         "blocks.{i}.attention.key.bias",     False),
    ("layers.{i}.self_attn.v_proj.weight",       "blocks.{i}.attention.value.weight", False),
    ("layers.{i}.self_attn.v_proj.bias",         "blocks.{i}.attention.value.bias",   False),
    ("layers.{i}.self_attn.o_proj.weight",       "blocks.{i}.attention.output.weight", False),
    ("layers.{i}.self_attn.o_proj.bias",         "blocks.{i}.attention.output.bias",  False),
    ("layers.{i}.self_attn.rotary_emb.inv_freq", None,                                False),  # the rates, as a buffer
    ("rotary_emb.inv_freq",                      None,                                False),
    ("layers.{i}.post_attention_layernorm.weight", "blocks.{i}.mlp_norm.weight",      False),
    ("layers.{i}.mlp.gate_proj.weight",          "blocks.{i}.mlp.gate.weight",        False),
    ("layers.{i}.mlp.gate_proj.bias",            "blocks.{i}.mlp.gate.bias",          False),  # with mlp_bias
    ("layers.{i}.mlp.up_proj.weight",            "blocks.{i}.mlp.up.weight",          False),
    ("layers.{i}.mlp.up_proj.bias",              "blocks.{i}.mlp.up.bias",            False),
    ("layers.{i}.mlp.down_proj.weight",          "blocks.{i}.mlp.down.weight",        False),
    ("layers.{i}.mlp.down_proj.bias",            "blocks.{i}.mlp.down.bias",          False),
    ("norm.weight",                              "final_norm.weight",                 False),
    ("lm_head.weight",                           "lm_head.weight",                    False),  # where it is not tied
]  # fmt: skip

DEFAULT_THETA = 10000.0
LENGTH = "original_max_position_embeddings"
SCALINGS = {"default": (), "linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor", LENGTH)}


def obey_fields(fields: dict) -> dict:
    """One rope_theta and one rope_scaling from the layouts that files have: rope_theta on the top level, the rest in
    rope_scaling (transformers 4, which called rope_type "type" at first), or all of it in rope_parameters
    (transformers 5).

    Raises ValueError where two places contradict each other, and for a kind of scaling that is not known here.
    """
    fields = dict(fields)
    on_top = {name: fields.pop(name, None) for name in ("rope_theta", "partial_rotary_factor", LENGTH)}
    described = {name: fields.pop(name, None) for name in ("rope_scaling", "rope_parameters")}
    found = [_theta_and_scaling(name, entries, on_top) for name, entries in described.items() if entries]
    found = found or [_theta_and_scaling("config.json", {}, on_top)]
    if found[0] != found[-1]:
        raise ValueError(f"rope_scaling and rope_parameters contradict each other: {described!r}")
    theta, scaling = found[0]
    return fields | {"rope_theta": theta, "rope_scaling": scaling}


def _theta_and_scaling(name: str, entries: dict, on_top: dict) -> tuple[float, dict | None]:
    """(rope_theta, the fields of a RopeScaling or None) that one dictionary and the fields beside it describe."""
    if not isinstance(entries, dict):
        raise ValueError(f"{name} must be an object or null, got {entries!r}")
    entries = {field: value for field, value in entries.items() if value is not None}
    old_kind = entries.pop("type", entries.get("rope_type", "default"))
    kind = entries.pop("rope_type", old_kind)
    if kind != old_kind:
        raise ValueError(f"{name} says type {old_kind!r} and rope_type {kind!r}")
    for field, value in on_top.items():
        if value is not None and entries.setdefault(field, value) != value:
            raise ValueError(f"{name} says {field} {entries[field]!r}, and beside it stands {field} {value!r}")
    theta = entries.pop("rope_theta", DEFAULT_THETA)
    if (share := entries.pop("partial_rotary_factor", 1)) != 1:
        raise ValueError(f"partial_rotary_factor is {share!r}, and this Llama turns all columns of a head")
    if strange := sorted(entries.keys() - set(SCALINGS["llama3"])):
        raise ValueError(f"{name} says {strange[0]} {entries[strange[0]]!r}, which this Llama cannot obey")
    if not isinstance(kind, str) or kind not in SCALINGS:
        raise ValueError(f"{name} says rope_type {kind!r}; this Llama knows {', '.join(SCALINGS)}")
    if missing := [field for field in SCALINGS[kind] if field not in entries]:
        raise ValueError(f"{name} is of type {kind} and lacks {missing[0]}")
    scaling = {"rope_type": kind} | {field: entries[field] for field in SCALINGS[kind]}
    return theta, None if kind == "default" else scaling


def to_fields(config) -> dict:
    """The layout of transformers 4, which version 5 reads, too."""
    fields = asdict(config)
    if fields["rope_scaling"] is not None:
        fields["rope_scaling"] = {name: value for name, value in fields["rope_scaling"].items() if value is not None}
    return fields


LLAMA = Family(
    table=lambda config: NAME_TABLE,
    layers={"layers": "num_hidden_layers"},
    layout=lambda config: ("LlamaForCausalLM", "model."),
    prefix="model.",
    without_prefix=("lm_head.",),
    copies={"lm_head.weight": "embed_tokens.weight"},
    # pretraining_tp computes the same products in slices; the others are notes of the tools that wrote the file.
    harmless=frozenset({
        "pretraining_tp", "is_llama_config", "max_sequence_length", "transformers.js_config", "unsloth_fixed",
        "unsloth_version",
    }),
    fixed={"is_causal": (True,)},
    not_settings=frozenset({"attention_dropout", "initializer_range", "bos_token_id", "eos_token_id"}),
    obey_fields=obey_fields,
    to_fields=to_fields,
)  # fmt: skip
