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
    # make(args), number of the released weights, segmentation of a recording, frames of a training patch, batch, learning rate
    "han": Model(lambda args: Han(), 1, "spread", 43, 64, 1e-3),
    "choi": Model(lambda args: Choi(), 2, "uniform", 192, 32, 1e-3),
    "xception": Model(lambda args: Xception(), 1, "uniform", 96, 32, 1e-3),
}
EMBEDDING = 1024  # of all of them


def beginning(args, device):
    """The weights of `--start`: the average of a checkpoint."""
    return torch.load(args.start, map_location=device)["average"]


def trained(args):
    """The network with the weights that are kept: the best by validation or the last ones (`--keep`), averaged with the start's (`--share`)."""
    network = MODELS[args.model].make(args)
    kept = torch.load(args.cache / f"{args.run or args.model}.pt", map_location="cpu")[args.keep]
    begin = beginning(args, "cpu") if args.start else network.state_dict()
    network.load_state_dict({k: v if args.share == 1 or not v.is_floating_point() else torch.lerp(begin[k], v, args.share) for k, v in kept.items()})
    return network.eval()


def add_arguments(parser):
    """What every command on a sound model takes."""
    parser.add_argument("--model", choices=MODELS, default="choi")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/, clips/ and teachers/")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--run", help="name of the checkpoint and the log in the cache (the model's)")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="further held-out folders of LABEL*.ogg")
    parser.add_argument("--judged", nargs="*", default=["fsd"], help="sources of audio/ to report on; never trained on")
    parser.add_argument("--frames", type=int, help="of a training patch")
    parser.add_argument("--start", type=pathlib.Path, help="what to begin with: a checkpoint, of which the averaged weights, or an exported YAMNet")
    parser.add_argument("--share", type=float, default=1.0, help="of the trained weights, the rest is those that training began with (WiSE-FT)")
    parser.add_argument("--keep", choices=("average", "best"), default="average", help="weights: the last running mean, or the one of the best validation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provenance", default="")
    parser.add_argument("--out", type=pathlib.Path)
