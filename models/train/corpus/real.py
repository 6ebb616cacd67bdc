# SPDX-License-Identifier: MPL-2.0
"""The real recordings, pictures and clips of `sources.toml`, each with its label, its group and its fold.

Five folds by group: a model judged on a fold has learnt from no file of the fold's groups. Fold TEST only tests.
"""

import csv
import pathlib
import re
import zlib
from dataclasses import dataclass

import numpy as np

from ..labels import class_of
from .sources import read

FOLDS = 5
TEST = -1
SOUNDS = ("clips-test", "clips", "sop", "web", "fsd", "mir5", "filip", "sfz", "phil", "phil8")
# Recordings of a label that Philharmonia's thousands of notes give to training.
NOTES, OTHER_NOTES = 60, 24


@dataclass(frozen=True)
class Item:
    path: pathlib.Path
    label: str
    also: tuple[str, ...]  # other labels of the 13 that are in it
    source: str
    group: str
    fold: int


def fold_of(group):
    return zlib.crc32(group.encode()) % FOLDS


def table(path):
    with path.open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


def items(data, *sources):
    """The items of the named sources (all of them without a name)."""
    data = pathlib.Path(data)
    every = read("real")
    tested = {path for entry in every.values() if entry.split == "test" for path in entry.paths(None, data)}
    found = []
    for source, entry in every.items():
        if sources and source not in sources:
            continue
        test = entry.split == "test"
        rows = table(data / entry.table) if entry.table else {}
        for path in entry.paths(None, data):
            if (path in tested) != test:
                continue
            row = rows.get(path.name)
            also = tuple(name for name in re.split(", *", row["also"]) if class_of(name) is not None) if row else ()
            if row:
                group = row["source"]
            else:
                pattern = entry.group or source
                group = re.match(pattern, path.stem)[1] if "(" in pattern else pattern
            label = row["label"] if row else path.parent.name
            found.append(Item(path, label, also, source, group, TEST if test else fold_of(group)))
    return found


def sounds(data):
    """The items with sound: all, but of Philharmonia a share."""
    rng, found, notes = np.random.default_rng(0), [], {}
    for item in items(data, *SOUNDS):
        if item.source.startswith("phil"):
            notes.setdefault(item.label, []).append(item)
        else:
            found.append(item)
    for label, own in notes.items():
        most = OTHER_NOTES if class_of(label) is None else NOTES
        found += [own[i] for i in sorted(rng.permutation(len(own))[:most])]
    return found
