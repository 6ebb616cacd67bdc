# SPDX-License-Identifier: MPL-2.0
"""Scores that mean what they say: one temperature a model, and the expected calibration error."""

import numpy as np
import torch.nn.functional as F

from ..labels import LABELS

TEMPERATURES = np.geomspace(0.25, 4, 81)


def temperature(logits, targets):
    """The one of TEMPERATURES with the lowest cross entropy of logits [n,14]."""
    losses = [F.cross_entropy(logits / t, targets).item() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def expected_error(tags, classes, bins=10):
    """Expected calibration error in points: how far the best score is from how often it is right, over `bins` of equal width.

    Of recordings with one of the 13 labels.
    """
    known = np.array([c is not None and c < len(LABELS) for c in classes])
    best, right = tags[known].max(1), tags[known].argmax(1) == np.array([c for c in classes if c is not None and c < len(LABELS)])
    bucket = np.minimum((best * bins).astype(int), bins - 1)
    return 100 * sum(abs(best[bucket == b].mean() - right[bucket == b].mean()) * np.mean(bucket == b) for b in np.unique(bucket))


def scaled(tags, temperature):
    """Tags [n,13] after dividing the logits by a temperature."""
    powers = np.append(tags, 1 - tags.sum(1, keepdims=True), 1).clip(1e-12) ** (1 / temperature)
    return (powers / powers.sum(1, keepdims=True))[:, : len(LABELS)]
