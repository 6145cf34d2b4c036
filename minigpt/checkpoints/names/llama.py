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
ROPE_FIELDS = ("rope_type", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def obey_fields(fields: dict) -> dict:
    """One rope_theta and one rope_scaling from the layouts that files have: both fields on the top (transformers 4,
    which called rope_type "type" at first), or all of it in rope_parameters (transformers 5).

    Raises ValueError where two places contradict each other, and for a kind of scaling that is not known here.
    """
    fields = dict(fields)
    theta = fields.pop("rope_theta", None)
    described = {name: fields.pop(name, None) or {} for name in ("rope_scaling", "rope_parameters")}
    scalings = []
    for name, entries in described.items():
        if not isinstance(entries, dict):
            raise ValueError(f"{name} must be an object or null, got {entries!r}")
        if not entries:
            continue
        entries = dict(entries)
        own_theta, kinds = entries.pop("rope_theta", theta), (entries.pop("type", None), entries.get("rope_type"))
        if all(kinds) and kinds[0] != kinds[1]:
            raise ValueError(f"{name} says type {kinds[0]!r} and rope_type {kinds[1]!r}")
        if theta is not None and own_theta != theta:
            raise ValueError(f"{name} says rope_theta {own_theta!r}, and another place says {theta!r}")
        theta, entries["rope_type"] = own_theta, kinds[1] or kinds[0] or "default"
        if entries.pop("partial_rotary_factor", None) not in (None, 1, 1.0):
            raise ValueError(f"{name} says partial_rotary_factor, and this Llama turns all columns of a head")
        scalings.append(_scaling(name, entries))
    if len(scalings) == 2 and scalings[0] != scalings[1]:
        raise ValueError(f"rope_scaling and rope_parameters contradict each other: {described!r}")
    if fields.get("partial_rotary_factor") in (1, 1.0):
        del fields["partial_rotary_factor"]
    scaling = scalings[0] if scalings else None
    return fields | {"rope_theta": DEFAULT_THETA if theta is None else theta, "rope_scaling": scaling}


def _scaling(name: str, entries: dict) -> dict | None:
    """The fields of a RopeScaling; None for plain RoPE."""
    entries = {field: value for field, value in entries.items() if value is not None}
    if strange := sorted(entries.keys() - set(ROPE_FIELDS)):
        raise ValueError(f"{name} says {strange[0]} {entries[strange[0]]!r}, which this Llama cannot obey")
    kind = entries["rope_type"]
    if kind not in ("default", "linear", "llama3"):
        raise ValueError(f"{name} says rope_type {kind!r}; this Llama knows default, linear and llama3")
    needed = {"default": [], "linear": ["factor"], "llama3": ROPE_FIELDS[1:]}[kind]
    if missing := [field for field in needed if field not in entries]:
        raise ValueError(f"{name} is of type {kind} and lacks {missing[0]}")
    return None if kind == "default" else {field: entries[field] for field in ("rope_type", *needed)}


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
    harmless=frozenset({"pretraining_tp", "is_llama_config"}),  # the first: the same product in slices
    not_settings=frozenset({"attention_dropout", "initializer_range", "bos_token_id", "eos_token_id"}),
    obey_fields=obey_fields,
    to_fields=to_fields,
)
