"""Solutions to the exercises of notebooks/10_inside_the_model.ipynb."""


def induction_score(weights, period):
    # entry i of this diagonal: query period - 1 + i looks at key i
    stripe = weights.diagonal(-(period - 1), dim1=-2, dim2=-1)
    return stripe[:, 1:].mean(dim=-1)  # query period - 1 is still in the first half


def ablate_head(heads, weight, bias, head):
    silenced = heads.clone()
    silenced[:, head] = 0
    side_by_side = silenced.transpose(1, 2).flatten(2)  # (B, H, T, D) -> (B, T, H, D) -> (B, T, H*D)
    return side_by_side @ weight.T + bias
