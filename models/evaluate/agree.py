# SPDX-License-Identifier: MPL-2.0
"""Compare two files of results: the largest difference of their scores and of their figures.

    python -m evaluate agree --manifest VIDEOS/manifest.csv plugin.jsonl python.jsonl

Fails when Hit@1, Hit@3 or F1 differ by more than --points, or a clip's score by more than --scores.
"""

import argparse
import pathlib

import numpy as np

from . import tables
from .results import SOURCES, manifest, of, read


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate agree", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("results", type=pathlib.Path, nargs=2)
    parser.add_argument("--points", type=float, default=0.1, help="most that a figure may differ, in points")
    parser.add_argument("--scores", type=float, default=0.05, help="most that a clip's score may differ")
    args = parser.parse_args(argv)
    items = manifest(args.manifest)
    one, other = (read(path) for path in args.results)
    print("| source | clips | largest difference of a score | median | Hit@1 | Hit@3 | F1 |\n| --- | --- | --- | --- | --- | --- | --- |")
    failed = []
    for source in SOURCES:
        both = [i for i in items if source in of(one, i).clip and source in of(other, i).clip]
        if not both:
            continue
        gaps = [float(np.abs(of(one, i).clip[source] - of(other, i).clip[source]).max()) for i in both]
        cells, far = [], 0.0
        first, second = (tables.collect(both, results, source) for results in (one, other))
        if len(first[1]):
            a, b = tables.figures(*first), tables.figures(*second)
            for name in ("Hit@1", "Hit@3", "F1"):
                far = max(far, abs(a[name][0] - b[name][0]))
                cells.append(f"{a[name][0]:.1f} / {b[name][0]:.1f}")
        worst = int(np.argmax(gaps))
        print(f"| {source} | {len(both)} | {gaps[worst]:.4f} ({both[worst].path.name}) | {np.median(gaps):.4f} | {' | '.join(cells)} |")
        if far > args.points or gaps[worst] > args.scores:
            failed.append(source)
    if failed:
        raise SystemExit(
            f"{args.results[0]} and {args.results[1]} do not agree on {', '.join(failed)}: more than {args.points} points or {args.scores} of a score"
        )
