# SPDX-License-Identifier: MPL-2.0
"""The paper's sound networks, a row each, and their trained weights."""

import collections
import pathlib

import torch

from ..networks.choi import Choi
from ..networks.han import Han
from ..networks.xception import Xception

Model = collections.namedtuple("Model", "make release segmentation frames batch rate")
MODELS = {
    # make(), number of the released weights, segmentation of a recording, frames of a training patch, batch, learning rate
    "han": Model(Han, 2, "spread", 43, 64, 1e-3),
    "choi": Model(Choi, 3, "uniform", 192, 32, 1e-3),
    "xception": Model(Xception, 2, "uniform", 96, 32, 1e-3),
}
EMBEDDING = 1024  # of all of them


def checkpoint(args):
    """Where a run is kept: named after the model and the folds that are left out, unless `--run` names it."""
    return args.cache / "runs" / f"{args.run or '-'.join([args.model, *map(str, args.without)])}.pt"


def trained(args):
    """The network with the running mean of the weights of a run."""
    network = MODELS[args.model].make()
    network.load_state_dict(torch.load(checkpoint(args), map_location="cpu", weights_only=True)["average"])
    return network.eval()


def add_arguments(parser):
    """What every command on a sound model takes."""
    parser.add_argument("--model", choices=MODELS, default="choi")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--without", type=int, nargs="+", default=[4], help="folds that validate, and that training leaves out")
    parser.add_argument("--run", help="name of the checkpoint and the log in the cache")
    parser.add_argument("--frames", type=int, help="of a training patch (the model's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
