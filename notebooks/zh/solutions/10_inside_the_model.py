"""10_inside_the_model.ipynb 的练习答案。"""


def induction_score(weights, period):
    # 这条对角线的第 i 项：query period - 1 + i 看 key i
    stripe = weights.diagonal(-(period - 1), dim1=-2, dim2=-1)
    return stripe[:, 1:].mean(dim=-1)  # query period - 1 还在前一半里


def ablate_head(heads, weight, bias, head):
    silenced = heads.clone()
    silenced[:, head] = 0
    side_by_side = silenced.transpose(1, 2).flatten(2)  # (B, H, T, D) -> (B, T, H, D) -> (B, T, H*D)
    return side_by_side @ weight.T + bias
