# SPDX-License-Identifier: MPL-2.0
"""Figures on real material, systems side by side: a Markdown table of Hit@1 / Hit@3 with 95 % intervals of Hit@1.

    python -m evaluate real --data DATA --results "ours=folds.jsonl" "CED-Tiny, untrained=ced.jsonl" ...

Results are JSON lines of whole files, as `evaluate.results` describes them (`sound.tune --scores` writes those of a fold:
what each file got from a model that learnt nothing from its group; join the files). Files that a system has no result for do not count.
"""

import argparse
import pathlib

import numpy as np

from train.corpus import real
from train.labels import LABELS, class_of

from . import metrics
from .results import SOURCES, named, read

SETS = {
    "videos": ("clips-test", "clips", "sop"),
    "test clips alone": ("clips-test",),
    "web recordings": ("web",),
    "phrases and notes": ("fsd", "mir5", "sfz", "filip"),
    "Philharmonia's notes": ("phil", "phil8"),
}


def key(path):
    """Files of several labels share their names: those of one repository."""
    return "/".join(path.parts[-2:])


def collect(items, results, source):
    """(scores [n,13], truth [n], groups, labels [n,13] that are there) of the items that a system has a result for."""
    known = [i for i in items if source in getattr(results.get(key(i.path)), "clip", ())]
    there = [[name in (i.label, *i.also) for name in map(str.lower, LABELS)] for i in known]
    return (
        np.array([results[key(i.path)].clip[source] for i in known]),
        np.array([class_of(i.label) for i in known], int),
        [i.group for i in known],
        np.array(there),
    )


def cell(scores, truth, groups):
    first = metrics.hits(scores, truth, 1)
    low, high = metrics.interval(lambda rows: first[rows].mean(), groups)
    return f"{100 * first.mean():.1f} / {100 * metrics.hits(scores, truth, 3).mean():.1f} ({100 * low:.0f}–{100 * high:.0f})"


def confidence(scores, truth, there, threshold):
    """Calibration error, the share with the right tag above the threshold, and with a wrong one."""
    error = metrics.calibration_error(scores.max(1), scores.argmax(1) == truth)
    shown, right = scores > threshold, np.eye(len(LABELS), dtype=bool)[truth]
    return f"{100 * error:.1f} points; right tag shown {100 * (shown & right).any(1).mean():.1f} %, a wrong one {100 * (shown & ~there).any(1).mean():.1f} %"


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=named, nargs="+", required=True, metavar="NAME=JSONL")
    parser.add_argument("--threshold", type=float, default=0.3)
    args = parser.parse_args(argv)
    sources = [source for own in SETS.values() for source in own]
    items = [i for i in real.items(args.data, *sources) if class_of(i.label) not in (None, len(LABELS))]
    every = {name: read(path, parts=2) for name, path in args.results}
    for source in SOURCES:
        for title, sources in SETS.items():
            own = [i for i in items if i.source in sources]
            rows = [(name, collect(own, results, source)) for name, results in every.items()]
            rows = [(name, found) for name, found in rows if len(found[1])]
            if not rows:
                continue
            print(f"\n| {source}, {title} | files | Hit@1 / Hit@3 | at threshold {args.threshold} |\n| --- | --- | --- | --- |")
            for name, found in rows:
                print(f"| {name} | {len(found[1])} | {cell(*found[:3])} | {confidence(found[0], found[1], found[3], args.threshold)} |")
