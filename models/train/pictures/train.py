# SPDX-License-Identifier: MPL-2.0
"""Train, evaluate and export the paper's picture networks, each frame with its video's label.

The early blocks keep their weights and are run once; the later ones and the classifier are trained on random video
frames made from photographs, with their labels and, if there is one, with what a teacher says of the same frames:
its scores, and its embedding as a linear map of ours.
"""

import argparse
import copy
import csv
import time
from functools import partial

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..export import card, plots
from ..labels import CLASSES, LABELS
from . import activations, lite, visual
from .models import Head, Tagger, add_arguments, cache, check, forward, initial, validation

# The first block that `visual` trains, whose inputs it caches.
LITE_SPLIT = 16


class Teacher:
    """An EfficientNet-Lite tagger of `visual`: its answers to the same random frames, from the activations that `visual` caches."""

    def __init__(self, path, args):
        described = card.read(path)
        self.tagger, variant = lite.released(path)
        self.view = (self.tagger.network.size, described["frame.fit"], float(described["frame.crop-fraction"]))
        self.folder = visual.folder(args.cache, variant, LITE_SPLIT, self.view[1], args.held_out)
        self.early = activations.Early(activations.Blocks(self.tagger.network, LITE_SPLIT), self.view[0], args.device, args.threads)
        self.tagger.to(args.device, memory_format=torch.channels_last)

    @torch.no_grad()
    def answers(self, training, seed, i):
        """(probabilities [n, 14], embeddings float16 [n, D], picture indices [n]) of shard i."""
        x, index = activations.shard(self.folder, self.early, training, seed, i, self.view)
        device = next(self.tagger.parameters()).device
        embeddings = torch.cat([visual.embed(self.tagger, part.to(device), LITE_SPLIT) for part in x.split(64)])
        return self.tagger.head(embeddings).exp().cpu(), embeddings.half().cpu(), index


class Frames:
    """Shards of (activations, [teacher's probabilities, teacher's embedding,] picture indices) as one."""

    def __init__(self, shards, targets, chosen):
        self.shards, self.targets = shards, targets
        self.places = [(i, k) for i, s in enumerate(shards) for k in np.flatnonzero(chosen[s[-1]])]

    def __len__(self):
        return len(self.places)

    def batches(self, size, rng=None):
        """(activations, targets, [probabilities, embeddings]) of all frames, in random order with `rng`."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for start in range(0, len(order), size):
            places = [self.places[i] for i in order[start : start + size]]
            x, *taught, index = (torch.stack([self.shards[i][part][k] for i, k in places]) for part in range(len(self.shards[0])))
            yield x, self.targets[index], taught


class Loss(nn.Module):
    """Cross-entropy with the labels and, `share` of it, with the teacher's scores, and the distance of the embeddings.

    The distance is relative to the variance of the teacher's embedding, which is a linear map of ours.
    """

    def __init__(self, share, smoothing, embedding_weight, size, teacher_size=None):
        super().__init__()
        self.share, self.smoothing, self.embedding_weight = share, smoothing, embedding_weight
        self.map = None if teacher_size is None else nn.Linear(size, teacher_size)

    def forward(self, log_p, embedding, targets, taught):
        labels = nn.functional.nll_loss(log_p, targets) * (1 - self.smoothing) - self.smoothing * log_p.mean()
        if not taught:
            return labels
        probabilities, theirs = (t.float() for t in taught)
        scores = -(probabilities * log_p).sum(1).mean()
        distance = (self.map(embedding) - theirs).square().mean() / theirs.var(0).mean()
        return (1 - self.share) * labels + self.share * scores + self.embedding_weight * distance


def advance(shards, network, first, last, device):
    """The shards with their activations at block `first` brought to block `last`."""
    if first == last:
        return shards
    names = list(network.blocks)
    blocks = nn.Sequential(*(network.blocks[name] for name in names[names.index(first) : names.index(last)]))
    blocks = copy.deepcopy(blocks).to(device, torch.bfloat16, memory_format=torch.channels_last)
    with torch.no_grad():
        return [
            (torch.cat([blocks(part.to(device, torch.bfloat16)).half().contiguous().cpu() for part in tqdm(x.split(64), f"to {last}", mininterval=20)]), *rest)
            for x, *rest in shards
        ]


def probe(tagger, loss, training, args, steps=300, rate=0.01, decay=0.01):
    """Fit the classifier and the map to the teacher's embedding first, on embeddings as they are.

    Starting from random ones would change the blocks before they know what for.
    """
    embeddings, wanted, theirs = [], [], []
    with torch.no_grad():
        for x, targets, taught in training.batches(args.batch):
            embeddings.append(visual.embed(tagger, x.to(args.device), args.split))
            labels = nn.functional.one_hot(targets, len(CLASSES)).float()
            wanted.append(labels if not taught else torch.lerp(labels, taught[0].float(), args.teacher_share))
            theirs += taught[1:]
    e, wanted = torch.cat(embeddings), torch.cat(wanted).to(args.device)
    mean, deviation = e.mean(0), e.std(0) + 1e-3
    e = (e - mean) / deviation
    fitted = nn.Linear(e.shape[1], len(CLASSES)).to(args.device)
    optimiser = torch.optim.AdamW(fitted.parameters(), rate, weight_decay=decay / rate)
    for _ in range(steps):
        value = nn.functional.cross_entropy(fitted(e), wanted)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    layers = [(tagger.head, fitted.weight.detach(), fitted.bias.detach())]
    if theirs:
        theirs = torch.cat(theirs).float().to(args.device)
        gram = e.T @ e + 0.1 * len(e) * torch.eye(e.shape[1], device=args.device)
        layers.append((loss.map, torch.linalg.solve(gram, e.T @ (theirs - theirs.mean(0))).T, theirs.mean(0)))
    with torch.no_grad():
        for layer, weight, bias in layers:
            layer.weight.copy_(weight / deviation)
            layer.bias.copy_(bias - layer.weight @ mean)


def validate(tagger, loss, frames, args):
    """(mean loss, Hit@1 in per cent of the frames with an instrument)."""
    losses, hits = [], []
    with torch.no_grad():
        for x, targets, taught in frames.batches(args.batch):
            log_p, embedding = forward(tagger, x.to(args.device), args.split)
            losses.append(loss(log_p, embedding, targets.to(args.device), [t.to(args.device) for t in taught]).item() * len(x))
            known = targets < len(LABELS)
            hits += (log_p[:, : len(LABELS)].argmax(1).cpu() == targets)[known].tolist()
    return sum(losses) / len(frames), 100 * float(np.mean(hits))


def train(tagger, loss, training, validation, args, log):
    """Fine-tune in place and keep the best epoch's weights; returns the loss of every step.

    A checkpoint after every epoch lets a rerun go on; `log` is a CSV file of the epochs.
    """
    tagger.requires_grad_(False)
    names = list(tagger.network.blocks)
    late = [tagger.network.blocks[name] for name in names[names.index(args.split) :]]
    modules = [*late, tagger.head, loss]
    parameters = [p for m in modules for p in m.requires_grad_(True).parameters()]
    if args.optimiser == "sgd":
        optimiser = torch.optim.SGD(parameters, args.rate, momentum=0.9)
    else:
        optimiser = torch.optim.AdamW(parameters, args.rate, weight_decay=args.decay)
    if args.probe and not log.with_suffix(".pt").exists():
        probe(tagger, loss, training, args)
        print("the classifier alone: validation loss {:.4f}, Hit@1 {:.1f}".format(*validate(tagger, loss, validation, args)), flush=True)
    steps = -(-len(training) // args.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1, (step + 1) / max(1, args.warmup)) * 0.5 ** (step / steps // args.halve))
    state = {"epoch": 0, "best": float("inf"), "stale": 0, "losses": []}
    best = copy.deepcopy(tagger.state_dict())
    checkpoint = log.with_suffix(".pt")
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        state, best = stored["state"], stored["best"]
        tagger.load_state_dict(stored["tagger"])
        loss.load_state_dict(stored["loss"])
        optimiser.load_state_dict(stored["optimiser"])
        schedule.load_state_dict(stored["schedule"])
    end = time.monotonic() + 60 * args.minutes
    while state["epoch"] < args.epochs and state["stale"] < args.patience and time.monotonic() < end:
        rng = np.random.default_rng((args.seed, state["epoch"]))
        for x, targets, taught in tqdm(training.batches(args.batch, rng), f"epoch {state['epoch']}", steps, mininterval=20):
            log_p, embedding = forward(tagger, x.to(args.device), args.split)
            value = loss(log_p, embedding, targets.to(args.device), [t.to(args.device) for t in taught])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            state["losses"].append(value.item())
        figure, hits = validate(tagger, loss, validation, args)
        state["epoch"] += 1
        state["stale"] += 1
        if figure < state["best"]:
            state["best"], state["stale"] = figure, 0
            best = copy.deepcopy(tagger.state_dict())
        with open(log, "a", newline="") as file:
            csv.writer(file).writerow([state["epoch"], f"{np.mean(state['losses'][-steps:]):.4f}", f"{figure:.4f}", f"{hits:.2f}"])
        print(f"epoch {state['epoch']}: training loss {np.mean(state['losses'][-steps:]):.4f}, validation loss {figure:.4f}, Hit@1 {hits:.1f}", flush=True)
        torch.save(
            {
                "state": state,
                "best": best,
                "tagger": tagger.state_dict(),
                "loss": loss.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
            },
            checkpoint,
        )
    tagger.load_state_dict(best)
    return state["losses"]


def main(argv):
    parser = argparse.ArgumentParser(prog="train pictures.train", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--clips", help="folder with <label>_<number>_<second>.jpg: frames of videos, for tests alone")
    parser.add_argument("--cached", help="the block whose inputs are kept in the cache (the first that is trained by default)")
    parser.add_argument("--start", help="a checkpoint of another run, whose last weights to start from")
    parser.add_argument("--probe", action="store_true", help="fit the classifier before anything else is trained")
    parser.add_argument("--teacher", help="an EfficientNet-Lite model of `visual` that teaches, as an ONNX file")
    parser.add_argument("--teacher-share", type=float, default=0.5, help="of the teacher's scores, the rest the labels'")
    parser.add_argument("--embedding-weight", type=float, default=0.5, help="of the distance to the teacher's embedding")
    parser.add_argument("--shards", type=int, default=12, help=f"of {activations.SHARD} random frames each")
    parser.add_argument("--epochs", type=int, default=100, help="0: measure and export only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--optimiser", choices=("sgd", "adamw"), default="sgd", help="sgd has momentum 0.9")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--decay", type=float, default=0.05, help="AdamW's weight decay")
    parser.add_argument("--warmup", type=int, default=0, help="steps in which the rate rises")
    parser.add_argument("--halve", type=float, default=5, help="epochs after which the rate is halved")
    parser.add_argument("--patience", type=int, default=5, help="epochs without a better validation loss before it stops")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no epoch after so many")
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", default="run", help="name of the log and the checkpoint; another one starts anew")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", help="the ONNX file to write")
    parser.add_argument("--bits", type=int, choices=(16, 8), default=16, help="of a weight in the file")
    parser.add_argument("--curve", help="the PNG file of the training loss to write")
    args = parser.parse_args(argv)
    if args.init == "nsfwjs" and not args.weights:
        parser.error("--init nsfwjs needs --weights, the folder package/dist/models/inception_v3 of the npm package")
    model = check(args)
    args.cached = args.cached or model.split
    name = f"{args.model}-yt8m13"
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    network = initial(args)
    training, test, left_out = visual.split(args)
    early = activations.Early(activations.Blocks(copy.deepcopy(network), args.cached), model.view[0], args.device, args.threads)
    folder = cache(args, args.cached)
    shards = [activations.shard(folder, early, training, args.seed + i, i, model.view) for i in range(args.shards)]
    if args.teacher:
        teacher = Teacher(args.teacher, args)
        for i, (x, index) in enumerate(shards):
            *taught, same = activations.cached(folder / f"taught-{i:03d}.pt", partial(teacher.answers, training, args.seed + i, i))
            assert torch.equal(index, same)
            shards[i] = (x, *taught, index)
    targets = torch.tensor([p.target for p in training])
    learned, judging = validation(left_out)
    tagger = Tagger(network, Head(model.embedding))
    if args.start:
        tagger.load_state_dict(torch.load(args.start, weights_only=True)["tagger"])
    tagger = tagger.to(args.device, memory_format=torch.channels_last)
    shards = advance(shards, tagger.network, args.cached, args.split, args.device)
    if args.epochs:
        loss = Loss(args.teacher_share, args.smoothing, args.embedding_weight, model.embedding, shards[0][2].shape[1] if args.teacher else None).to(args.device)
        losses = train(tagger, loss, Frames(shards, targets, learned), Frames(shards, targets, judging), args, folder / f"{args.run}.csv")
        if args.curve:
            plots.curve(losses, args.curve)
    tests = visual.test_views(folder, early, test, model.view)
    clips = visual.clip_views(folder, early, args.clips, model.view) if args.clips else {}
    tagger.eval()
    figures, means = visual.evaluate(tagger, args.cached, tests["plain"], tests["video-like"], test, clips)
    visual.show(name, figures)
    visual.show_clips(means)
    if args.export:
        taught = ", taught by " + card.read(args.teacher)["name"] if args.teacher else ""
        visual.export(
            tagger,
            args.export,
            name,
            model.view,
            visual.summary(figures, args.held_out),
            f"{model.inits[args.init]}; blocks from {args.cached if args.start else args.split} on trained on photographs of instruments (a public 30-class "
            f"set, ImageNet samples) made to look like video frames{taught}",
            bits=args.bits,
        )
