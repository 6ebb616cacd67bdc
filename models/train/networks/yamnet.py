# SPDX-License-Identifier: MPL-2.0
"""YAMNet as TFLite: AudioSet's scores of a recording, and the labels that they speak for."""

import csv

import numpy as np

from ..labels import AUDIOSET, LABELS

WINDOW = 15600  # samples of YAMNet's input, 0.975 s at 16 kHz
HOP = 15360  # 0.96 s


def groups(class_map):
    """The indices of each label's AudioSet classes, from the path of YAMNet's class map (CSV: index, mid, display_name)."""
    with open(class_map) as file:
        index = {row["display_name"]: int(row["index"]) for row in csv.DictReader(file)}
    return [[index[name] for name in AUDIOSET[label]] for label in LABELS]


def by_label(scores, classes):
    """Scores [n, 13] of the labels, the best of each one's AudioSet classes, from [n, 521] and `groups`."""
    return np.stack([scores[:, group].max(1) for group in classes], 1).astype(np.float32)


class Yamnet:
    """Scores [n, 521] of the AudioSet classes by YAMNet (TFLite), from samples at 16 kHz."""

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        self.model = Interpreter(str(path), num_threads=1)
        self.model.allocate_tensors()
        self.input = self.model.get_input_details()[0]["index"]
        self.output = self.model.get_output_details()[0]["index"]

    def __call__(self, samples):
        if len(samples) < WINDOW:
            samples = np.pad(samples, (0, WINDOW - len(samples)))
        rows = []
        for start in range(0, len(samples) - WINDOW + 1, HOP):
            self.model.set_tensor(self.input, samples[None, start : start + WINDOW].astype(np.float32))
            self.model.invoke()
            rows.append(self.model.get_tensor(self.output)[0])
        return np.array(rows, np.float32)
