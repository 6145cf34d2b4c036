"""BERT (Devlin et al. 2018): every token looks at all of its text, before it and after it.

    tokens (B, T) -> token + position + type embedding -> norm -> num_hidden_layers blocks -> hidden states (B, T, C)
                  -> masked-token head -> logits (B, T, V): which token fits into a gap
                  -> pooler -> (B, C) -> sentence head -> (B, 2): does the second text follow the first

| part             | GPT-2                    | BERT                                     | Devlin et al. 2018, section |
|------------------|--------------------------|------------------------------------------|-----------------------------|
| attention        | causal                   | bidirectional: explicit_attention(q,k,v) | 3, "Model architecture"     |
| input            | token + position         | + which of two texts a token belongs to  | 3, "Input/output"           |
| norm             | before each part         | after each part, on the sum x + part(x)  | Vaswani et al. 2017, 3.1    |
| activation       | GELU, tanh approximation | GELU, exact in Hugging Face's files      | A.2 (names no form)         |
| what it predicts | the next token           | a token that was masked; the next text   | 3.1, "Masked LM", "NSP"     |

Attention is the lecture's bidirectional self attention. BERT has not learned to predict the next token. It could not
keep keys and values either: each new token would change the hidden states of all tokens before it. The letters B, T,
C ... are those of attention.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .._checks import check_fields, choice, flag, integer, number
from ..attention import MultiHeadAttention, attention_function, padding_mask
from ..language_model import TokenModel
from ..layers import ACTIVATIONS, MLP, draw_normal, embedding
from ._inputs import check_companion, check_ids, check_tokens


class Block(nn.Module):
    """Post-norm, as in "Attention Is All You Need", section 3.1: the sum x + part(x) is normalised after each part."""

    def __init__(self, config: BertConfig, attend: Callable):
        super().__init__()
        c = config
        dropout = c.attention_probs_dropout_prob
        self.attention = MultiHeadAttention(c.hidden_size, c.num_attention_heads, dropout=dropout, attend=attend)
        self.attention_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.hidden_act])
        self.mlp_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)

    def forward(self, x, mask=None):
        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


class TokenHead(nn.Module):
    """Hidden states (..., C) -> the scores (..., V) of the token that was masked (section 3.1, "Masked LM"): a layer,
    then the product with the token embedding, which is tied, and a bias for each token."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden, token_embedding):
        """token_embedding (V, C) is the model's own."""
        return F.linear(self.norm(self.activation(self.transform(hidden))), token_embedding, self.bias)


class Bert(TokenModel, nn.Module):
    """BERT. `attention` is "explicit", "sdpa", "tiled", or any function with the signature of `explicit_attention`.

    head, pooler and sentence_head are None where the config leaves them out: published files hold some of them only.
    """

    looks_at_both_sides = True
    why_no_language_model = (
        "it looks at both sides of a token, so it cannot be asked for the next one; "
        "it fills gaps (minigpt.generation.fill_mask, or python -m minigpt fill)"
    )

    def __init__(self, config: BertConfig, attention: str | Callable = "explicit"):
        super().__init__()
        attend = attention_function(attention)
        self.config = config
        self.token_embedding = embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = embedding(config.max_position_embeddings, config.hidden_size)
        self.type_embedding = embedding(config.type_vocab_size, config.hidden_size)
        self.embedding_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.blocks = nn.ModuleList(Block(config, attend) for _ in range(config.num_hidden_layers))
        self.head = TokenHead(config) if config.has_head else None
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if config.has_pooler else None
        self.sentence_head = nn.Linear(config.hidden_size, 2) if config.has_sentence_head else None
        initialize(self)

    def hidden(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_types: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Token ids (B, T) int64 -> hidden states (B, T, C).

        attention_mask (B, T) holds 1 for real tokens and 0 for pads. token_types (B, T) say which of two texts a token
        belongs to (section 3, "Input/Output Representations"); None = the first, 0. position_ids None = 0 ... T - 1.
        Raises ValueError, before any work, for a wrong shape, dtype or device, an id out of range, a row that is too
        long, and one whose real tokens come after a pad: the pooler reads [CLS] at the first position.
        """
        check_tokens(self, tokens, attention_mask)
        mask = None if attention_mask is None else padding_mask(attention_mask)
        if mask is not None and not torch.compiler.is_compiling() and (mask.any(-1) & ~mask[..., 0]).any():
            raise ValueError("attention_mask begins with a pad in some row: pad BERT's rows on the right")
        if position_ids is None:
            position_ids = torch.arange(tokens.size(1), device=tokens.device).expand_as(tokens)
        check_companion(self, "position_ids", position_ids, tokens)
        limit = self.config.max_position_embeddings
        check_ids("position id", position_ids, limit, "max_position_embeddings")
        token_types = torch.zeros_like(tokens) if token_types is None else token_types
        check_companion(self, "token_types", token_types, tokens)
        check_ids("token type", token_types, self.config.type_vocab_size, "type_vocab_size")

        x = self.token_embedding(tokens) + self.type_embedding(token_types) + self.position_embedding(position_ids)
        x = self.dropout(self.embedding_norm(x))  # (B, T, C)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., V): for each position the scores of the masked token. Raises ValueError without a head."""
        if self.head is None:
            raise ValueError("this Bert has no masked-token head: it was made, or published, without one")
        return self.head(hidden, self.token_embedding.weight)

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, T, C) -> (B, C): tanh of a linear layer over the first position, [CLS]. Raises ValueError
        without a pooler."""
        if self.pooler is None:
            raise ValueError("this Bert has no pooler: it was made, or published, without one")
        return torch.tanh(self.pooler(hidden[:, 0]))

    def sentence_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, T, C) -> (B, 2): scores that the second text follows the first (0), and that it does not
        (1). Raises ValueError without a next-sentence head."""
        if self.sentence_head is None:
            raise ValueError("this Bert has no next-sentence head: it was made, or published, without one")
        return self.sentence_head(self.pooled(hidden))

    def forward(self, tokens, attention_mask=None, token_types=None, position_ids=None) -> torch.Tensor:
        """(B, T) -> masked-token logits (B, T, V) of every position; arguments and errors as in `hidden`, `logits`."""
        return self.logits(self.hidden(tokens, attention_mask, token_types, position_ids))

    @property
    def max_tokens(self) -> int:
        return self.config.max_position_embeddings


def initialize(model: Bert) -> None:
    """Fresh weights, as Hugging Face's. (The code of Devlin et al. 2018 cuts the normal distribution off at twice its
    deviation.)

    | what                                           | drawn from               | why                            |
    |------------------------------------------------|--------------------------|--------------------------------|
    | weights of linear layers, the three embeddings | N(0, initializer_range²) | logits near 0: a uniform guess |
    | biases                                         | 0                        |                                |
    | norms                                          | weight 1, bias 0         | start as plain normalisation   |
    """
    if not model.token_embedding.weight.is_meta:  # else the weights are about to be loaded
        draw_normal(model, model.config.initializer_range)


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT; field names and defaults are those of Hugging Face's config.json. The last three say which
    heads there are. config.json names a class in "architectures" for that; where they disagree, the weights file
    decides. Raises ValueError for fields that are out of range or do not fit together.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072  # width inside the MLP
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    has_head: bool = True
    has_pooler: bool = True
    has_sentence_head: bool = True

    def __post_init__(self):
        sizes = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size"
        check_fields(self, integer, f"{sizes} max_position_embeddings type_vocab_size", least=1)
        check_fields(self, integer, "pad_token_id", or_none=True)
        check_fields(self, number, "hidden_dropout_prob attention_probs_dropout_prob", least=0, below=1)
        check_fields(self, number, "initializer_range layer_norm_eps", above=0)
        check_fields(self, flag, "has_head has_pooler has_sentence_head")
        check_fields(self, choice, "hidden_act", choices=ACTIVATIONS)
        if self.hidden_size % self.num_attention_heads:
            sizes = f"{self.hidden_size} and {self.num_attention_heads}"
            raise ValueError(f"hidden_size must be divisible by num_attention_heads, got {sizes}")
        if self.has_sentence_head and not self.has_pooler:
            raise ValueError("has_sentence_head needs has_pooler: the head reads what the pooler gives")
