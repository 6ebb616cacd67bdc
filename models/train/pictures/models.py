# SPDX-License-Identifier: MPL-2.0
"""The paper's picture networks, a row each, and the tagger made of one.

A network's file has its layers by the names of the blocks (`blocks`), `normalise`, `early(x, block)` and `late(x, block)`.
"""

import collections
import pathlib

import numpy as np
import torch
from torch import nn

from ..labels import CLASSES, LABELS
from ..networks import inception
from . import visual

# make(which initial weights, folder of them), (size, fit, crop fraction) of a frame, values of the embedding, the first block that is
# trained, the blocks that may be, and the initial weights that there are
Model = collections.namedtuple("Model", "make view embedding split blocks inits")
MODELS = {
    "inception": Model(
        inception.initial,
        (inception.SIZE, inception.FIT, inception.CROP_FRACTION),
        inception.EMBEDDING,
        inception.SPLIT,
        ("6b", "6c", "6d", "6e", "7a", "7b", "7c"),
        inception.INITS,
    ),
}
# Every tenth training picture says when to stop.
VALIDATION = 10


class Head(nn.Linear):
    """Embeddings [..., D] to log-probabilities [..., 14]."""

    def __init__(self, size):
        super().__init__(size, len(CLASSES))

    def forward(self, embedding):
        return super().forward(embedding).log_softmax(-1)


class Tagger(nn.Module):
    """uint8 frames [N, H, W, 3] to `tags` [N, 13], which with "none" sum to 1, and `embedding` [N, D]."""

    def __init__(self, network, head):
        super().__init__()
        self.network, self.head = network, head

    def forward(self, frame):
        embedding = self.network(self.network.normalise(frame))
        return self.head(embedding).exp()[:, : len(LABELS)], embedding


def initial(args):
    """The network of `args.model` with the weights that it starts from."""
    return MODELS[args.model].make(args.init, args.weights)


def validation(left_out):
    """(which pictures train, which validate) of those that are not left out."""
    judging = torch.zeros(len(left_out), dtype=torch.bool)
    judging[np.flatnonzero(~left_out)[::VALIDATION]] = True
    return ~left_out & ~judging, judging


def cache(args, block):
    """Where the inputs of `block` are kept."""
    return pathlib.Path(args.cache, f"visual-{args.model}-{args.init}-{block}-" + "-".join(args.held_out))


def forward(tagger, x, split):
    embedding = visual.embed(tagger, x, split)
    return tagger.head(embedding), embedding


def add_arguments(parser):
    """What every command on a picture network takes."""
    parser.add_argument("--model", choices=MODELS, default="inception")
    parser.add_argument("--data", required=True, help="folder with images/<label>/<source>_<number>.jpg")
    parser.add_argument("--cache", required=True, help="folder for activations and weights; a rerun goes on from it")
    parser.add_argument("--held-out", nargs="*", default=["c101"], help="picture sources kept out of training")
    parser.add_argument("--init", default="torchvision", help="the weights to start from: a name of the network's table of them")
    parser.add_argument("--weights", help="the folder of the weights, where `--init` is not downloaded")
    parser.add_argument("--split", help="the first block that is trained")


def check(args):
    """The row of `args.model`; fills in its `--split`, and refuses what it does not have."""
    model = MODELS[args.model]
    args.split = args.split or model.split
    for option, value, known in (("--init", args.init, model.inits), ("--split", args.split, model.blocks)):
        if value not in known:
            raise SystemExit(f"{option} {value}: {args.model} has {', '.join(known)}")
    return model
