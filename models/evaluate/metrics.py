# SPDX-License-Identifier: MPL-2.0
"""Figures of merit, numpy alone. `scores` are [n, C], `truth` the index of each row's right label."""

import numpy as np


def hits(scores, truth, k):
    """Whether the right label is among the k best of each row, [n] booleans; of equal scores the first label wins."""
    best = np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :k]
    return (best == np.asarray(truth)[:, None]).any(1)


def macro_f1(best, truth, classes):
    """The mean F1 over those of `classes` labels that occur in `truth`; `best` is the label said of each row."""
    right = np.bincount(truth[best == truth], minlength=classes)
    said, there = np.bincount(best, minlength=classes), np.bincount(truth, minlength=classes)
    return float((2 * right / np.maximum(said + there, 1))[there > 0].mean())


def average_precision(scores, relevant):
    """The mean of the precision at each relevant item, best score first; `relevant` are booleans, at least one true."""
    ranked = np.asarray(relevant)[np.argsort(-np.asarray(scores), kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def mean_average_precision(scores, relevant):
    """The mean of the average precision over the labels that are relevant anywhere; both are [n, C]."""
    found = [average_precision(s, r) for s, r in zip(np.asarray(scores).T, np.asarray(relevant, bool).T) if r.any()]
    return float(np.mean(found))


def calibration_error(confidence, right, bins=10):
    """Expected calibration error: |how often right - mean confidence| in bins of equal width, weighted by their size."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[bin_of == b].sum() - confidence[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(confidence))


def interval(figure, groups, seed=0, rounds=1000, level=0.95):
    """Bootstrap interval (low, high) of `figure`, a function of row indices.

    Rows of the same group (videos with the same recording) are drawn together. Draws in which the figure is nan do not count.
    """
    rows = {}
    for i, group in enumerate(groups):
        rows.setdefault(group, []).append(i)
    rows = [np.array(r) for r in rows.values()]
    rng = np.random.default_rng(seed)
    drawn = [figure(np.concatenate([rows[g] for g in rng.integers(len(rows), size=len(rows))])) for _ in range(rounds)]
    return tuple(float(v) for v in np.nanquantile(drawn, ((1 - level) / 2, (1 + level) / 2)))
