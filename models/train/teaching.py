# SPDX-License-Identifier: MPL-2.0
"""How a student learns from labels and a teacher: steps over so many minutes of CPU time, and the running mean of the weights.

The rate rises for `warmup` steps and then falls as half a cosine. A training that is started again continues from its last checkpoint.
"""

import copy
import csv
import math
import time

import torch


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

        Every so many steps and at the end: a line of the log with the mean of the terms and {name: figure} of `judge(average)`, and a checkpoint.
        """
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
