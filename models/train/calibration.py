# SPDX-License-Identifier: MPL-2.0
"""Scores that mean what they say: one temperature a model, and what a threshold on the scores lets through.

The temperature divides the logits; it is fitted on the validation sources (`audio.VALIDATION`) and becomes part of the
exported graph (`audio export` does both).
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

from . import audio
from .labels import LABELS

TEMPERATURES = np.geomspace(0.25, 4, 81)
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


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


def main(argv):
    parser = argparse.ArgumentParser(prog="train calibration", description=__doc__)
    audio.add_arguments(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    model = audio.MODELS[args.model]
    network = audio.trained(args)
    judge = audio.Judge(audio.test_sets(args), network.frontend, model.segmentation, args.cache / "judged")
    fitted = temperature(*audio.Validation(args.cache, network.frontend, args.frames or model.frames).logits(network))
    raw = {name: every for name, (_, every) in judge.tags(network).items()}
    for t in (1.0, fitted):
        windows = {name: scaled(every, t) for name, every in raw.items()}
        tags = {name: np.stack([windows[name][owner == k].mean(0) for k in range(len(files))]) for name, (_, owner, files) in judge.sets.items()}
        print(f"temperature {t:.2f}: expected calibration error",
              ", ".join(f"{name} {expected_error(tags[name], classes(files)):.1f}" for name, (_, _, files) in judge.sets.items() if name != "none"))
    best = {name: right(tags[name], classes(files)) for name, (_, _, files) in judge.sets.items() if name != "none"}
    print(f"{len(windows['none'])} patches of speech and effects; recordings with a right best label:", ", ".join(f"{k} {len(v)}" for k, v in best.items()))
    for threshold in THRESHOLDS:
        print(f"threshold {threshold:.2f}: {100 * (windows['none'].max(1) > threshold).mean():.1f} % of none above;",
              ", ".join(f"{k} {100 * (v > threshold).mean():.1f} % of the right ones" for k, v in best.items()))


def scaled(tags, temperature):
    """Tags [n,13] after dividing the logits by a temperature."""
    powers = np.append(tags, 1 - tags.sum(1, keepdims=True), 1).clip(1e-12) ** (1 / temperature)
    return (powers / powers.sum(1, keepdims=True))[:, :len(LABELS)]


def classes(files):
    return [c for _, c in files]


def right(tags, classes):
    """The scores of the best labels that are right."""
    return np.array([row.max() for row, c in zip(tags, classes) if c == row.argmax()])
