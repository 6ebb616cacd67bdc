# SPDX-License-Identifier: MPL-2.0
"""Inputs of an exported model, of any kind, from folders of pictures or of sound, as its own card says."""

import pathlib

import numpy as np
import soxr

from ..corpus.photographs import Picture
from ..corpus.recordings import RATE
from ..labels import LABELS, class_of
from . import frames, frontend


def files(folders, each, seed=0):
    """[(path, class)] of the 13 labels in folders `.../<label>/*`: `each` of a label at most (None: all), a random choice."""
    rng = np.random.default_rng(seed)
    found = {}
    for folder in folders:
        for path in sorted(pathlib.Path(folder).glob("*/*")):
            target = class_of(path.parent.name)
            if path.suffix in (".jpg", ".npy") and target is not None and target < len(LABELS):
                found.setdefault(target, []).append(path)
    if not found:
        raise SystemExit(f"no .jpg or .npy files of the 13 labels in {', '.join(map(str, folders))}: pass folders that hold <label>/<file>")
    return [(paths[i], target) for target, paths in sorted(found.items()) for i in sorted(rng.permutation(len(paths))[:each])]


def settings(described):
    """The front end, as `frontend.mel` takes it, in a card's strings."""
    prefix = "frontend."
    return {key.removeprefix(prefix): _value(text) for key, text in described.items() if key.startswith(prefix)}


def _value(text):
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def one(path, described, size):
    """The model's input, without the axis N, for a file: a frame uint8 [H, W, 3], or `mel` [1, bands, frames] of its middle."""
    if described["modality"] == "video":
        picture = Picture(str(path), 0, "", "").open()
        return np.array(frames.fit(picture, size, described["frame.fit"], float(described["frame.crop-fraction"])))
    end = settings(described)
    samples = soxr.resample(np.load(path).astype(np.float32) / 32768, RATE, end["rate"])
    return frontend.segments(samples, end, "central").astype(np.float32)
