# SPDX-License-Identifier: MPL-2.0
"""Train, judge and export the paper's picture networks, taught by the labels and by the default picture model.

    python -m train pictures.train train --data DATA --cache CACHE --teacher efficientnet-lite-yt8m13.onnx --without 4
    python -m train pictures.train judge --data DATA --cache CACHE --without 4 --out inception.jsonl
    python -m train pictures.train export --data DATA --cache CACHE --without 4 --out inception-yt8m13.onnx

Each frame goes through the frozen blocks and the teacher once and is trained on a few times while it is in the ring of the latest
ones. The student learns the labels, the teacher's scores, the teacher's embedding as a linear map of its own, and what the
teacher's classifier of ImageNet's classes says of that map. What is judged and exported is the running mean of the weights.
"""

import argparse
import copy
import pathlib

import numpy as np
import torch
from torch import nn

from ..corpus import photographs, real
from ..export import card
from ..labels import CLASSES, LABELS
from ..scores import line, scores
from ..teaching import Teaching, add_arguments, averaged, checkpoint, plot
from . import activations, lite, stream
from .embedder import Embedder
from .export import write
from .models import MODELS, beginning, late

# Frames that are made, and go through the frozen blocks, at once: few, so that they stay in the processor's caches.
BLOCK = 16
# One of so many pictures of the folds left out validates.
VALIDATED = 4
EPOCH = 50  # steps between two validations


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
        said = -(wanted * log_p).sum(1).mean()
        divergence = (rows.exp() * (rows - self.head.rows(mapped).log_softmax(1))).sum(1).mean()
        distance = (mapped - theirs).square().mean() / theirs.var(0).mean()
        return torch.stack([said, args.rows_weight * divergence, args.embedding_weight * distance])


def train(args):
    model = MODELS[args.model]
    split, pictures = args.split or model.split, photographs.every(args.data, args.cache)
    own = [p for p in pictures if p.fold not in (*args.without, real.TEST) and (p.target >= 0 or p.video)]
    tagger = beginning(model, args.start, args.init)
    early = activations.Early(activations.Blocks(copy.deepcopy(tagger.network), split), model.view[0], args.device, args.threads)
    teacher = Embedder(args.variant or args.teacher, card.read(args.teacher))
    lesson = Lesson(lite.released(args.teacher)[0].head, model.embedding, teacher.size, args)
    tagger.requires_grad_(False)
    names = list(tagger.network.blocks)
    for part in [*(tagger.network.blocks[n] for n in names[names.index(split) :]), tagger.head]:
        part.requires_grad_(True)
    tagger, lesson = tagger.to(args.device, memory_format=torch.channels_last), lesson.to(args.device)
    teaching = Teaching(tagger, {"lesson": lesson}, checkpoint(args), args.rate, args.minutes, decay=0.99, weight_decay=args.decay)

    judged = [p for p in pictures if p.fold in args.without and 0 <= stream.told(p) < len(LABELS)][::VALIDATED]
    x, _ = activations.run(early, activations.EachFrame(judged, (model.view,)), "validation", 0)
    targets = torch.tensor([p.target for p in judged])

    @torch.no_grad()
    def validation(tagger):
        log_p = torch.cat([late(tagger, part.to(args.device), split)[0].cpu() for part in x.split(64)])
        return {"validation": nn.functional.nll_loss(log_p, targets).item(), "hit1": 100 * (log_p[:, :-1].argmax(1) == targets).float().mean().item()}

    source = stream.Stream(own, args.seed + teaching.steps, model.view, teacher.view)
    ring, rng, made = stream.Ring(args.ring), np.random.default_rng(args.seed + teaching.steps), 0

    def refill():
        (ours, theirs), told = source.block(BLOCK)
        ring.add(*early(ours), torch.from_numpy(teacher(theirs)).half(), told)

    def loss():
        nonlocal made
        while ring.place < 8 * args.batch or made * args.uses < args.batch * (teaching.steps + 1 - first):
            refill()
            made += BLOCK
        x, theirs, told = ring.draw(rng, args.batch)
        log_p, embedding = late(tagger, x.to(args.device), split)
        return lesson(log_p, embedding, told.to(args.device), theirs.float().to(args.device))

    first = teaching.steps
    teaching.run(loss, validation, args.epoch)


def judge(args):
    """Scores of the pictures of the folds left out and of those that only test: figures by source, and JSON lines of videos."""
    model, known = MODELS[args.model], photographs.every(args.data, args.cache)
    pictures = [p for p in known if p.fold in (*args.without, real.TEST) and 0 <= p.target < len(LABELS) and p.folder not in photographs.LOOKALIKES]
    tagger = activations.Early(averaged(beginning(model, None, "random"), args), model.view[0], "cpu", args.threads)
    tags = activations.run(tagger, activations.EachFrame(pictures, (model.view,)), "judged", 0)[0].float().numpy()
    groups = {}
    for k, p in enumerate(pictures):
        kind = "test videos" if p.video and p.fold == real.TEST else "videos" if p.video else p.source
        groups.setdefault(kind, {}).setdefault(p.video or p.path, []).append(k)
    for kind, own in groups.items():
        means, targets = [tags[rows].mean(0) for rows in own.values()], [pictures[rows[0]].target for rows in own.values()]
        print(f"{kind} n={len(own)}", *(f"{k} {v:.1f}" for k, v in scores(means, targets).items()), flush=True)
    if args.out:
        files = {photographs.video_of(i): i.path for i in real.items(args.data, "clips", "clips-test", "sop")}
        found = [(files.get(video), tags[rows].mean(0)) for kind, own in groups.items() if "videos" in kind for video, rows in own.items()]
        args.out.write_text("".join(line(path, "video", row) + "\n" for path, row in found if path))


def export(args):
    model = MODELS[args.model]
    write(
        averaged(beginning(model, None, "random"), args),
        args.out,
        f"{args.model}-yt8m13",
        model.view,
        args.metrics,
        f"{model.inits[args.init]}; blocks from {args.split or model.split} on trained on photographs of instruments and frames of people's videos, taught by "
        "efficientnet-lite-yt8m13",
        bits=args.bits,
        embedding=model.release,
    )


def main(argv):
    parser = argparse.ArgumentParser(prog="train pictures.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "judge", "export", "plot"))
    parser.add_argument("--model", choices=MODELS, default="inception")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with images/<label>/<source>_<number>.jpg and clips/")
    add_arguments(parser, EPOCH)
    parser.add_argument("--start", help="an exported model of the network to begin with")
    parser.add_argument("--init", default="google", help="the weights to begin with otherwise: a name of the network's table of them")
    parser.add_argument("--split", help="the first block that is trained")
    parser.add_argument("--teacher", help="an EfficientNet-Lite model, as an ONNX file; for training")
    parser.add_argument("--variant", help="its int8 variant, to teach faster")
    parser.add_argument("--ring", type=int, default=4096, help="frames that are kept")
    parser.add_argument("--uses", type=float, default=2, help="how often a frame is trained on, on average")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--decay", type=float, default=0.02, help="AdamW's weight decay")
    parser.add_argument("--teacher-share", type=float, default=0.5, help="of the teacher's scores, the rest the labels'")
    parser.add_argument("--rows-weight", type=float, default=0.5, help="of the divergence from the teacher's scores of ImageNet's classes")
    parser.add_argument("--embedding-weight", type=float, default=1.0, help="of the distance to the teacher's embedding")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bits", type=int, choices=(16, 8), default=16, help="of a weight in the exported file")
    args = parser.parse_args(argv)
    model = MODELS[args.model]
    for option, value, known in (("--init", args.init, model.inits), ("--split", args.split or model.split, model.blocks)):
        if value not in known:
            parser.error(f"{option} {value}: {args.model} has {', '.join(known)}")
    if args.command == "train" and not args.teacher:
        parser.error("train requires --teacher")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    {"train": train, "judge": judge, "export": export, "plot": plot}[args.command](args)
