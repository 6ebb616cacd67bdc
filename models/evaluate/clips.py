# SPDX-License-Identifier: MPL-2.0
"""Compare the tagger's clip-level results with a manifest, as a Markdown table.

    scripts/demo --json CLIPS/*.mp4 | python -m evaluate clips --manifest CLIPS/MANIFEST.tsv

The manifest has tab-separated columns, `file` and `label` among them; clips whose label is none of
the 13 are listed and not counted.
"""

import argparse
import csv
import json
import pathlib
import sys

from train.labels import LABELS

SOURCES = ("audio", "video", "fused")


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate clips", description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    args = parser.parse_args(argv)
    with args.manifest.open() as file:
        truth = {row["file"]: row["label"] for row in csv.DictReader(file, delimiter="\t")}
    results = {}
    for line in map(json.loads, sys.stdin):
        if line.get("clip"):
            name = line["uri"].rsplit("/", 1)[-1]
            results.setdefault(name, {})[line["source"]] = line["tags"]

    labels = {label.lower(): label for label in LABELS}
    hits = {source: [0, 0] for source in SOURCES}
    counted = 0
    print("| clip | label | audio | video | fused |\n| --- | --- | --- | --- | --- |")
    for name in sorted(results):
        label = labels.get(truth.get(name, ""))
        counted += label is not None
        cells = []
        for source in SOURCES:
            tags = results[name].get(source, [])
            ranked = [tag["label"] for tag in tags]
            if label:
                hits[source][0] += label in ranked[:1]
                hits[source][1] += label in ranked[:3]
            best = f"{ranked[0]} {100 * tags[0]['score']:.0f} %" if tags else "–"
            cells.append(f"**{best}**" if label and label in ranked[:1] else best)
        print(f"| {name} | {truth.get(name, '?')} | {' | '.join(cells)} |")
    for text, index in ("Hit@1", 0), ("Hit@3", 1):
        cells = [f"{hits[source][index]} of {counted}" for source in SOURCES]
        print(f"| {text} | | {' | '.join(cells)} |")
