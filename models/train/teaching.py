# SPDX-License-Identifier: MPL-2.0
"""How a student learns from labels and a teacher: steps over so many minutes of CPU time, and the running mean of the weights.

The rate rises for `warmup` steps and then falls as half a cosine. A training that is started again continues from its last checkpoint.
"""

import copy
import csv
import math
import pathlib
import time

import torch


def add_arguments(parser, epoch):
    """What the commands on a student take."""
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="what was made before; a rerun continues from it")
    parser.add_argument("--without", type=int, nargs="+", default=[4], help="folds that validate, and that training leaves out")
    parser.add_argument("--run", help="name of the checkpoint and the log in the cache")
    parser.add_argument("--minutes", type=float, default=30, help="of CPU time of the whole training, over which the learning rate falls to nothing")
    parser.add_argument("--epoch", type=int, default=epoch, help="steps between two validations")
    parser.add_argument("--smoothing", type=float, default=0.05, help="of the labels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--metrics", default="", help="text of the exported model's card")
    parser.add_argument("--out", type=pathlib.Path)


def checkpoint(args):
    """Where a run is kept: named after the model and the folds that are left out, unless `--run` names it."""
    return args.cache / "runs" / f"{args.run or '-'.join([args.model, *map(str, args.without)])}.pt"


def averaged(student, args):
    """The student with the running mean of the weights of a run."""
    student.load_state_dict(torch.load(checkpoint(args), map_location="cpu", weights_only=True)["average"])
    return student.eval()


def plot(args):
    """The curves of training: the loss, and the loss and Hit@1 of the folds left out."""
    from .export import plots

    plots.curves(checkpoint(args).with_suffix(".csv"), args.out, args.model)


class Teaching:
    """`student` and further modules that learn with it; `average` is the student with the running mean of its weights."""

    def __init__(self, student, others, checkpoint, rate, minutes, decay=0.995, weight_decay=0.0, warmup=100):
        self.parts = {"student": student, **others}
        self.average = copy.deepcopy(student).eval()
        self.checkpoint, self.rate, self.minutes, self.decay, self.warmup = checkpoint, rate, minutes, decay, warmup
        self.trained = [p for part in self.parts.values() for p in part.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, rate, weight_decay=weight_decay, fused=True)
        self.steps, self.seconds = 0, 0.0
        if checkpoint.exists():
            stored = torch.load(checkpoint, weights_only=True)
            for name, part in self.states():
                part.load_state_dict(stored[name])
            self.steps, self.seconds = stored["steps"], stored["seconds"]

    def states(self):
        yield from {**self.parts, "average": self.average, "optimiser": self.optimiser}.items()

    def save(self):
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save({"steps": self.steps, "seconds": self.seconds} | {name: part.state_dict() for name, part in self.states()}, partial)
        partial.replace(self.checkpoint)

    def step(self, loss):
        """One step on a loss of several terms [n]; returns the terms."""
        progress = min(1, self.seconds / (60 * self.minutes))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * min(1, (self.steps + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * progress))
        self.optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 5.0)
        self.optimiser.step()
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 20))
        with torch.no_grad():
            for mean, now in zip(self.average.state_dict().values(), self.parts["student"].state_dict().values()):
                mean.lerp_(now, 1 - decay) if mean.is_floating_point() else mean.copy_(now)
        return loss.detach()

    def run(self, loss, judge, every):
        """Steps on what `loss()` returns until the time is over.

        Before the first, every so many and at the end: a line of the log with the mean of the terms and {name: figure} of `judge(average)`; then a
        checkpoint.
        """
        if not self.steps:
            self.report([0], judge(self.average))
        terms, last = [], time.process_time()
        while self.seconds < 60 * self.minutes:
            terms.append(self.step(loss()))
            now = time.process_time()
            self.seconds, last = self.seconds + now - last, now
            if self.steps % every == 0 or self.seconds >= 60 * self.minutes:
                self.report(torch.stack(terms).mean(0).tolist(), judge(self.average))
                self.save()
                terms, last = [], time.process_time()

    def report(self, terms, figures):
        row = {"step": self.steps, "minutes": round(self.seconds / 60, 1), "loss": round(sum(terms), 3)} | {k: round(v, 3) for k, v in figures.items()}
        print(", ".join(f"{k} {v}" for k, v in row.items()), "| terms", *(f"{t:.3f}" for t in terms), flush=True)
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with open(self.checkpoint.with_suffix(".csv"), "a", newline="") as file:
            table = csv.DictWriter(file, row)
            if not file.tell():
                table.writeheader()
            table.writerow(row)
