# SPDX-License-Identifier: MPL-2.0
"""Scores of files: as JSON lines that `evaluate` reads, and figures on files with one of the 13 labels."""

import json

import numpy as np

from .labels import LABELS


def scores(probabilities, targets):
    """Hit@1, Hit@3 and macro-F1 in per cent, of [n, 13 or 14] probabilities over the 13 labels."""
    tags, targets = np.asarray(probabilities)[:, : len(LABELS)], np.asarray(targets)
    order = np.argsort(-tags, 1)
    f1 = []
    for label in np.unique(targets):
        said, there = order[:, 0] == label, targets == label
        f1.append(2 * (said & there).sum() / (said.sum() + there.sum()))
    return {
        "hit@1": 100 * float((order[:, 0] == targets).mean()),
        "hit@3": 100 * float((order[:, :3] == targets[:, None]).any(1).mean()),
        "f1": 100 * float(np.mean(f1)),
    }


def line(path, source, scores):
    """A result of the whole of a file as a line of JSON, as `instruments tag --json` prints it."""
    tags = [{"label": LABELS[i], "score": round(float(scores[i]), 4)} for i in np.argsort(-scores, kind="stable")]
    return json.dumps({"uri": path.absolute().as_uri(), "source": source, "tags": tags, "clip": True})
