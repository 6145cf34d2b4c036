"""Hugging Face's names for the tensors of a GPT-2, and ours."""

from .family import Family

QUERY_KEY_VALUE = tuple(f"blocks.{{i}}.attention.{name}" for name in ("query", "key", "value"))

# Hugging Face stores the weights of GPT-2's four linear layers as (in, out), from OpenAI's TensorFlow code; nn.Linear
# stores (out, in): transpose. attn.c_proj is square: a forgotten transpose would not show in its shape. None: not
# needed, left out on purpose.
#
# Hugging Face's name            ours                              transpose
NAME_TABLE = [
    ("wte.weight",               "token_embedding.weight",         False),
    ("wpe.weight",               "position_embedding.weight",      False),
    ("h.{i}.ln_1.weight",        "blocks.{i}.attention_norm.weight", False),
    ("h.{i}.ln_1.bias",          "blocks.{i}.attention_norm.bias", False),
    ("h.{i}.attn.c_attn.weight", tuple(f"{name}.weight" for name in QUERY_KEY_VALUE), True),  # three side by side
    ("h.{i}.attn.c_attn.bias",   tuple(f"{name}.bias" for name in QUERY_KEY_VALUE), False),
    ("h.{i}.attn.c_proj.weight", "blocks.{i}.attention.output.weight", True),
    ("h.{i}.attn.c_proj.bias",   "blocks.{i}.attention.output.bias", False),
    ("h.{i}.attn.bias",          None,                             False),  # the causal mask, as a buffer
    ("h.{i}.attn.masked_bias",   None,                             False),  # what it was filled with
    ("h.{i}.ln_2.weight",        "blocks.{i}.mlp_norm.weight",     False),
    ("h.{i}.ln_2.bias",          "blocks.{i}.mlp_norm.bias",       False),
    ("h.{i}.mlp.c_fc.weight",    "blocks.{i}.mlp.up.weight",       True),
    ("h.{i}.mlp.c_fc.bias",      "blocks.{i}.mlp.up.bias",         False),
    ("h.{i}.mlp.c_proj.weight",  "blocks.{i}.mlp.down.weight",     True),
    ("h.{i}.mlp.c_proj.bias",    "blocks.{i}.mlp.down.bias",       False),
    ("ln_f.weight",              "final_norm.weight",              False),
    ("ln_f.bias",                "final_norm.bias",                False),
    ("lm_head.weight",           "lm_head.weight",                 False),  # only where the head is not tied
]  # fmt: skip


def obey_fields(fields: dict) -> dict:
    """Raise ValueError for a GPT-2 that was made a decoder with cross attention."""
    if fields.get("add_cross_attention"):
        raise ValueError("add_cross_attention is true, and this GPT-2 has no cross-attention layers")
    return fields


GPT2 = Family(
    table=lambda config: NAME_TABLE,
    layers={"h": "n_layer"},  # h.0.ln_1.weight is of layer 0
    layout=lambda config: ("GPT2LMHeadModel", "transformer."),
    prefix="transformer.",
    without_prefix=("lm_head.",),
    copies={"lm_head.weight": "wte.weight"},
    old_names={r"^lm_head\.decoder\.": "lm_head."},  # DialoGPT's files
    # Other names of fields of config.json, which transformers takes, too.
    aliases={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    },
    # Heads for other tasks, and an order of operations that rounds less.
    harmless=frozenset({
        "n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
        "summary_first_dropout", "reorder_and_upcast_attn",
    }),
    fixed={"is_causal": (True,)},
    not_settings=frozenset({
        "resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range", "bos_token_id", "eos_token_id",
    }),
    obey_fields=obey_fields,
)  # fmt: skip
