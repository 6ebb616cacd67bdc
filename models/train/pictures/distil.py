# SPDX-License-Identifier: MPL-2.0
"""A picture network taught by an EfficientNet-Lite model on frames that never come twice.

Each frame goes through the frozen blocks and the teacher once and is trained on a few times while it is in the ring of
the latest ones. The student learns the labels, the teacher's scores, the teacher's embedding as a linear map of its own, and what the
teacher's classifier of ImageNet's classes says of that map. The rate falls as half a cosine over `--minutes` of CPU time.
`pictures.train --start` measures and exports what comes out.
"""

import argparse
import copy
import csv
import math
import time

import numpy as np
import torch
from torch import nn

from ..export import card
from ..labels import CLASSES, LABELS
from . import activations, lite, stream, visual
from .embedder import Embedder
from .models import Head, Tagger, add_arguments, cache, check, forward, initial, validation

# Frames that are made, and go through the frozen blocks, at once: few, so that they stay in the processor's caches.
BLOCK = 16
# The share of the mean of the weights that stays at each step.
MEAN_DECAY = 0.99


class Lesson(nn.Module):
    """The loss of log-probabilities [n, 14] and embeddings [n, D], given the classes (or UNKNOWN) and the teacher's embeddings."""

    def __init__(self, teacher_head, ours, theirs, args):
        super().__init__()
        self.map = nn.Linear(ours, theirs)
        self.head, self.args = teacher_head.requires_grad_(False), args

    def forward(self, log_p, embedding, targets, theirs):
        args, known, mapped = self.args, (targets != stream.UNKNOWN)[:, None], self.map(embedding)
        rows = self.head.rows(theirs).log_softmax(1)
        taught = rows.exp() @ self.head.pool
        labels = nn.functional.one_hot(targets.clamp(min=0), len(CLASSES)) * (1 - args.smoothing) + args.smoothing / len(CLASSES)
        wanted = torch.where(known, torch.lerp(labels, taught, args.teacher_share), taught)
        scores = -(wanted * log_p).sum(1).mean()
        divergence = (rows.exp() * (rows - self.head.rows(mapped).log_softmax(1))).sum(1).mean()
        distance = (mapped - theirs).square().mean() / theirs.var(0).mean()
        return torch.stack([scores, args.rows_weight * divergence, args.embedding_weight * distance])


def hits(tagger, x, targets, split):
    """Hit@1 in per cent of the frames with an instrument."""
    p = visual.probabilities(tagger, x, split)[:, : len(LABELS)]
    known = targets < len(LABELS)
    return 100 * float((p.argmax(1) == targets.numpy())[known].mean())


def train(tagger, lesson, ring, refill, judged, args, log):
    """Train in place; afterwards `tagger` has the mean of its latest weights."""
    tagger.requires_grad_(False)
    names = list(tagger.network.blocks)
    modules = [tagger.network.blocks[n] for n in names[names.index(args.split) :]] + [tagger.head, lesson.map]
    parameters = [p for m in modules for p in m.requires_grad_(True).parameters()]
    optimiser = torch.optim.AdamW(parameters, args.rate, weight_decay=args.decay)
    mean = [p.detach().clone() for p in parameters]
    rng = np.random.default_rng(args.seed)
    checkpoint, spent, steps, frames = log.with_suffix(".pt"), 0.0, 0, 0
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        tagger.load_state_dict(stored["last"]), lesson.load_state_dict(stored["lesson"]), optimiser.load_state_dict(stored["optimiser"])
        spent, steps, frames, mean = stored["spent"], stored["steps"], stored["frames"], stored["mean"]
    start, reported, losses = time.process_time() - spent, spent, []

    def report():
        last = [p.detach().clone() for p in parameters]
        _copy(parameters, mean)
        figures = [hits(tagger, x, targets, args.split) for x, targets in judged]
        values = np.mean(losses, 0) if losses else [math.nan] * 3
        row = [f"{spent / 60:.1f}", steps, frames, *(f"{v:.3f}" for v in values), *(f"{f:.1f}" for f in figures)]
        print("minutes {}, steps {}, new frames {}: losses {} {} {}, Hit@1 video-like {}, plain {}".format(*row), flush=True)
        with open(log, "a", newline="") as file:
            csv.writer(file).writerow(row)
        state = {
            "tagger": copy.deepcopy(tagger.state_dict()),
            "lesson": lesson.state_dict(),
            "optimiser": optimiser.state_dict(),
            "spent": spent,
            "steps": steps,
            "frames": frames,
            "mean": mean,
        }
        if spent < 60 * args.minutes:
            _copy(parameters, last)
        torch.save(state | {"last": tagger.state_dict()}, checkpoint)
        losses.clear()

    report()
    while spent < 60 * args.minutes:
        ring.add(*refill())
        frames += BLOCK
        while steps * args.batch < frames * args.uses:
            spent = time.process_time() - start
            progress = min(1, spent / (60 * args.minutes))
            for group in optimiser.param_groups:
                group["lr"] = args.rate * min(1, (steps + 1) / args.warmup) * 0.5 * (1 + math.cos(math.pi * progress))
            x, theirs, targets = ring.draw(rng, args.batch)
            log_p, embedding = forward(tagger, x.to(args.device), args.split)
            values = lesson(log_p, embedding, targets.to(args.device), theirs.float().to(args.device))
            optimiser.zero_grad()
            values.sum().backward()
            optimiser.step()
            steps += 1
            with torch.no_grad():
                torch._foreach_lerp_(mean, parameters, 1 - min(MEAN_DECAY, steps / (steps + 10)))
            losses.append(values.tolist())
        if spent - reported > 60 * args.report:
            reported = spent
            report()
    report()


@torch.no_grad()
def _copy(parameters, values):
    torch._foreach_copy_(parameters, values)


def main(argv):
    parser = argparse.ArgumentParser(prog="train pictures.distil", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--others", nargs="*", default=[], help="folders of further .jpg pictures, of which only the teacher says what they show")
    parser.add_argument("--start", help="a checkpoint of `pictures.train`, whose last weights to start from")
    parser.add_argument("--teacher", required=True, help="an EfficientNet-Lite model of `visual`, as an ONNX file")
    parser.add_argument("--variant", help="its int8 variant, to teach faster")
    parser.add_argument("--minutes", type=float, default=40, help="of CPU time")
    parser.add_argument("--report", type=float, default=4, help="minutes of CPU time between two lines of the log, and checkpoints")
    parser.add_argument("--ring", type=int, default=6144, help="frames that are kept")
    parser.add_argument("--uses", type=float, default=2, help="how often a frame is trained on, on average")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--decay", type=float, default=0.02, help="AdamW's weight decay")
    parser.add_argument("--warmup", type=int, default=50, help="steps in which the rate rises")
    parser.add_argument("--teacher-share", type=float, default=0.5, help="of the teacher's scores, the rest the labels'")
    parser.add_argument("--rows-weight", type=float, default=0.5, help="of the divergence from the teacher's scores of ImageNet's classes")
    parser.add_argument("--embedding-weight", type=float, default=1.0, help="of the distance to the teacher's embedding")
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", default="distil", help="name of the log and the checkpoint; another one starts anew")
    parser.add_argument("--seed", type=int, default=1000)
    args = parser.parse_args(argv)
    model = check(args)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    network = initial(args)
    training, _, spared = visual.split(args)
    learned, judging = validation(spared)
    own = [p for p, chosen in zip(training, learned) if chosen]
    early = activations.Early(activations.Blocks(copy.deepcopy(network), args.split), model.view[0], args.device)
    teacher = Embedder(args.variant or args.teacher, card.read(args.teacher))
    tagger = Tagger(network, Head(model.embedding))
    lesson = Lesson(lite.released(args.teacher)[0].head, model.embedding, teacher.size, args)
    if args.start:
        stored = torch.load(args.start, weights_only=True)
        tagger.load_state_dict(stored["tagger"])
        lesson.load_state_dict(stored["loss"], strict=False)
    tagger, lesson = tagger.to(args.device, memory_format=torch.channels_last), lesson.to(args.device)
    source = stream.Stream(own, stream.outside(training, args.data, args.held_out, args.others), args.seed, model.view, teacher.view)

    def refill():
        (ours, theirs), targets = source.block(BLOCK)
        return *early(ours), torch.from_numpy(teacher(theirs)).half(), targets

    ring = stream.Ring(args.ring)
    folder = cache(args, args.split)
    targets = torch.tensor([p.target for p in training])
    shards = [torch.load(p, mmap=True, weights_only=True) for p in sorted(folder.glob("shard-*.pt"))]
    taught = [torch.load(p, mmap=True, weights_only=True)[1] for p in sorted(folder.glob("taught-*.pt"))]
    for (x, index), theirs in zip(shards, taught):
        chosen = learned[index]
        ring.add(x[chosen], theirs[chosen], targets[index[chosen]])
    while ring.place < 16 * args.batch:
        ring.add(*refill())
    hard = [(x[judging[index]], targets[index[judging[index]]]) for x, index in shards]
    plain = activations.EachFrame([p for p, chosen in zip(training, judging) if chosen], (model.view,))
    x, index = activations.run(early, plain, "plain", 0)
    judged = [tuple(map(torch.cat, zip(*hard))), (x, targets[judging][index])]
    train(tagger, lesson, ring, refill, judged, args, folder / f"{args.run}.csv")
