# SPDX-License-Identifier: MPL-2.0
"""Markdown tables of clip-level figures."""

import numpy as np

from train.labels import LABELS

from . import metrics
from .results import NONE, SOURCES, of


def collect(items, results, source):
    """(scores [n, 13], truth [n], groups) of the items with one of the 13 labels that have a result of `source`."""
    known = [item for item in items if 0 <= item.truth < NONE and source in of(results, item).clip]
    scores = np.array([of(results, item).clip[source] for item in known]).reshape(-1, len(LABELS))
    return scores, np.array([item.truth for item in known], int), [item.group for item in known]


def figures(scores, truth, groups, seed=0):
    """{figure: (value, low, high)} in per cent: Hit@1, Hit@3, macro F1 with 95 % intervals, and the calibration error."""
    best = np.argmax(scores, 1)
    wanted = {
        "Hit@1": lambda rows: metrics.hits(scores[rows], truth[rows], 1).mean(),
        "Hit@3": lambda rows: metrics.hits(scores[rows], truth[rows], 3).mean(),
        "F1": lambda rows: metrics.macro_f1(best[rows], truth[rows], len(LABELS)),
    }
    every = np.arange(len(truth))
    found = {name: tuple(100 * v for v in (f(every), *metrics.interval(f, groups, seed))) for name, f in wanted.items()}
    error = 100 * metrics.calibration_error(scores.max(1), best == truth)
    return {**found, "ECE": (error, error, error)}


def head():
    return "| system | source | files | Hit@1 | Hit@3 | F1 | ECE |\n| --- | --- | --- | --- | --- | --- | --- |"


def rows(name, items, results):
    """A row for each source that the results have."""
    lines = []
    for source in SOURCES:
        scores, truth, groups = collect(items, results, source)
        if len(truth):
            found = figures(scores, truth, groups)
            cells = [f"{value:.1f} ({low:.0f}–{high:.0f})" for value, low, high in (found[k] for k in ("Hit@1", "Hit@3", "F1"))]
            lines.append(f"| {name} | {source} | {len(truth)} | {' | '.join(cells)} | {found['ECE'][0]:.1f} |")
    return lines
