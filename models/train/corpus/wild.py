# SPDX-License-Identifier: MPL-2.0
"""Real videos of strangers, listed in `MANIFEST.tsv`: which labels are there."""

import csv
from dataclasses import dataclass

import numpy as np

from ..families import FAMILIES, kin
from ..labels import LABELS, NONE

# Videos whose instruments nobody listed.
UNLISTED = ("rockband", "stage", "orchestra")
# AudioSet's names of the manifest's.
NAMES = {"violin": "Violin, fiddle", "drums": "Drum", "bass": "Bass guitar", "doublebass": "Double bass", "bagpipe": "Bagpipes"}
# What may be meant, or be there as well, and counts for nothing.
DOUBTFUL = {
    "percussion": {name for family in FAMILIES if "Drum" in family for name in family},
    "bass": {"Guitar", "Electric guitar"},
    "guzheng": {"Zither"},
    "cavaquinho": {"Ukulele", "Mandolin"},
}


@dataclass(frozen=True)
class Video:
    """A row of the manifest; `present`: the labels of the 13 that are there, or None if nobody listed them."""

    file: str
    label: str
    present: frozenset | None
    source: str

    @property
    def named(self):
        """The label that the video is named after, or None."""
        return self.label.capitalize() if self.label.capitalize() in LABELS else None

    @property
    def empty(self):
        return self.label == NONE

    def truth(self, labels):
        """1, 0, or nan where nobody knows, for each of the labels."""
        if self.present is None or self.label in UNLISTED and tuple(labels) != LABELS:
            return np.full(len(labels), np.nan)
        if tuple(labels) == LABELS:
            return np.array([float(name in self.present) for name in labels])
        there = {NAMES.get(name.lower(), name) for name in (*self.present, self.label.capitalize())}
        doubtful = DOUBTFUL.get(self.label, set())

        def value(name):
            if name in there or name == "Drum kit" and self.label == "drums":
                return 1.0
            return np.nan if name in doubtful or any(kin(name, other) for other in there) else 0.0

        return np.array([value(name) for name in labels])


def manifest(path):
    """{file: Video}."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = {}
    for row in rows:
        listed = row["labels of the 13 that are present"] or ""
        present = frozenset(name.capitalize() for name in listed.split("+") if name)
        unlisted = row["label"] in UNLISTED and not present
        found[row["file"]] = Video(row["file"], row["label"], None if unlisted else present, row["source"])
    return found
