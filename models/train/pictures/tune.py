# SPDX-License-Identifier: MPL-2.0
"""Train the picture model on random video frames, judge it out of fold, release it.

The blocks before `--split` stay as they are and run once. The later ones and the rows learn the labels, held near the start
(L2-SP), while their other rows say of each frame what ImageNet's say; then they are averaged with the start (WiSE-FT).
A model a fold, which has seen none of the fold's groups, gives the figures and the calibration. The released one learns from all folds.

    python -m train pictures.tune --data DATA --cache CACHE --export FILE.onnx
"""

import argparse
import copy
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ..corpus import photographs, real
from ..labels import LABELS
from ..networks import efficientnet
from . import activations, judge, lite
from .export import write

SMOOTHING = 0.05
# Weights of the labels one by one beside the choice among them, and of what ImageNet says of everything else.
EACH_WEIGHT, ELSE_WEIGHT = 0.5, 0.3
ALL = -1
# The released first version, which others start from, has not seen this source nor every fifth picture of the others.
START_HELD_OUT = "c101"


def unseen(pictures):
    known = [p for p in pictures if not p.video and p.folder not in photographs.LOOKALIKES]
    return photographs.fold(photographs.split(known, [START_HELD_OUT])[0])


class Pictures:
    """The pictures as tensors: their class, and which of the 13 labels training may confirm or deny.

    No fold's model learns from those in `spared`: they judge.
    """

    def __init__(self, pictures, spared):
        self.folds = np.array([p.fold for p in pictures])
        self.targets = torch.tensor([p.target for p in pictures])
        self.spared = np.array([p in spared for p in pictures])
        self.known = torch.tensor([[float(label not in p.unknown) for label in LABELS] for p in pictures])


class Shards:
    """Random frames: activations before the trained blocks, ImageNet's embeddings, indices of their pictures."""

    def __init__(self, shards, pictures, fold):
        usable = np.full(len(pictures.folds), True) if fold == ALL else (pictures.folds != fold) & ~pictures.spared
        self.shards = [(*tensors, index, np.flatnonzero(usable[index])) for *tensors, index in shards]

    def batch(self, rng, size, mixed=4):
        """`size` frames of `mixed` shards."""
        mixed = min(mixed, len(self.shards))
        parts = []
        for i in rng.choice(len(self.shards), mixed, replace=False):
            *tensors, usable = self.shards[i]
            chosen = torch.from_numpy(rng.choice(usable, size // mixed, replace=False))
            parts.append([t[chosen] for t in tensors])
        return [torch.cat(part) for part in zip(*parts)]


def loss(rows, pool, their_rows, targets, known):
    """The choice among the labels and "none", each label against "none", and the other rows as ImageNet has them."""
    log_p = lite.pooled(rows, pool)
    each = F.binary_cross_entropy_with_logits(
        lite.against_none(log_p), F.one_hot(targets, len(LABELS) + 1)[:, :-1] * 0.96 + 0.02, known, reduction="sum"
    ) / len(rows)
    hidden = F.pad(known - 1, (0, 1))
    choice = (log_p + 30 * hidden).log_softmax(1)
    choice = F.nll_loss(choice, targets) * (1 - SMOOTHING) - SMOOTHING * (choice * (1 + hidden)).mean()
    other = pool[:, -1].bool()
    kept = F.cross_entropy(rows[:, other], their_rows[:, other[: their_rows.shape[1]]].softmax(1))
    return choice + EACH_WEIGHT * each + ELSE_WEIGHT * kept


def train(start, imagenet, shards, pictures, split, args, checkpoint, seed):
    """The tuned copy of `start`; goes on from the checkpoint, if there is one."""
    tagger = copy.deepcopy(start)
    tagger.requires_grad_(False)
    parameters = lite.trained_parameters(tagger, split)
    origin = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, args.rate, betas=(0.9, 0.98), weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.steps, pct_start=0.1)
    parts = {"tagger": tagger, "optimiser": optimiser, "schedule": schedule}
    done = 0
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        done = stored.pop("step")
        for name, state in stored.items():
            parts[name].load_state_dict(state)
    for step in tqdm(range(done, args.steps), checkpoint.stem, args.steps, initial=done, mininterval=20):
        x, theirs, index = shards.batch(np.random.default_rng((seed, step)), args.batch)
        x = x.float().to(args.device, memory_format=torch.channels_last)
        rows = tagger.head.rows(efficientnet.late_for_training(tagger.network, x, split))
        with torch.no_grad():
            their_rows = imagenet.head.rows(theirs.float().to(args.device))
        value = loss(rows, tagger.head.pool, their_rows, pictures.targets[index].to(args.device), pictures.known[index].to(args.device))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        # L2-SP, decoupled as in AdamW
        with torch.no_grad():
            torch._foreach_lerp_(parameters, origin, args.anchor * schedule.get_last_lr()[0] / args.rate)
        if step + 1 == args.steps or (step + 1) % 25 == 0:
            torch.save({"step": step + 1} | {name: part.state_dict() for name, part in parts.items()}, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
    return tagger.eval()


class Frozen(torch.nn.Module):
    """uint8 frames to (activations before `split` of the start, ImageNet's embeddings)."""

    def __init__(self, start, imagenet, split):
        super().__init__()
        self.start, self.imagenet, self.split = start.network, imagenet.network, split

    def forward(self, frame):
        x = self.start.normalise(frame)
        return self.start.early(x, self.split), self.imagenet(x)


def main(argv):
    parser = argparse.ArgumentParser(prog="train pictures.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with images/<label>/<source>_<number>.jpg and clips/")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="folder for frames, activations and weights; a rerun goes on from it")
    parser.add_argument("--variant", type=int, choices=efficientnet.VARIANTS, default=2)
    parser.add_argument("--start", help="an exported model to start from; ImageNet's weights without it")
    parser.add_argument("--start-share", type=float, default=0.7, help="of its weights, the rest ImageNet's")
    parser.add_argument("--split", type=int, default=19, help="the first block that is trained")
    parser.add_argument("--fit", choices=("stretch", "crop"), default="crop")
    parser.add_argument("--shards", type=int, default=10, help=f"of {activations.SHARD} random frames each")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-4, help="AdamW's peak learning rate")
    parser.add_argument("--anchor", type=float, default=1e-3, help="pull towards the start, a step (L2-SP)")
    parser.add_argument("--average", type=float, default=0.5, help="share of the trained weights (WiSE-FT)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out-of-fold", help="the .npz file to write: names, folds, scores and embeddings of every picture by its fold's model")
    parser.add_argument("--export", help="the ONNX file to write")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)

    imagenet = lite.pretrained(args.variant).to(args.device)
    start = lite.interpolate(imagenet, lite.released(args.start)[0].to(args.device), args.start_share) if args.start else imagenet
    view = (imagenet.network.size, args.fit, 1.0)
    every = photographs.every(args.data, args.cache)
    spared = unseen(every) if args.start else set()
    judged = [
        p
        for p in every
        if p.target >= 0
        and p.folder not in photographs.LOOKALIKES
        and (p.video or not args.start or p.target == len(LABELS) or p in spared or p.source == START_HELD_OUT)
    ]
    learned = [p for p in every if p.target >= 0 and p.fold != real.TEST]
    early = activations.Early(Frozen(start, imagenet, args.split), view[0], args.device, args.threads)
    shards = [activations.shard(args.cache, early, learned, i, i, view) for i in range(args.shards)]
    plain, theirs, _ = activations.cached(args.cache / "plain.pt", lambda: activations.run(early, activations.EachFrame(judged, (view,)), "plain", 0))

    pictures = Pictures(learned, spared)
    tagger = {}
    for fold in [*range(real.FOLDS), ALL]:
        tuned = train(
            start,
            imagenet,
            Shards(shards, pictures, fold),
            pictures,
            args.split,
            args,
            args.cache / f"fold-{fold}.pt" if fold != ALL else args.cache / "all.pt",
            fold + 1,
        )
        tagger[fold] = lite.interpolate(start, tuned, args.average)
    with torch.no_grad():
        theirs = theirs.float()
        judge.show("ImageNet's weights", judge.Scored(judged, imagenet.head.cpu()(theirs), theirs))
    judge.show("the start", judge.score(judged, plain, dict.fromkeys(tagger, start), args.split))
    scored = judge.score(judged, plain, tagger, args.split)
    slope, offset = scored.calibrate()
    judge.show(f"out of fold, calibrated by {slope:.2f} and {offset:.2f}", scored)
    if args.out_of_fold:
        scored.save(args.out_of_fold)
    if args.export:
        chosen = tagger[ALL]
        chosen.slope, chosen.offset = slope, offset
        write(
            chosen,
            args.export,
            lite.NAME,
            view,
            scored.summary(),
            f"EfficientNet-Lite{args.variant} with ImageNet weights (Apache-2.0), last blocks fine-tuned on photographs of "
            "instruments and on frames of people's videos, made to look like video frames",
            embedding=2,
        )
