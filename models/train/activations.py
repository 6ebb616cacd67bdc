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

from . import efficientnet, frames
from .labels import CLASSES, LABELS, NONE

SHARD = 1024
# How often a sample is one of the 13 labels, a picture without an instrument, an instrument outside the set.
LABEL_SHARE, NONE_SHARE = 0.75, 0.15
# How often a picture is used as it is.
PLAIN_SHARE = 0.15


class Early:
    """uint8 frames [N, H, W, 3] to the activations after the first `split` blocks, float16 [N, C, h, w]."""

    def __init__(self, network, split, device, compiled):
        network = network.to(device, torch.bfloat16, memory_format=torch.channels_last)

        def run(frame):
            x = efficientnet.normalise(frame).to(torch.bfloat16, memory_format=torch.channels_last)
            return network.early(x, split)

        if compiled:
            torch._inductor.config.freezing = True
            run = torch.compile(run)
        self.run, self.device = run, device

    @torch.no_grad()
    def __call__(self, frame):
        return self.run(frame.to(self.device)).half().contiguous().cpu()


class RandomFrames(Dataset):
    """The samples of one shard: (uint8 frame [H, W, 3], index of the picture)."""

    def __init__(self, pictures, seed, size, how):
        self.pictures, self.seed, self.fit = pictures, seed, (size, how)
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
        if rng.random() < PLAIN_SHARE:
            frame = frames.fit(picture, *self.fit)
        else:
            background = self.pictures[self.backgrounds[rng.integers(len(self.backgrounds))]].open()
            frame = frames.video_frame(rng, picture, background, *self.fit)
        return torch.from_numpy(np.array(frame)), self.order[k]


class EachFrame(Dataset):
    """Every picture once, as it is or (`backgrounds` given) as a random video frame: (uint8 [H, W, 3], index)."""

    def __init__(self, pictures, size, how, backgrounds=None, seed=0):
        self.pictures, self.fit, self.backgrounds, self.seed = pictures, (size, how), backgrounds, seed

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        picture = self.pictures[i].open()
        if self.backgrounds is None:
            frame = frames.fit(picture, *self.fit)
        else:
            rng = np.random.default_rng((self.seed, i))
            background = self.backgrounds[rng.integers(len(self.backgrounds))].open()
            frame = frames.video_frame(rng, picture, background, *self.fit)
        return torch.from_numpy(np.array(frame)), i


def run(early, dataset, name, workers, batch=64):
    """(activations float16 [n, C, h, w], indices [n]) of a dataset of (frame, index)."""
    loader = DataLoader(dataset, batch, num_workers=workers)
    results = [(early(frame), index) for frame, index in tqdm(loader, name, mininterval=10)]
    return torch.cat([r[0] for r in results]), torch.cat([r[1] for r in results])


def cached(path, make):
    """torch.load(path), or what `make()` returns, saved there first."""
    path = pathlib.Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(make(), partial)
        partial.rename(path)
    return torch.load(path, mmap=True, weights_only=True)
