# SPDX-License-Identifier: MPL-2.0
"""Figures for the documentation."""

import csv

import matplotlib
import numpy as np
from sklearn.metrics import confusion_matrix

from ..labels import LABELS

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


def curve(losses, path, window=20):
    """The training loss of every step and its running mean."""
    window = min(window, len(losses))
    figure, axes = pyplot.subplots(figsize=(6, 3))
    axes.plot(losses, color="0.8", linewidth=0.7)
    axes.plot(np.arange(window - 1, len(losses)), np.convolve(losses, np.ones(window) / window, "valid"))
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    _save(figure, path)


def curves(log, path, title):
    """The loss and the validation figures by step, of a log of `teaching`."""
    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for name in [n for n in rows[0] if n not in ("step", "minutes")]:
        axes[name.startswith("hit")].plot([int(row["step"]) for row in rows], [float(row[name]) for row in rows], "o-", markersize=3, label=name)
    axes[0].set(xlabel="step", ylabel="loss", title=title)
    axes[1].set(xlabel="step", ylabel="Hit@1, per cent", title="held-out folds", ylim=(0, 100))
    for axis in axes:
        axis.legend()
        axis.grid(alpha=0.3)
    _save(figure, path)


def confusions(methods, classes, path):
    """Confusion matrices, a row for each true label and in per cent of it, of {method: [n, 13 or 14] probabilities}."""
    figure, axes = pyplot.subplots(1, len(methods), figsize=(4.6 * len(methods), 4.6), sharey=True)
    for axis, (name, p) in zip(np.atleast_1d(axes), methods.items()):
        best = np.asarray(p)[:, : len(LABELS)].argmax(1)
        matrix = confusion_matrix(classes, best, labels=range(len(LABELS)), normalize="true") * 100
        axis.imshow(matrix, cmap="Blues", vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(matrix):
            if value >= 1:
                axis.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6, color="white" if value > 60 else "black")
        axis.set_title(name)
        axis.set_xticks(range(len(LABELS)), LABELS, rotation=90)
        axis.set_yticks(range(len(LABELS)), LABELS)
    _save(figure, path)


def _save(figure, path):
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
