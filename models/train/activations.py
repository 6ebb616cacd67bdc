# SPDX-License-Identifier: MPL-2.0
"""The frozen early blocks are run once: their activations are cached and the later blocks train on them.

A shard is SHARD random video frames made from the training pictures, one file, made from its own seed: an
interrupted run goes on with the first shard that is missing.
"""

import pathlib

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from . import frames
from .labels import CLASSES, LABELS, NONE

SHARD = 1024
# How often a sample is one of the 13 labels, a picture without an instrument, an instrument outside the set.
LABEL_SHARE, NONE_SHARE = 0.75, 0.15
# How often a picture is used as it is.
PLAIN_SHARE = 0.15


class Early:
    """uint8 frames [N, H, W, 3] to (the activations after the first blocks, float16 [N, C, h, w],)."""

    def __init__(self, network, split, device, compiled):
        network = network.to(device, torch.bfloat16, memory_format=torch.channels_last)

        def run(frame):
            x = network.normalise(frame).to(torch.bfloat16, memory_format=torch.channels_last)
            return network.early(x, split)

        if compiled:
            torch._inductor.config.freezing = True
            run = torch.compile(run)
        self.run, self.device = run, device

    @torch.no_grad()
    def __call__(self, frame):
        return (self.run(frame.to(self.device)).half().contiguous().cpu(),)


class RandomFrames(Dataset):
    """The samples of one shard: (uint8 frame [H, W, 3] for each view, index of the picture).

    A view is (size, fit, crop fraction), as in a card's `frame.*`.
    """

    def __init__(self, pictures, seed, *views):
        self.pictures, self.seed, self.views = pictures, seed, views
        rng = np.random.default_rng(seed)
        by_class = [[i for i, p in enumerate(pictures) if p.target == c] for c in range(len(LABELS))]
        nones = [i for i, p in enumerate(pictures) if p.folder == NONE]
        others = [i for i, p in enumerate(pictures) if p.target == CLASSES.index(NONE) and p.folder != NONE]
        kinds = rng.random(SHARD)
        self.order = []
        for kind in kinds:
            if kind < LABEL_SHARE:
                pool = by_class[rng.integers(len(by_class))]
            else:
                pool = nones if kind < LABEL_SHARE + NONE_SHARE else others
            self.order.append(pool[rng.integers(len(pool))])
        self.backgrounds = nones

    def __len__(self):
        return SHARD

    def __getitem__(self, k):
        rng = np.random.default_rng((self.seed, k))
        picture = self.pictures[self.order[k]].open()
        if rng.random() >= PLAIN_SHARE:
            background = self.pictures[self.backgrounds[rng.integers(len(self.backgrounds))]].open()
            picture = frames.video_frame(rng, picture, background)
        return *_seen(picture, self.views), self.order[k]


class EachFrame(Dataset):
    """Every picture once, as it is or (`backgrounds` given) as a random video frame: (a uint8 frame for each view, index)."""

    def __init__(self, pictures, views, backgrounds=None, seed=0):
        self.pictures, self.views, self.backgrounds, self.seed = pictures, views, backgrounds, seed

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        picture = self.pictures[i].open()
        if self.backgrounds is not None:
            rng = np.random.default_rng((self.seed, i))
            background = self.backgrounds[rng.integers(len(self.backgrounds))].open()
            picture = frames.video_frame(rng, picture, background)
        return *_seen(picture, self.views), i


def _seen(picture, views):
    return (torch.from_numpy(np.array(frames.fit(picture, *view))) for view in views)


def run(early, dataset, name, workers, batch=64):
    """(what `early` makes of the frames, indices [n]) of a dataset of (frames, index)."""
    loader = DataLoader(dataset, batch, num_workers=workers)
    results = [(*early(*views), index) for *views, index in tqdm(loader, name, mininterval=10)]
    return tuple(torch.cat(parts) for parts in zip(*results))


def cached(path, make):
    """torch.load(path), or what `make()` returns, saved there first."""
    path = pathlib.Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(make(), partial)
        partial.rename(path)
    return torch.load(path, mmap=True, weights_only=True)
