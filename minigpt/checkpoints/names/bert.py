"""Hugging Face's names for the tensors of a BERT, and ours."""

from dataclasses import asdict, replace

from .family import Family

# Nothing is transposed. A file may lack a head; its rows are then left out (`heads_of`).
#
# Hugging Face's name                                     ours                                transpose
NAME_TABLE = [
    ("embeddings.word_embeddings.weight",                   "token_embedding.weight",             False),
    ("embeddings.position_embeddings.weight",               "position_embedding.weight",          False),
    ("embeddings.token_type_embeddings.weight",             "type_embedding.weight",              False),
    ("embeddings.LayerNorm.weight",                         "embedding_norm.weight",              False),
    ("embeddings.LayerNorm.bias",                           "embedding_norm.bias",                False),
    ("embeddings.position_ids",                             None,                                 False),  # 0, 1, 2 ...
    ("encoder.layer.{i}.attention.self.query.weight",       "blocks.{i}.attention.query.weight",  False),
    ("encoder.layer.{i}.attention.self.query.bias",         "blocks.{i}.attention.query.bias",    False),
    ("encoder.layer.{i}.attention.self.key.weight",         "blocks.{i}.attention.key.weight",    False),
    ("encoder.layer.{i}.attention.self.key.bias",           "blocks.{i}.attention.key.bias",      False),
    ("encoder.layer.{i}.attention.self.value.weight",       "blocks.{i}.attention.value.weight",  False),
    ("encoder.layer.{i}.attention.self.value.bias",         "blocks.{i}.attention.value.bias",    False),
    ("encoder.layer.{i}.attention.output.dense.weight",     "blocks.{i}.attention.output.weight", False),
    ("encoder.layer.{i}.attention.output.dense.bias",       "blocks.{i}.attention.output.bias",   False),
    ("encoder.layer.{i}.attention.output.LayerNorm.weight", "blocks.{i}.attention_norm.weight",   False),
    ("encoder.layer.{i}.attention.output.LayerNorm.bias",   "blocks.{i}.attention_norm.bias",     False),
    ("encoder.layer.{i}.intermediate.dense.weight",         "blocks.{i}.mlp.up.weight",           False),
    ("encoder.layer.{i}.intermediate.dense.bias",           "blocks.{i}.mlp.up.bias",             False),
    ("encoder.layer.{i}.output.dense.weight",               "blocks.{i}.mlp.down.weight",         False),
    ("encoder.layer.{i}.output.dense.bias",                 "blocks.{i}.mlp.down.bias",           False),
    ("encoder.layer.{i}.output.LayerNorm.weight",           "blocks.{i}.mlp_norm.weight",         False),
    ("encoder.layer.{i}.output.LayerNorm.bias",             "blocks.{i}.mlp_norm.bias",           False),
    ("pooler.dense.weight",                                 "pooler.weight",                      False),
    ("pooler.dense.bias",                                   "pooler.bias",                        False),
    ("cls.predictions.transform.dense.weight",              "head.transform.weight",              False),
    ("cls.predictions.transform.dense.bias",                "head.transform.bias",                False),
    ("cls.predictions.transform.LayerNorm.weight",          "head.norm.weight",                   False),
    ("cls.predictions.transform.LayerNorm.bias",            "head.norm.bias",                     False),
    ("cls.predictions.bias",                                "head.bias",                          False),
    ("cls.seq_relationship.weight",                         "sentence_head.weight",               False),
    ("cls.seq_relationship.bias",                           "sentence_head.bias",                 False),
]  # fmt: skip

HEADS = {"has_head": "cls.predictions.", "has_pooler": "pooler.", "has_sentence_head": "cls.seq_relationship."}


def heads_of(config, tensors: dict):
    """The config with those heads that the file has; a file of a bare BertModel has neither of the two "cls" heads. The
    sentence head reads the pooler's output, so a file with this head must have the pooler, too."""
    has = {field: any(name.startswith(start) for name in tensors) for field, start in HEADS.items()}
    return replace(config, **has | {"has_pooler": has["has_pooler"] or has["has_sentence_head"]})


def layout(config) -> tuple[str, str]:
    """The class of transformers that has these heads; a bare model's names have no prefix."""
    if config.has_head:
        return ("BertForPreTraining" if config.has_sentence_head else "BertForMaskedLM"), "bert."
    return ("BertForNextSentencePrediction", "bert.") if config.has_sentence_head else ("BertModel", "")


BERT = Family(
    table=lambda config: NAME_TABLE,
    layers={"encoder.layer": "num_hidden_layers"},
    layout=layout,
    prefix="bert.",
    without_prefix=("cls.",),
    copies={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    old_names={r"\.gamma$": ".weight", r"\.beta$": ".bias"},  # of LayerNorm, from TensorFlow
    harmless=frozenset({
        "classifier_dropout", "bos_token_id", "eos_token_id", "directionality", "pooler_fc_size",
        "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    }),
    # A file with other values here would load without an error and give other numbers: relative positions, a decoder,
    # an untied head.
    fixed={
        "position_embedding_type": (None, "absolute"), "is_decoder": (None, False), "tie_word_embeddings": (None, True),
    },
    not_settings=frozenset({
        "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "pad_token_id",
    }),
    obey_tensors=heads_of,
    to_fields=lambda config: {name: value for name, value in asdict(config).items() if name not in HEADS},
)  # fmt: skip
