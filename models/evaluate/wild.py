# SPDX-License-Identifier: MPL-2.0
"""The product on real videos of strangers, beside untrained models joined by a fixed rule: Markdown tables with 95 % intervals.

    python -m evaluate wild WILD --ced CRATES

Runs `instruments tag` with its default models, as users run it, over the videos of `WILD/MANIFEST.tsv`. Everything after `--` is passed on
to it (`-- --audio-model ced-audioset --fusion-model fusion-audioset`); labels of AudioSet then count as those of the 13 that they belong to.
Intervals are bootstraps over the videos' sources.

Peers' rule: CED-Tiny (crate soundevents, in CRATES) and EfficientNet-Lite2 (PyPI) as they were published. Each one's scores of the 13 labels
are brought to a sum of 1, and so is their geometric mean. The same rule is applied to the product's two models.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import urllib.parse
from collections import defaultdict

import numpy as np

from train.corpus import wild
from train.labels import AUDIOSET, LABELS

from . import changed, metrics
from .results import SOURCES, named

THRESHOLD = 0.3  # the elements' default
CONTEXT = 160000  # samples, the 10 s that CED-Tiny was trained on
OF_LABEL = {name: label for label, own in AUDIOSET.items() for name in (label, *own)}


def scores(tags):
    """Scores [13] of tags: a label has the best of AudioSet's that belong to it."""
    found = np.zeros(len(LABELS))
    for tag in tags:
        if label := OF_LABEL.get(tag["label"]):
            i = LABELS.index(label)
            found[i] = max(found[i], tag["score"])
    return found


def tagged(command, files, options):
    """What the command prints, a dict a line."""
    run = subprocess.run([*command, "tag", *options, *map(str, files)], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"{command[0]} tag ended with status {run.returncode}: see its message above")
    return [json.loads(line) for line in run.stdout.splitlines()]


def name(result):
    return urllib.parse.unquote(result["uri"]).rsplit("/", 1)[-1]


def joined(heard, seen):
    """The geometric mean of both, each brought to a sum of 1, brought to a sum of 1; `seen` may be None."""
    parts = [p / max(p.sum(), 1e-9) for p in (heard, seen) if p is not None]
    mean = np.prod(parts, axis=0) ** (1 / len(parts))
    return mean / max(mean.sum(), 1e-9)


def product(command, files, options):
    """({system: {file: scores [13]}}, {system: {file: [scores of a window]}}) of what the command says with --json."""
    clips, windows = defaultdict(dict), defaultdict(lambda: defaultdict(list))
    for result in tagged(command, files, ["--json", *options]):
        if result.get("clip"):
            clips[result["source"]][name(result)] = scores(result["tags"])
        elif result.get("source") in SOURCES:
            windows[result["source"]][name(result)].append(scores(result["tags"]))
    return clips, windows


def printed(command, files, options):
    """{file: scores [13]}: 1 for each label of which the command prints a segment, of any source."""
    found = {path.name: np.zeros(len(LABELS)) for path in files}
    for result in tagged(command, files, ["--format", "jsonl", *options]):
        if "label" in result:
            found[name(result)] = np.maximum(found[name(result)], scores([{"label": result["label"], "score": 1.0}]))
    return found


class Peers:
    """CED-Tiny and EfficientNet-Lite2 as they were published."""

    def __init__(self, crates):
        import torch

        from train.networks import ced
        from train.pictures import lite

        torch.set_num_threads(1)
        self.torch, self.teacher, self.lite = torch, ced.Teacher(crates), lite.pretrained(2)

    def __call__(self, path):
        from . import decode

        samples = decode.sound(path, 16000)
        parts = np.array_split(samples, -(-len(samples) // CONTEXT))
        heard = np.concatenate([self.teacher(part, CONTEXT / 16000) for part in parts]).mean(0)
        heard = np.array([max(heard[self.teacher.names.index(name)] for name in own) for own in AUDIOSET.values()])
        images = decode.pictures(path, self.lite.network.size)
        with self.torch.no_grad():
            network, batches = self.lite.network, self.torch.from_numpy(images).split(8)
            seen = self.torch.cat([self.lite.head(network(network.normalise(batch))).exp()[:, : len(LABELS)] for batch in batches])
        return joined(heard, seen.mean(0).numpy())


def figures(videos, found):
    """{figure: function of rows} in per cent, of videos and scores [n,13]; nan where no row counts."""
    truth = np.array([video.truth(LABELS) if video.present is not None else np.full(len(LABELS), np.nan) for video in videos])
    there, absent, shown = truth == 1, truth == 0, found >= THRESHOLD
    named = np.array([bool(video.named) for video in videos])
    several, solo = named & (there.sum(1) > 1), named & (there.sum(1) == 1)
    outside = np.array([not video.named and not video.empty and video.present is not None for video in videos])
    right = np.array([bool(video.named) and shown[i][LABELS.index(video.named)] for i, video in enumerate(videos)])
    wrong = (shown & absent).any(1)

    def share(part, of):
        return 100 * part.sum() / of.sum() if of.sum() else np.nan

    def precision(of):
        return lambda rows: share((shown & there)[rows][of[rows]], (shown & (there | absent))[rows][of[rows]])

    def recall(of):
        return lambda rows: share((shown & there)[rows][of[rows]], there[rows][of[rows]])

    def f1(rows):
        p, r = precision(named)(rows), recall(named)(rows)
        return 2 * p * r / (p + r) if p + r > 0 else 0.0

    def error(rows):
        rows = rows[named[rows]]
        best = found[rows].argmax(1)
        return 100 * metrics.calibration_error(found[rows].max(1), there[rows, best])

    return {
        "precision": precision(named),
        "recall": recall(named),
        "F1": f1,
        "named shown": lambda rows: share(right[rows], named[rows]),
        "a wrong one shown": lambda rows: share((wrong & named)[rows], named[rows]),
        "solos: a wrong one shown": lambda rows: share((wrong & solo)[rows], solo[rows]),
        "several: precision": precision(several),
        "several: recall": recall(several),
        "other instruments: a wrong name": lambda rows: share((wrong & outside)[rows], outside[rows]),
        "calibration error": error,
    }


def table(systems, videos):
    """Lines of a Markdown table: a row a system, a column a figure."""
    listed = [video for video in videos if video.present is not None]
    groups = [video.source for video in listed]
    lines = []
    for system, found in systems.items():
        values = np.array([found[video.file] for video in listed])
        rows = figures(listed, values)
        if set(np.unique(values)) <= {0.0, 1.0}:
            rows["calibration error"] = None
        if not lines:
            lines = ["| system | " + " | ".join(rows) + " |", "| --- |" + " --- |" * len(rows)]
        every = np.arange(len(listed))
        cells = ["{:.1f} ({:.0f}–{:.0f})".format(f(every), *metrics.interval(f, groups)) if f else "–" for f in rows.values()]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return lines


def empty(windows, videos):
    """A line about windows of videos without an instrument."""
    cells = []
    for source in SOURCES:
        best = [s.max() for video in videos if video.empty for s in windows.get(source, {}).get(video.file, [])]
        if best:
            cells.append(f"{source} {sum(b >= THRESHOLD for b in best)} of {len(best)}")
    return "Windows without an instrument that show a tag: " + ", ".join(cells) + "."


def chance(found, videos, rounds=1000):
    """A line about the calibration error that the same scores would have if they were calibrated: few videos never fit exactly."""
    sure = np.array([found[video.file].max() for video in videos if video.named])
    rng = np.random.default_rng(0)
    errors = [100 * metrics.calibration_error(sure, rng.random(len(sure)) < sure) for _ in range(rounds)]
    low, high = np.quantile(errors, (0.025, 0.975))
    return f"Were the fused scores calibrated, {len(sure)} videos would show an error of {np.mean(errors):.1f} ({low:.0f}–{high:.0f})."


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate wild", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder of the videos and of MANIFEST.tsv")
    parser.add_argument("--command", nargs="+", default=["instruments"], help="how to run the command: scripts/env target/release/instruments")
    parser.add_argument("--ced", type=pathlib.Path, help="folder of the unpacked crates; without it the peers are left out")
    parser.add_argument(
        "--results",
        type=named,
        nargs="+",
        default=[],
        metavar="NAME=JSONL",
        help="further systems: what `train fusion.fit --left-out` wrote",
    )
    parser.add_argument("--save", type=pathlib.Path, help="JSON file of all scores of whole files to write")
    parser.add_argument("--changed", choices=changed.KINDS, help="tag copies of the videos that are changed so")
    parser.add_argument("--speech", type=pathlib.Path, help="folder of WAV files, for --changed talk")
    parser.add_argument("--copies", type=pathlib.Path, help="folder to keep changed copies in; without it they are temporary")
    # argparse takes no option between two positional arguments.
    end = argv.index("--") if "--" in argv else len(argv)
    args, options = parser.parse_args(argv[:end]), argv[end + 1 :]
    videos = list(wild.manifest(args.folder / "MANIFEST.tsv").values())
    files = [args.folder / video.file for video in videos]
    with tempfile.TemporaryDirectory() as folder:
        if args.changed:
            files = changed.copies(files, args.changed, args.speech, (args.copies or pathlib.Path(folder)) / args.changed)
        report(args, videos, files, options)


def report(args, videos, files, options):
    clips, windows = product(args.command, files, options)
    nothing = np.zeros(len(LABELS))
    systems = {source: {path.name: clips[source].get(path.name, nothing) for path in files} for source in ("fused", "audio", "video") if clips[source]}
    systems["segments that the command prints"] = printed(args.command, files, options)
    if {"audio", "video"} <= systems.keys():
        systems["audio and video by the peers' rule"] = {
            path.name: joined(clips["audio"].get(path.name, nothing), clips["video"].get(path.name)) for path in files
        }
    for system, path in args.results:
        lines = map(json.loads, path.read_text().splitlines())
        systems[system] = {name(line): scores(line["tags"]) for line in lines if line.get("clip")}
    if args.ced:
        peers = Peers(args.ced)
        systems["CED-Tiny and EfficientNet-Lite2, untrained, by the peers' rule"] = {path.name: peers(path) for path in files}
    if args.save:
        args.save.write_text(json.dumps({system: {file: s.round(4).tolist() for file, s in found.items()} for system, found in systems.items()}))
    count = sum(bool(video.named) for video in videos)
    print(f"{len(videos)} videos of {len({video.source for video in videos})} sources, {count} named after one of the 13 labels; tags from {THRESHOLD} on.\n")
    print("\n".join(table(systems, videos)))
    print(f"\n{empty(windows, videos)}")
    if "fused" in systems:
        print(chance(systems["fused"], videos))
