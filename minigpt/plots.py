"""Pictures: losses of a training run. Every function returns a matplotlib Figure; `savefig` writes it."""

from matplotlib.figure import Figure


def plot_losses(history) -> Figure:
    """Training and held-out loss (nats a token) against the tokens seen, from the records of `train`."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    tokens = [record.tokens / 1e6 for record in history]
    axes.plot(tokens, [record.train_loss for record in history], color="#4C72B0", label="training")
    axes.plot(tokens, [record.held_out_loss for record in history], color="#DD8452", label="held out", marker=".")
    axes.set_xlabel("tokens seen (millions)")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
