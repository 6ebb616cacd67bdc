# SPDX-License-Identifier: MPL-2.0
"""The folder of labelled pictures (`images/<label>/<source>_<number>.jpg`) and which of them train or test."""

import pathlib
from dataclasses import dataclass

from PIL import Image

from .labels import CLASSES, NONE, class_of

# Instruments outside the set that are clearly another thing: they teach "none". The lookalikes (concertina,
# clavichord, mandolin, sitar, dulcimer, bongo) are left out.
OTHERS = ("alphorn", "bagpipes", "cabasa", "castanets", "didgeridoo", "euphonium", "guiro", "harp", "maracas",
          "ocarina", "steel_drum", "tambourine", "trombone", "tuba", "xylophone")
# Every fifth picture without an instrument is for tests alone.
STEP = 5


@dataclass(frozen=True)
class Picture:
    """One file, its class (0 to 13, or -1), its folder and its source ("k30", "c101", ...)."""

    path: str
    target: int
    folder: str
    source: str

    def open(self):
        return Image.open(self.path).convert("RGB")


def scan(data):
    """All pictures of the 13 labels, of "none" and of OTHERS, in a fixed order."""
    found = []
    for folder in sorted(pathlib.Path(data, "images").iterdir()):
        target = CLASSES.index(NONE) if folder.name in OTHERS else class_of(folder.name)
        if target is not None:
            found += [Picture(str(p), target, folder.name, p.name.split("_")[0])
                      for p in sorted(folder.glob("*.jpg"))]
    if not found:
        raise SystemExit(f"no pictures under {data}/images: pass the folder that holds images/<label>/ as --data")
    return found


def split(pictures, held_out):
    """(train, test): test is every picture of the sources `held_out`, and every fifth one of "none"."""
    train, test, nones = [], [], 0
    for picture in pictures:
        nones += picture.folder == NONE
        if picture.source in held_out or (picture.folder == NONE and nones % STEP == 0):
            test.append(picture)
        else:
            train.append(picture)
    return train, test


def fold(pictures):
    """Every fifth picture of the 13 labels: to be left out of training when one wants to test on them."""
    return {p for p in [p for p in pictures if p.target != CLASSES.index(NONE)][::STEP]}


def clip_frames(clips):
    """{clip name: [frames]} of a folder of `<label>_<number>_<second>.jpg` (ffmpeg -i clip.mp4 -vf fps=1 ...)."""
    found = {}
    for path in sorted(pathlib.Path(clips).glob("*.jpg")):
        name = path.stem.rsplit("_", 1)[0]
        found.setdefault(name, []).append(Picture(str(path), -1, name, "clip"))
    return found
