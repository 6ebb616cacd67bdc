# SPDX-License-Identifier: MPL-2.0
"""Frames that never come twice: what `pictures.train` learns from.

There are few photographs and videos. So that a network does not learn them by heart, each frame is made anew: as a random video frame,
as a part of a picture, or as two of them blended. Of the blended ones, of lookalikes and of pictures without a label, only the
teacher knows what they show.
"""

import math

import numpy as np
import torch
from PIL import Image, ImageEnhance

from ..corpus.photographs import LOOKALIKES
from ..features import frames
from ..labels import CLASSES, LABELS, NONE
from . import activations

# Shares of the frames: parts of pictures, two blended, the rest random video frames.
PART_SHARE, BLEND_SHARE = 0.4, 0.25
# How often a frame shows a picture of which only the teacher can say something.
OUTSIDE_SHARE = 0.15
# The smallest part of a picture, of its area.
LEAST_PART = 0.35
UNKNOWN = -1


def told(picture):
    """The class that the labels tell, or UNKNOWN."""
    return UNKNOWN if picture.folder in LOOKALIKES else picture.target


class Stream:
    """Random frames of the pictures, for each view (size, fit, crop fraction)."""

    def __init__(self, pictures, seed, *views):
        self.rng, self.views = np.random.default_rng(seed), views
        # Of each label, frames of videos and photographs.
        self.labelled = [[[p for p in pictures if told(p) == c and bool(p.video) == video] for video in (True, False)] for c in range(len(LABELS))]
        self.nones = [p for p in pictures if p.folder == NONE]
        self.different = [p for p in pictures if told(p) == CLASSES.index(NONE) and p.folder != NONE]
        self.others = [p for p in pictures if told(p) == UNKNOWN]

    def picture(self):
        """One of a label, one without an instrument, another instrument, or one that only the teacher knows."""
        rng = self.rng
        if self.others and rng.random() < OUTSIDE_SHARE:
            pool = self.others
        else:
            kind = rng.random()
            if kind < activations.LABEL_SHARE:
                videos, photographs = self.labelled[rng.integers(len(LABELS))]
                pool = videos if videos and (not photographs or rng.random() < activations.VIDEO_SHARE) else photographs
            else:
                pool = self.nones if kind < activations.LABEL_SHARE + activations.NONE_SHARE else self.different
        pool = pool or self.nones
        return pool[rng.integers(len(pool))]

    def frame(self):
        """(a picture, its class or UNKNOWN)."""
        rng, picture = self.rng, self.picture()
        kind = rng.random()
        if kind < PART_SHARE:
            return self.part(picture, frames.random_canvas(rng)), told(picture)
        if kind < PART_SHARE + BLEND_SHARE:
            canvas = frames.random_canvas(rng)
            return Image.blend(self.part(picture, canvas), self.part(self.picture(), canvas), rng.uniform(0.2, 0.8)), UNKNOWN
        background = self.nones[rng.integers(len(self.nones))].open()
        return frames.video_frame(rng, picture.open(), background), told(picture)

    def part(self, picture, canvas):
        """A part of the picture, or its mirror image, in a little other light."""
        rng = self.rng
        picture = picture.open()
        if rng.random() < 0.5:
            picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
        picture = frames.crop(rng, picture, canvas, LEAST_PART)
        for change, deviation in ((ImageEnhance.Brightness, 0.2), (ImageEnhance.Color, 0.3)):
            if rng.random() < 0.5:
                picture = change(picture).enhance(math.exp(rng.normal(0, deviation)))
        return picture

    def block(self, n):
        """([uint8 [n, H, W, 3] of each view], classes [n])."""
        made = [self.frame() for _ in range(n)]
        views = [torch.from_numpy(np.stack([np.array(frames.fit(picture, *view)) for picture, _ in made])) for view in self.views]
        return views, torch.tensor([target for _, target in made])


class Ring:
    """The last `size` frames: what replaces the oldest is drawn as often as what has been there for long."""

    def __init__(self, size):
        self.size, self.parts, self.place = size, None, 0

    def add(self, *parts):
        if self.parts is None:
            self.parts = [torch.empty(self.size, *p.shape[1:], dtype=p.dtype) for p in parts]
        places = (self.place + torch.arange(len(parts[0]))) % self.size
        for mine, p in zip(self.parts, parts):
            mine[places] = p
        self.place += len(parts[0])

    def draw(self, rng, n):
        chosen = torch.from_numpy(rng.choice(min(self.place, self.size), n, replace=False))
        return [p[chosen] for p in self.parts]
