"""A picture of a training."""

from matplotlib.figure import Figure

from .style import BLUE, ORANGE, words


def plot_losses(history) -> Figure:
    """Training and held-out loss (nats a token) against the tokens seen, from the records of `train`."""
    figure = Figure(figsize=(7, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    tokens = [record.tokens / 1e6 for record in history]
    axes.plot(tokens, [record.train_loss for record in history], color=BLUE, label=words("training"))
    axes.plot(tokens, [record.held_out_loss for record in history], color=ORANGE, label=words("held out"), marker=".")
    axes.set_xlabel(words("tokens seen (millions)"))
    axes.set_ylabel(words("loss (nats a token)"))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
