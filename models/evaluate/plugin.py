# SPDX-License-Identifier: MPL-2.0
"""Figures of results, as instruments tag --json prints them, against a manifest: a Markdown table.

instruments tag --json VIDEOS/*.m* > RESULTS.jsonl
python -m evaluate plugin --manifest VIDEOS/manifest.csv --results plugin=RESULTS.jsonl
"""

import argparse
import pathlib

import numpy as np

from train.export import plots
from train.labels import LABELS

from . import metrics, tables
from .results import NONE, SOURCES, manifest, named, of, read


def confusions(items, results, path):
    """Confusion matrices of every source as a PNG file."""
    found = {source: tables.collect(items, results, source) for source in SOURCES}
    found = {source: part for source, part in found.items() if len(part[1])}
    if len({tuple(truth) for _, truth, _ in found.values()}) > 1:
        raise SystemExit("some files lack a source, which confusion matrices side by side need: give files with sound and pictures")
    plots.confusions({source: scores for source, (scores, _, _) in found.items()}, next(iter(found.values()))[1], path)


def labels(items, results):
    """A table with the right ones of each label, by source."""
    found = {source: tables.collect(items, results, source) for source in SOURCES}
    found = {source: (metrics.hits(scores, truth, 1), truth) for source, (scores, truth, _) in found.items() if len(truth)}
    lines = ["| label | " + " | ".join(found) + " |", "| --- |" + " --- |" * len(found)]
    for i, label in enumerate(LABELS):
        if not any((truth == i).any() for _, truth in found.values()):
            continue
        cells = [f"{right[truth == i].sum()} of {(truth == i).sum()}" for right, truth in found.values()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def mean_average_precision(items, results):
    """{source: mAP in per cent} over all labels of every item."""
    found = {}
    for source in SOURCES:
        known = [i for i in items if set(i.labels) - {None, NONE} and source in of(results, i).clip]
        if known:
            relevant = np.array([[c in i.labels for c in range(len(LABELS))] for i in known])
            found[source] = 100 * metrics.mean_average_precision([of(results, i).clip[source] for i in known], relevant)
    return found


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate plugin", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=named, nargs="+", required=True, metavar="[NAME=]JSONL")
    parser.add_argument("--labels", action="store_true", help="also how many of each label are right")
    parser.add_argument("--map", action="store_true", help="also the mean average precision over all labels of a file")
    parser.add_argument("--confusions", type=pathlib.Path, help="PNG file to write, of the first results")
    args = parser.parse_args(argv)
    items = manifest(args.manifest)
    every = {name: read(path) for name, path in args.results}
    print(tables.head())
    for name, results in every.items():
        print("\n".join(tables.rows(name, items, results)))
    for name, results in every.items():
        if args.labels:
            print("\n".join(["", f"Right, {name}:", "", *labels(items, results)]))
        if args.map:
            print(f"\nmAP, {name}:", ", ".join(f"{s} {v:.1f}" for s, v in mean_average_precision(items, results).items()))
    if args.confusions:
        confusions(items, next(iter(every.values())), args.confusions)
