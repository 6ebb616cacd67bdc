# SPDX-License-Identifier: MPL-2.0
"""Manifests: which file has which labels, and whether it trains, validates or tests.

A manifest is CSV with the columns `path,labels,split,source`: the path relative to the manifest's folder, labels
separated by `|`, split train, validation or test, and the source (a sample library, a player, a video). No source
is in both the test split and another one.

    python -m train corpus.manifest corpus --data DATA --cache CACHE --out corpus.csv
    python -m train corpus.manifest fcvid --videos VIDEOS --materials MATERIALS --out fcvid.csv
    python -m train corpus.manifest youtube8m --videos VIDEOS --vocabulary vocabulary.csv --records train0000.tfrecord ... --out yt8m.csv
"""

import argparse
import csv
import os
import pathlib
import random
import re
import zlib
from collections import Counter
from dataclasses import dataclass

from ..labels import LABELS, class_of
from .sources import is_test
from .tfrecord import records

COLUMNS = ("path", "labels", "split", "source")
SPLITS = ("train", "validation", "test")
SHARES = (0.70, 0.15)  # of training and validation in the paper; the rest tests
VIDEO = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".flv", ".3gp", ".mpg", ".wmv", ".m4v"}

# The paper's 12 labels of FCVID. A category of the dataset belongs to the label that its name begins with.
FCVID = ("accordion", "cello", "chamber music", "flute", "guitar", "harmonica", "piano", "rock band", "saxophone", "symphony orchestra", "trumpet", "violin")
# What the vocabulary of YouTube-8M may call a label; the first name that it has counts.
YOUTUBE8M = {label: (label,) for label in LABELS} | {
    "Drums": ("Drums", "Drum kit", "Drum"),
    "Organ": ("Organ", "Organ (music)", "Pipe organ"),
    "Violin": ("Violin", "Fiddle"),
}


@dataclass(frozen=True)
class Row:
    """One file."""

    path: pathlib.Path
    labels: tuple[str, ...]
    split: str
    source: str


def check(rows, where):
    """Raise a ValueError about the first row that no manifest may have."""
    paths, splits = set(), {}
    for number, row in enumerate(rows, 2):
        at = f"{where}, line {number}"
        if row.split not in SPLITS:
            raise ValueError(f"{at}: the split is {row.split!r}; write one of {', '.join(SPLITS)}")
        if not row.labels or not all(row.labels):
            raise ValueError(f"{at}: {row.path} has an empty label; write its labels, separated by |, or none")
        if not row.source:
            raise ValueError(f"{at}: {row.path} has no source; write what it was taken from, such as the name of the dataset")
        if row.path in paths:
            raise ValueError(f"{at}: {row.path} is listed twice; keep one line, with all its labels")
        paths.add(row.path)
        testing = row.split == "test"
        if splits.setdefault(row.source, testing) != testing:
            raise ValueError(f"{at}: the source {row.source} is in the test split and in another; put all of it in one of them")


def read(path):
    """The rows of a manifest, with paths that open from anywhere."""
    path = pathlib.Path(path)
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.reader(file)
        header = next(table, [])
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path}: the first line is {','.join(header)!r}; write {','.join(COLUMNS)!r}")
        rows = []
        for cells in table:
            if len(cells) != len(COLUMNS):
                raise ValueError(f"{path}, line {table.line_num}: {len(cells)} columns; write {len(COLUMNS)}: {','.join(COLUMNS)}")
            name, labels, split, source = cells
            rows.append(Row(pathlib.Path(os.path.normpath(path.parent / name)), tuple(labels.split("|")), split, source))
    check(rows, path)
    return rows


def write(path, rows):
    """Write a manifest that `read` reads, with paths relative to its folder."""
    path = pathlib.Path(path)
    check(rows, path)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow((pathlib.Path(os.path.relpath(row.path, path.parent)).as_posix(), "|".join(row.labels), row.split, row.source))


def shares(videos, seed):
    """{key: split} of `{key: labels}`: 70 % train, 15 % validate, 15 % test of the videos of each first label, at random."""
    groups = {}
    for key in sorted(videos):
        groups.setdefault(videos[key][0], []).append(key)
    splits, generator = {}, random.Random(seed)
    for label in sorted(groups):
        keys = groups[label]
        generator.shuffle(keys)
        first = round(SHARES[0] * len(keys))
        second = first + round(SHARES[1] * len(keys))
        splits |= {k: SPLITS[(i >= first) + (i >= second)] for i, k in enumerate(keys)}
    return splits


def video_files(folder):
    """{name without extension: path} of the videos in a folder and in those below it."""
    files = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.suffix.lower() in VIDEO:
            if path.stem in files:
                raise ValueError(f"{path} and {files[path.stem]} have the same name; remove or rename one")
            files[path.stem] = path
    if not files:
        raise ValueError(f"{folder}: no videos in it ({', '.join(sorted(VIDEO))}); name the folder that holds them")
    return files


def corpus(args):
    """What `corpus.render` keeps, the pictures and the clips: split by source, every tenth recording of those that train validates."""
    rows = []
    for folder in ("sound", "bands", "test"):
        for path in sorted((args.cache / folder).glob("*/*.npy")):
            source, name = path.stem.split("__")[:2]
            if is_test(source) and folder != "test":
                raise ValueError(f"{path}: {source} only tests; delete the file and run `python -m train corpus.render` again")
            split = "test" if folder == "test" else SPLITS[zlib.crc32(f"{source}__{name}".encode()) % 10 == 0]
            rows.append(Row(path, tuple(path.parent.name.split("+")), split, source))
    if args.data:
        from . import photographs

        found = photographs.scan(args.data)
        train = set(photographs.split(found, args.held_out)[0])
        left_out = photographs.fold(found)
        nothing = set(photographs.split(found, [])[1])
        for picture in found:
            split = "validation" if picture in left_out else "train"
            if picture not in train:
                split = "test"
            source = f"{picture.source}-images-test" if picture in nothing else f"{picture.source}-images"
            rows.append(Row(pathlib.Path(picture.path), (picture.folder,), split, source))
        with (args.data / "clips" / "MANIFEST.tsv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                also = [name for name in re.split(", *", line["also"]) if class_of(name) is not None]
                rows.append(Row(args.data / "clips" / line["file"], (line["label"], *also), "test", "clips"))
    if not rows:
        raise ValueError(f"{args.cache}: no recordings in it; run `python -m train corpus.render --cache {args.cache}` first")
    return rows


def minutes(rows):
    """A Markdown table of how many minutes each label has, test sources apart, by source."""
    import numpy as np

    tables = {False: {}, True: {}}
    for row in rows:
        if row.path.suffix == ".npy" and len(row.labels) == 1:
            sources = tables[row.split == "test"].setdefault(row.labels[0], Counter())
            sources[row.source] += len(np.load(row.path, mmap_mode="r")) / 24000 / 60
    lines = []
    for testing, labels in tables.items():
        lines += [f"| {'test' if testing else 'training and validation'} | minutes | of which |", "| --- | --- | --- |"]
        lines += [
            f"| {label} | {sum(sources.values()):.0f} | {', '.join(f'{s} {m:.1f}' for s, m in sources.most_common())} |"
            for label, sources in sorted(labels.items())
        ] + [""]
    return "\n".join(lines)


def letters(name):
    return re.sub("[^a-z]", "", name.lower())


def fcvid(args):
    """FCVID, the paper's 12 categories.

    `--materials` holds `FCVID_VideoName_TrainTestSplit.txt` (a line a video: its path, then train or test),
    `FCVID_Label.txt` (a line a video in the same order: 239 numbers, 1 where the category applies) and the names of the
    categories in the order of the columns, one a line (`--categories`; what stands before the name, such as its number,
    is passed over). `--videos` holds the videos under the paths of the first file. Videos that cannot be had are left out.
    """
    with args.categories.open(encoding="utf-8") as file:
        categories = [letters(line) for line in file if line.strip()]
    columns = []
    for label in FCVID:
        fitting = [i for i, name in enumerate(categories) if name.startswith(letters(label))]
        if len(fitting) != 1:
            raise ValueError(f"{args.categories}: {len(fitting)} categories begin with {label!r}; rename them so that exactly one does")
        columns.append(fitting[0])
    with (
        (args.materials / "FCVID_VideoName_TrainTestSplit.txt").open(encoding="utf-8") as names,
        (args.materials / "FCVID_Label.txt").open(encoding="utf-8") as matrix,
    ):
        names, matrix = list(names), list(matrix)
    if len(names) != len(matrix):
        raise ValueError(f"{args.materials}: {len(names)} videos and {len(matrix)} lines of labels; both files list the same videos, so one is cut off")
    videos, own = {}, {}
    for name, numbers in zip(names, matrix):
        name, phase = name.rsplit(maxsplit=1)
        numbers = numbers.split()
        if len(numbers) != len(categories):
            raise ValueError(
                f"{args.materials}/FCVID_Label.txt: {name} has {len(numbers)} labels, {args.categories} {len(categories)} names; use the dataset's own list"
            )
        labels = tuple(label for label, column in zip(FCVID, columns) if float(numbers[column]) > 0)
        if labels and (args.videos / name).exists():
            videos[name], own[name] = labels, phase
    if not videos:
        raise ValueError(f"{args.videos}: none of the {len(names)} videos of {args.materials} is in it; name the folder that their paths start from")
    splits = shares(videos, args.seed)
    if args.own_split:
        rest = shares({k: v for k, v in videos.items() if own[k] == "train"}, args.seed)
        splits = {k: "test" if own[k] == "test" else "validation" if rest[k] == "validation" else "train" for k in videos}
    return [Row(args.videos / k, videos[k], splits[k], f"fcvid/{pathlib.PurePosixPath(k).stem}") for k in sorted(videos)]


def record_labels(path):
    """{id: label indices} of a TFRecord file, or of CSV with the columns id and labels (indices separated by spaces)."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if not {"id", "labels"} <= set(table.fieldnames or ()):
                raise ValueError(f"{path}: the columns are {table.fieldnames}; id and labels must be among them")
            return {row["id"]: [int(i) for i in row["labels"].split()] for row in table}
    return dict(records(path))


def youtube8m(args):
    """YouTube-8M, the paper's 13 labels.

    `--vocabulary` is the dataset's vocabulary.csv (columns Index and Name), `--records` its TFRecord files (video or frame
    level) or CSV files with id and labels. `--videos` holds the downloaded videos, named by the id of the records or, with
    `--ids` (CSV with the columns id and youtube_id), by YouTube's. Videos that cannot be had are left out.
    """
    with args.vocabulary.open(newline="", encoding="utf-8") as file:
        index = {row["Name"].lower(): int(row["Index"]) for row in csv.DictReader(file)}
    labels = {}
    for label, names in YOUTUBE8M.items():
        known = [index[name.lower()] for name in names if name.lower() in index]
        if not known:
            raise ValueError(f"{args.vocabulary}: none of {', '.join(names)} is in it; use the vocabulary that belongs to the records")
        labels[known[0]] = label
    youtube = {}
    if args.ids:
        with args.ids.open(newline="", encoding="utf-8") as file:
            youtube = {row["id"]: row["youtube_id"] for row in csv.DictReader(file)}
    files, videos = video_files(args.videos), {}
    for path in args.records:
        for identifier, indices in record_labels(path).items():
            own = tuple(labels[i] for i in indices if i in labels)
            name = youtube.get(identifier, identifier)
            if name in files and own and (len(own) == 1 or not args.single):
                videos[name] = own
    if not videos:
        raise ValueError(
            f"{args.videos}: none of its {len(files)} videos has one of the labels in the records; name the videos by the records' ids, or pass --ids"
        )
    splits = shares(videos, args.seed)
    return [Row(files[k], videos[k], splits[k], f"youtube8m/{k}") for k in sorted(videos)]


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.manifest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for make in (corpus, fcvid, youtube8m):
        command = commands.add_parser(make.__name__, help=make.__doc__.splitlines()[0], description=make.__doc__)
        command.set_defaults(make=make)
        command.add_argument("--out", type=pathlib.Path, required=True, help="the manifest to write")
        if make is corpus:
            command.add_argument("--cache", type=pathlib.Path, required=True, help="folder with what `corpus.render` made")
            command.add_argument("--data", type=pathlib.Path, help="folder with images/LABEL/SOURCE_*.jpg and clips/MANIFEST.tsv")
            command.add_argument("--minutes", action="store_true", help="print how many minutes of each label and source there are")
            command.add_argument("--held-out", nargs="*", default=["c101"], help="sources of pictures that only test")
        else:
            command.add_argument("--videos", type=pathlib.Path, required=True, help="folder of the downloaded videos")
            command.add_argument("--seed", type=int, default=1, help="of the split")
        if make is fcvid:
            command.add_argument("--materials", type=pathlib.Path, required=True, help="folder with FCVID_VideoName_TrainTestSplit.txt and FCVID_Label.txt")
            command.add_argument("--categories", type=pathlib.Path, required=True, help="names of the 239 categories, one a line, in the order of the labels")
            command.add_argument("--own-split", action="store_true", help="test on the dataset's own test videos rather than on 15 %% at random")
        if make is youtube8m:
            command.add_argument("--vocabulary", type=pathlib.Path, required=True, help="vocabulary.csv of the dataset")
            command.add_argument("--records", type=pathlib.Path, nargs="+", required=True, help=".tfrecord files, or CSV with id and labels")
            command.add_argument("--ids", type=pathlib.Path, help="CSV with the columns id and youtube_id")
            command.add_argument("--single", action="store_true", help="leave out videos that have several of the labels")
    args = parser.parse_args(argv)
    try:
        rows = args.make(args)
        write(args.out, rows)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    if args.make is corpus and args.minutes:
        print(minutes(rows))
    for split in SPLITS:
        labels = Counter(label for row in rows if row.split == split for label in row.labels)
        print(f"{split:10} {sum(row.split == split for row in rows):6} files;", ", ".join(f"{k} {n}" for k, n in sorted(labels.items())))
