"""Hugging Face's names for the tensors of a T5, and ours."""

from dataclasses import asdict, replace

from ..translate import same
from .family import Family

# Nothing is transposed. A block's parts are numbered: the MLP is layer.1 in the encoder, and layer.2 in the decoder,
# where cross attention comes before it. The bias of a stack's positions is in its first block.
#
# Hugging Face's name                                      ours                                      transpose
NAME_TABLE = [
    ("shared.weight",                                        "token_embedding.weight",                   False),
    ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "encoder.relative_bias.weight", False),
    ("encoder.block.{i}.layer.0.layer_norm.weight",          "encoder.blocks.{i}.attention_norm.weight", False),
    ("encoder.block.{i}.layer.0.SelfAttention.q.weight",     "encoder.blocks.{i}.attention.query.weight", False),
    ("encoder.block.{i}.layer.0.SelfAttention.k.weight",     "encoder.blocks.{i}.attention.key.weight",  False),
    ("encoder.block.{i}.layer.0.SelfAttention.v.weight",     "encoder.blocks.{i}.attention.value.weight", False),
    ("encoder.block.{i}.layer.0.SelfAttention.o.weight",     "encoder.blocks.{i}.attention.output.weight", False),
    ("encoder.block.{i}.layer.1.layer_norm.weight",          "encoder.blocks.{i}.mlp_norm.weight",       False),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi.weight",   "encoder.blocks.{i}.mlp.up.weight",         False),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_0.weight", "encoder.blocks.{i}.mlp.gate.weight",       False),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_1.weight", "encoder.blocks.{i}.mlp.up.weight",         False),
    ("encoder.block.{i}.layer.1.DenseReluDense.wo.weight",   "encoder.blocks.{i}.mlp.down.weight",       False),
    ("encoder.final_layer_norm.weight",                      "encoder.final_norm.weight",                False),
    ("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "decoder.relative_bias.weight", False),
    ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", None, False),  # never used
    ("decoder.block.{i}.layer.0.layer_norm.weight",          "decoder.blocks.{i}.attention_norm.weight", False),
    ("decoder.block.{i}.layer.0.SelfAttention.q.weight",     "decoder.blocks.{i}.attention.query.weight", False),
    ("decoder.block.{i}.layer.0.SelfAttention.k.weight",     "decoder.blocks.{i}.attention.key.weight",  False),
    ("decoder.block.{i}.layer.0.SelfAttention.v.weight",     "decoder.blocks.{i}.attention.value.weight", False),
    ("decoder.block.{i}.layer.0.SelfAttention.o.weight",     "decoder.blocks.{i}.attention.output.weight", False),
    ("decoder.block.{i}.layer.1.layer_norm.weight",          "decoder.blocks.{i}.cross_norm.weight",     False),
    ("decoder.block.{i}.layer.1.EncDecAttention.q.weight",   "decoder.blocks.{i}.cross_attention.query.weight", False),
    ("decoder.block.{i}.layer.1.EncDecAttention.k.weight",   "decoder.blocks.{i}.cross_attention.key.weight", False),
    ("decoder.block.{i}.layer.1.EncDecAttention.v.weight",   "decoder.blocks.{i}.cross_attention.value.weight", False),
    ("decoder.block.{i}.layer.1.EncDecAttention.o.weight",   "decoder.blocks.{i}.cross_attention.output.weight", False),
    ("decoder.block.{i}.layer.2.layer_norm.weight",          "decoder.blocks.{i}.mlp_norm.weight",       False),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi.weight",   "decoder.blocks.{i}.mlp.up.weight",         False),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_0.weight", "decoder.blocks.{i}.mlp.gate.weight",       False),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_1.weight", "decoder.blocks.{i}.mlp.up.weight",         False),
    ("decoder.block.{i}.layer.2.DenseReluDense.wo.weight",   "decoder.blocks.{i}.mlp.down.weight",       False),
    ("decoder.final_layer_norm.weight",                      "decoder.final_norm.weight",                False),
    ("lm_head.weight",                                       "lm_head.weight", False),  # where it is not tied
]  # fmt: skip


# The one token embedding, by its three names in a file.
EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def table(config) -> list:
    """The rows of NAME_TABLE without those of the other kind of MLP, which calls `up` by another name."""
    other = (".wi.",) if config.is_gated else (".wi_0.", ".wi_1.")
    return [row for row in NAME_TABLE if not any(name in row[0] for name in other)]


def obey_fields(fields: dict) -> dict:
    """Some files have is_gated_act and dense_act_fn beside feed_forward_proj; these two count, as in transformers.
    Raises ValueError for a combination that feed_forward_proj has no name for, and for null, which transformers takes
    for false, in a field that has another default."""
    fields = dict(fields)
    for name in ("scale_decoder_outputs", "is_gated_act", "dense_act_fn"):
        if name in fields and fields[name] is None:
            raise ValueError(f"{name} is null; expected a value, or that the field is left out")
    words = str(fields.get("feed_forward_proj", "relu")).split("-")
    gated = words[0] == "gated"
    activation = "gelu_new" if words == ["gated", "gelu"] else words[-1]
    says_gated, says = fields.pop("is_gated_act", gated), fields.pop("dense_act_fn", activation)
    if (says_gated, says) == (gated, activation):
        return fields
    gated, activation = bool(says_gated), says
    if gated and activation == "gelu":
        raise ValueError("dense_act_fn is 'gelu' in a gated MLP, and T5's gated GELU is gelu_new")
    return fields | {"feed_forward_proj": f"gated-{activation}" if gated else activation}


def own_head(config, tensors: dict):
    """The config, with tie_word_embeddings as the tensors show it. transformers 5 always writes true there (and writes
    what the field meant before as scale_decoder_outputs). Where lm_head.weight differs from the embedding, the head is
    not tied."""
    embedding = next((tensors[name] for name in EMBEDDING if name in tensors), None)
    head = tensors.get("lm_head.weight", embedding)
    if embedding is None or (head.shape == embedding.shape and same(head, embedding)):
        return config
    return replace(config, tie_word_embeddings=False)


T5 = Family(
    table=table,
    layers={"encoder.block": "num_layers", "decoder.block": "num_decoder_layers"},
    layout=lambda config: ("T5ForConditionalGeneration", ""),
    copies=dict.fromkeys((*EMBEDDING[1:], "lm_head.weight"), EMBEDDING[0]),
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    },
    harmless=frozenset({"n_positions", "classifier_dropout", "bos_token_id"}),  # T5 has no last position, and no <s>
    fixed={"is_encoder_decoder": (None, True), "is_causal": (True,)},
    not_settings=frozenset({
        "dropout_rate", "initializer_factor", "pad_token_id", "eos_token_id", "decoder_start_token_id",
    }),
    obey_fields=obey_fields,
    obey_tensors=own_head,
    to_fields=lambda config: asdict(config) | {"is_encoder_decoder": True},
)  # fmt: skip
