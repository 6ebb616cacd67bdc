# SPDX-License-Identifier: MPL-2.0
"""The real pictures: labelled photographs and, a second apart, frames of videos; which of them train, validate and test."""

import pathlib
from dataclasses import dataclass

from PIL import Image

from ..labels import CLASSES, NONE, class_of
from . import real

PHOTOGRAPHS = ("k30", "c101", "tiny", "in", "sop-pictures")
# Sources whose pictures are frames of people's videos.
VIDEO = ("clips", "sop-pictures")
# Instruments outside the set that are clearly another thing: they teach "none".
OTHERS = (
    "alphorn",
    "bagpipes",
    "cabasa",
    "castanets",
    "didgeridoo",
    "euphonium",
    "guiro",
    "harp",
    "maracas",
    "ocarina",
    "steel_drum",
    "tambourine",
    "trombone",
    "tuba",
    "xylophone",
)
# Lookalikes also teach "none", but neither confirm nor deny the labels that they resemble.
LOOKALIKES = {
    "mandolin": ("Guitar", "Banjo"),
    "sitar": ("Guitar", "Banjo"),
    "clavichord": ("Piano", "Organ"),
    "concertina": ("Accordion",),
    "bongo": ("Drums",),
    "erhu": (),
    "dulcimer": (),
}
# Instruments in the picture beside the labelled one, where `also` in the table of clips has no label for them.
BESIDE = {"saxophone_31": ("Piano",), "guitar_47": ("Drums",)}
# Every fifth picture without an instrument is for tests alone.
STEP = 5
# Short side of a stored frame of a video, in pixels.
FRAME = 360


@dataclass(frozen=True)
class Picture:
    """One file, its class (0 to 13, or -1), its folder or label, its source, group and fold.

    `video` names the video that it is a frame of. Training neither confirms nor denies the labels in `unknown`.
    """

    path: str
    target: int
    folder: str
    source: str
    group: str = ""
    fold: int = real.TEST
    video: str = ""
    unknown: tuple[str, ...] = ()

    def open(self):
        return Image.open(self.path).convert("RGB")


def scan(data, lookalikes=False):
    """All photographs of the 13 labels, of "none" and of OTHERS, in a fixed order; the lookalikes too, if wanted."""
    found = []
    for item in sorted(real.items(data, *PHOTOGRAPHS), key=lambda item: item.path):
        folder = item.path.parent.name
        target = CLASSES.index(NONE) if folder in OTHERS or lookalikes and folder in LOOKALIKES else class_of(folder)
        if target is not None:
            found.append(
                Picture(
                    str(item.path),
                    target,
                    folder,
                    item.path.name.split("_")[0],
                    item.group,
                    item.fold,
                    item.group if item.source in VIDEO else "",
                    LOOKALIKES.get(folder, ()),
                )
            )
    if not found:
        raise SystemExit(f"no pictures under {data}/images: pass the folder that holds images/<label>/ as --data")
    return found


def frames(data, cache):
    """The frames of the real videos, one a second, decoded into the folder `cache` first; the test videos' have fold TEST."""
    import av

    found = []
    for item in real.items(data, "clips", "clips-test"):
        folder, name = pathlib.Path(cache, item.path.stem), item.path.stem
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            partial.mkdir(parents=True, exist_ok=True)
            with av.open(str(item.path)) as file:
                due, start = 0.5, None
                for frame in file.decode(video=0):
                    start = frame.time if start is None else start
                    if frame.time - start >= due:
                        picture = frame.to_image()
                        picture.thumbnail([round(n * FRAME / min(picture.size)) for n in picture.size])
                        picture.save(partial / f"{int(due):03}.jpg", quality=93)
                        due += 1
            partial.rename(folder)
        target = class_of(item.label)
        unknown = BESIDE.get(name, tuple(name.capitalize() for name in item.also))
        found += [
            Picture(str(p), -1 if target is None else target, item.label, "clips", item.group, item.fold, name, unknown) for p in sorted(folder.glob("*.jpg"))
        ]
    return found


def every(data, cache):
    """All pictures: photographs, lookalikes, and the frames of videos, which are kept in the folder `cache`."""
    return scan(data, lookalikes=True) + frames(data, cache / "frames")


def video_of(item):
    """What `Picture.video` calls a video of `real.items`."""
    return item.group if item.source == "sop" else item.path.stem


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
    return set([p for p in pictures if p.target != CLASSES.index(NONE)][::STEP])
