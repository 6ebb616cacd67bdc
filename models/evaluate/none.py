# SPDX-License-Identifier: MPL-2.0
"""How often something is tagged where there is no instrument, and how often what is there is tagged.

    python -m evaluate none --manifest VIDEOS/manifest.csv --results RESULTS.jsonl

Without an instrument: the share of the results over time (of the sound's windows, of the single pictures, of the fused windows)
with a score above the threshold, by where the sound is from. With one: the share of the clips whose right label is above it,
among all and among those where it is the best.
"""

import argparse
import pathlib

import numpy as np

from . import tables
from .results import NONE, SOURCES, manifest, of, read


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate none", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.3, help="the elements' default")
    args = parser.parse_args(argv)
    items, results = manifest(args.manifest), read(args.results)
    groups = {}
    for item in items:
        if item.truth == NONE:
            groups.setdefault(item.group if "/" in item.source else "clips", []).append(item)
    print("| without an instrument | " + " | ".join(SOURCES) + " |\n| --- |" + " --- |" * len(SOURCES))
    for name, group in groups.items():
        cells = []
        for source in SOURCES:
            best = np.array([scores.max() for i in group for _, _, scores in of(results, i).windows.get(source, [])])
            cells.append(f"{(best > args.threshold).sum()} of {len(best)} ({100 * (best > args.threshold).mean():.1f} %)" if len(best) else "–")
        print(f"| {name}, {len(group)} files | {' | '.join(cells)} |")
    print("\n| with one | " + " | ".join(SOURCES) + " |\n| --- |" + " --- |" * len(SOURCES))
    found = {source: tables.collect(items, results, source) for source in SOURCES}
    above, right = {}, {}
    for source, (scores, truth, _) in found.items():
        above[source] = scores[np.arange(len(truth)), truth] > args.threshold
        right[source] = scores.argmax(1) == truth

    def share(part):
        return f"{part.sum()} of {len(part)} ({100 * part.mean():.1f} %)" if len(part) else "–"

    print("| right label above the threshold | " + " | ".join(share(above[s]) for s in SOURCES) + " |")
    print("| the same, of those where it is the best | " + " | ".join(share(above[s][right[s]]) for s in SOURCES) + " |")
