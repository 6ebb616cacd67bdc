# SPDX-License-Identifier: MPL-2.0
"""What an exported picture model makes of the pictures that trained no model: the fusions are fitted on it and tested with it.

    python -m train pictures.left_out --data DATA --model efficientnet-lite-yt8m13.onnx --clips FRAMES --out frames.npz

Each picture is there as it is and as three random video frames, a clip's frames as they are. In `frames.npz`, one row each:

| array | what |
| --- | --- |
| `embeddings` | float16 [n, D] |
| `classes` | 0 to 13; -1 for a clip's frames |
| `pictures` | the same number for all views of one picture; -1 for a clip's frames |
| `kinds` | `held out` (a source that trains nothing), `left out` (of a source whose other pictures train) or `clip` |
| `names` | the picture's folder, or the clip |
"""

import argparse

import numpy as np
from tqdm import tqdm

from ..corpus import photographs
from ..export import card
from ..labels import NONE
from . import activations, visual
from .embedder import Embedder

# Random video frames of each picture.
VIEWS = 3


def main(argv):
    parser = argparse.ArgumentParser(prog="train pictures.left_out", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with images/<label>/<source>_<number>.jpg")
    parser.add_argument("--held-out", nargs="*", default=["c101"], help="picture sources kept out of training")
    parser.add_argument("--clips", help="folder with <label>_<number>_<second>.jpg: frames of videos, for tests alone")
    parser.add_argument("--model", required=True, help="the ONNX file")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    args = parser.parse_args(argv)

    model = Embedder(args.model, card.read(args.model))
    test = visual.split(args)[1]
    nones = [p for p in test if p.folder == NONE]
    kinds = ["held out" if p.source in args.held_out else "left out" for p in test]
    rows = {"embeddings": [], "classes": [], "pictures": [], "kinds": [], "names": []}

    def add(views, name, *columns):
        frames = (frame for frame, _ in views)
        rows["embeddings"].append(model(tqdm(frames, name, len(views), mininterval=10)).astype(np.float16))
        for key, column in zip(list(rows)[1:], columns):
            rows[key].append(np.asarray(column))

    columns = [p.target for p in test], range(len(test)), kinds, [p.folder for p in test]
    add(activations.EachFrame(test, (model.view,)), "plain", *columns)
    for i in range(VIEWS):
        add(activations.EachFrame(test, (model.view,), nones, visual.VIEWS_SEED + i), f"video-like {i}", *columns)
    for clip, frames in photographs.clip_frames(args.clips).items() if args.clips else ():
        n = len(frames)
        add(activations.EachFrame(frames, (model.view,)), clip, [-1] * n, [-1] * n, ["clip"] * n, [clip] * n)
    np.savez(args.out, **{key: np.concatenate(parts) for key, parts in rows.items()})
    print(f"{args.out}: {sum(map(len, rows['classes']))} frames")
