# SPDX-License-Identifier: MPL-2.0
"""Manifests, and results as instruments tag --json prints them: a JSON object a line.

A line holds `uri`, `source` (audio, video, fused), `start`, `end` (seconds), `tags` (label and score, best first), and
`"clip": true` when it is about the whole file.
"""

import csv
import json
import pathlib
import urllib.parse
from dataclasses import dataclass, field

import numpy as np

from train.labels import CLASSES, LABELS, class_of
from train.scores import line  # noqa: F401  what `read` reads

NONE = CLASSES.index("none")
SOURCES = ("audio", "video", "fused")


@dataclass(frozen=True)
class Item:
    """A file of a manifest. `truth` is the index of its first label, 13 for none, -1 for one outside the set."""

    path: pathlib.Path
    truth: int
    labels: tuple
    source: str

    @property
    def group(self):
        """What is drawn together in a bootstrap: the recordings that are heard (the part of `source` before a slash)."""
        return self.source.split("/")[0] or self.path.name


@dataclass
class Result:
    """What was said of one file: scores [13] by source for the whole of it, and [(start, end, scores)] over time."""

    clip: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)


def manifest(path):
    """The items of a CSV file (`path,labels,split,source`) or a TSV one (`file`, `label`), paths relative to it."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    items = []
    for row in rows:
        name, labels = (row["path"], row["labels"]) if "path" in row else (row["file"], row["label"])
        classes = tuple(class_of(label) for label in labels.split("|"))
        # A TSV manifest says where a clip is from, which groups nothing.
        source = row.get("source", "") if "path" in row else ""
        items.append(Item(path.parent / name, -1 if classes[0] is None else classes[0], classes, source))
    return items


def read(path, parts=1):
    """{file name: Result} of a file of JSON lines; with more `parts`, so many of the last ones of the path."""
    index = {label: i for i, label in enumerate(LABELS)}
    results = {}
    for text in pathlib.Path(path).read_text().splitlines():
        found = json.loads(text)
        name = urllib.parse.unquote(found["uri"])
        name = "/".join(name.split("/")[-parts:])
        scores = np.zeros(len(LABELS))
        for tag in found["tags"]:
            scores[index[tag["label"]]] = tag["score"]
        result = results.setdefault(name, Result())
        if found.get("clip"):
            result.clip[found["source"]] = scores
        else:
            result.windows.setdefault(found["source"], []).append((found["start"], found["end"], scores))
    return results


def of(results, item):
    """The result of an item, or an error that names it."""
    if item.path.name not in results:
        raise SystemExit(f"no result for {item.path.name}: run the tagger over every file of the manifest")
    return results[item.path.name]


def named(text):
    """NAME=FILE, or a FILE whose stem is the name."""
    name, _, path = text.rpartition("=")
    return name or pathlib.Path(path).stem, pathlib.Path(path)
