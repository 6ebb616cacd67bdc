# SPDX-License-Identifier: MPL-2.0
"""What YAMNet's 521 AudioSet scores say of the 13 labels and "none": the teacher of unlabelled music for the paper's networks."""

import csv

import numpy as np
import torch

from ..labels import AUDIOSET, CLASSES, LABELS

# AudioSet classes that say that there is music, which family or which style: they speak for no label and not for "none".
GENERAL = (
    "Music",
    "Musical instrument",
    "Plucked string instrument",
    "Keyboard (musical)",
    "Percussion",
    "Orchestra",
    "Brass instrument",
    "Bowed string instrument",
    "String section",
    "Wind instrument, woodwind instrument",
    "Pizzicato",
)
STYLES = ("Pop music", "Scary music")  # the first and the last one in the class map


def groups(class_map):
    """Which AudioSet classes speak for which of the 14 classes: float32 [521,14] of 0 and 1, from the path of YAMNet's class map."""
    with open(class_map) as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    member = torch.zeros(len(names), len(CLASSES))
    for label, own in AUDIOSET.items():
        member[[names.index(name) for name in own], LABELS.index(label)] = 1
    member[:, -1] = 1 - member.sum(1)
    member[[names.index(name) for name in GENERAL], -1] = 0
    member[names.index(STYLES[0]) : names.index(STYLES[1]) + 1, -1] = 0
    return member


def pool(logits, member):
    """Log-odds [...,14] of the classes: the log-sum-exp of their rows of AudioSet logits [...,521]."""
    # Exactly 0 where a class has no such row is kept from the logarithm; 1e-20 is far below any odds that matter.
    peak = logits.amax(-1, keepdim=True).detach()
    return torch.log((logits - peak).exp() @ member + 1e-20) + peak


def zero_shot(scores, member):
    """Probabilities [n,14] of YAMNet's scores [n,521]."""
    scores = torch.as_tensor(np.asarray(scores, np.float32)).clamp(1e-6, 1 - 1e-6)
    return pool(torch.logit(scores), member).softmax(-1).numpy()
