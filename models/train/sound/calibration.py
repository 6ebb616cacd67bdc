# SPDX-License-Identifier: MPL-2.0
"""Scores that mean what they say: one temperature a model, and what a threshold on the scores lets through.

The temperature divides the logits; it is fitted on the validation sources (`sources.VALIDATION`) and becomes part of the
exported graph (`sound.train export` does both).
"""

import argparse

import numpy as np
import torch

from ..export.calibration import expected_error, scaled, temperature
from .judge import Judge, Validation, test_sets
from .models import MODELS, add_arguments, trained

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.calibration", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    model = MODELS[args.model]
    network = trained(args)
    judge = Judge(test_sets(args), network.frontend, model.segmentation, args.cache / "judged")
    fitted = temperature(*Validation(args.cache, network.frontend, args.frames or model.frames).logits(network))
    raw = {name: every for name, (_, every) in judge.tags(network).items()}
    for t in (1.0, fitted):
        windows = {name: scaled(every, t) for name, every in raw.items()}
        tags = {name: np.stack([windows[name][owner == k].mean(0) for k in range(len(files))]) for name, (_, owner, files) in judge.sets.items()}
        print(
            f"temperature {t:.2f}: expected calibration error",
            ", ".join(f"{name} {expected_error(tags[name], classes(files)):.1f}" for name, (_, _, files) in judge.sets.items() if name != "none"),
        )
    best = {name: right(tags[name], classes(files)) for name, (_, _, files) in judge.sets.items() if name != "none"}
    print(f"{len(windows['none'])} patches of speech and effects; recordings with a right best label:", ", ".join(f"{k} {len(v)}" for k, v in best.items()))
    for threshold in THRESHOLDS:
        print(
            f"threshold {threshold:.2f}: {100 * (windows['none'].max(1) > threshold).mean():.1f} % of none above;",
            ", ".join(f"{k} {100 * (v > threshold).mean():.1f} % of the right ones" for k, v in best.items()),
        )


def classes(files):
    return [c for _, c in files]


def right(tags, classes):
    """The scores of the best labels that are right."""
    return np.array([row.max() for row, c in zip(tags, classes) if c == row.argmax()])
