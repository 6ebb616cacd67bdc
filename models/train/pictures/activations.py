# SPDX-License-Identifier: MPL-2.0
"""The frozen early blocks are run once: their activations are cached and the later blocks train on them.

A shard is SHARD random video frames made from the training pictures, one file, made from its own seed: an
interrupted run goes on with the first shard that is missing.
"""

import io
import pathlib

import numpy as np
import onnxruntime
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..features import frames
from ..labels import CLASSES, NONE

SHARD = 1024
# How often a sample is one of the 13 labels, a picture without an instrument, an instrument outside the set.
LABEL_SHARE, NONE_SHARE = 0.74, 0.10
# How often a sample of a label that has both is a frame of a video and no photograph.
VIDEO_SHARE = 0.35
# How often a picture is used as it is.
PLAIN_SHARE = 0.10


class Early:
    """What a module of frozen blocks makes of uint8 frames [N, size, size, 3]: a tuple of float16 tensors.

    On a CPU, ONNX Runtime runs it: two to three times faster than torch.
    """

    def __init__(self, blocks, size, device="cpu", threads=1):
        self.device, blocks = device, blocks.eval().to(device)
        if device != "cpu":
            self.run = blocks
            return
        file, frame = io.BytesIO(), torch.zeros(2, size, size, 3, dtype=torch.uint8)
        torch.onnx.export(blocks, (frame,), file, input_names=["frame"], opset_version=17, dynamic_axes={"frame": {0: "N"}}, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
        self.run = lambda frame: [torch.from_numpy(x) for x in session.run(None, {"frame": frame.numpy()})]

    @torch.no_grad()
    def __call__(self, frame):
        return tuple(x.half().contiguous().cpu() for x in self.run(frame.to(self.device)))


class Blocks(torch.nn.Module):
    """uint8 frames to (activations before the block `split`,)."""

    def __init__(self, network, split):
        super().__init__()
        self.network, self.split = network, split

    def forward(self, frame):
        return (self.network.early(self.network.normalise(frame), self.split),)


class RandomFrames(Dataset):
    """The samples of one shard: (uint8 frame [H, W, 3] for each view, index of the picture).

    A view is (size, fit, crop fraction), as in a card's `frame.*`. A picture is put into a scene of its own fold, so that who leaves
    out a fold has seen none of its pictures.
    """

    def __init__(self, pictures, seed, *views):
        self.pictures, self.seed, self.views = pictures, seed, views
        rng = np.random.default_rng(seed)

        by_class = [([], []) for _ in CLASSES]
        for i, p in enumerate(pictures):
            by_class[p.target][not p.video].append(i)
        nothing = [i for indices in by_class.pop() for i in indices]
        nones = [i for i in nothing if pictures[i].folder == NONE]
        others = [i for i in nothing if pictures[i].folder != NONE]
        self.order = []
        for kind in rng.random(SHARD):
            if kind < LABEL_SHARE:
                videos, photographs = by_class[rng.integers(len(by_class))]
                chosen = videos if videos and (not photographs or rng.random() < VIDEO_SHARE) else photographs
            else:
                chosen = nones if kind < LABEL_SHARE + NONE_SHARE else others
            self.order.append(chosen[rng.integers(len(chosen))])
        scenes = [i for i in nones if not pictures[i].video]
        self.scenes = {fold: [i for i in scenes if pictures[i].fold == fold] or scenes for fold in {p.fold for p in pictures}}

    def __len__(self):
        return SHARD

    def __getitem__(self, k):
        rng = np.random.default_rng((self.seed, k))
        chosen = self.pictures[self.order[k]]
        picture = chosen.open()
        if rng.random() >= PLAIN_SHARE:
            scenes = self.scenes[chosen.fold]
            picture = frames.video_frame(rng, picture, self.pictures[scenes[rng.integers(len(scenes))]].open())
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


def shard(folder, early, training, seed, i, *views):
    """What `early` makes of shard i, and the indices of its pictures: from the cache or made."""
    name = f"shard-{i:03d}"
    return cached(pathlib.Path(folder, f"{name}.pt"), lambda: run(early, RandomFrames(training, seed, *views), name, 1))


def cached(path, make):
    """torch.load(path), or what `make()` returns, saved there first."""
    path = pathlib.Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(make(), partial)
        partial.rename(path)
    return torch.load(path, mmap=True, weights_only=True)
