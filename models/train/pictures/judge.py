# SPDX-License-Identifier: MPL-2.0
"""How good a picture model is on pictures whose groups did not train it: figures with intervals, and its calibration."""

import numpy as np
import torch

from ..corpus import real
from ..labels import CLASSES, LABELS, NONE
from . import lite

NOTHING = CLASSES.index(NONE)
THRESHOLD = 0.5
BOOTSTRAPS, PERCENT = 2000, 95


class Scored:
    """Pictures and what a model says of them: log-probabilities [n, 14], embeddings [n, D]."""

    def __init__(self, pictures, log_p, embeddings):
        self.pictures, self.log_p, self.embeddings = pictures, np.asarray(log_p), np.asarray(embeddings)
        self.slope, self.offset = 1.0, 0.0
        self.targets = np.array([p.target for p in pictures])

    def scores(self):
        """[n, 13], calibrated."""
        return 1 / (1 + np.exp(-self.slope * lite.against_none(self.log_p) - self.offset))

    def chosen(self, kind):
        """Indices of the pictures of a kind."""
        wanted = {
            "photographs": lambda p: not p.video and p.target < NOTHING,
            "videos": lambda p: p.video and p.fold != real.TEST and p.target < NOTHING,
            "no instrument": lambda p: p.fold != real.TEST and p.folder == NONE,
            "other instruments": lambda p: p.fold != real.TEST and p.target == NOTHING and p.folder != NONE,
        }[kind]
        return np.flatnonzero([bool(wanted(p)) for p in self.pictures])

    def videos(self):
        """(target, mean scores, group) of every video."""
        found = {}
        for i in self.chosen("videos"):
            found.setdefault(self.pictures[i].video, []).append(i)
        scores = self.scores()
        return [(self.targets[ix[0]], scores[ix].mean(0), self.pictures[ix[0]].group) for ix in found.values()]

    def calibrate(self, steps=500):
        """Fit (slope, offset) to the pictures of every fold: each video and each kind of photograph counts the same."""
        chosen = np.concatenate([self.chosen("videos"), self.chosen("photographs"), self.chosen("no instrument")])
        names = [self.pictures[i].video or self.pictures[i].folder for i in chosen]
        weight = torch.tensor([(1 if self.pictures[i].video else 5) / names.count(name) for i, name in zip(chosen, names)])
        logits = torch.tensor(lite.against_none(self.log_p[chosen]))
        targets = torch.eye(len(CLASSES))[self.targets[chosen]][:, :-1]
        known = torch.tensor([[label not in self.pictures[i].unknown for label in LABELS] for i in chosen]) * weight[:, None]
        line = torch.tensor([1.0, 0.0], requires_grad=True)
        optimiser = torch.optim.Adam([line], 0.02)
        for _ in range(steps):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(line[0] * logits + line[1], targets, known)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.slope, self.offset = line.tolist()
        return self.slope, self.offset

    def figures(self):
        """{name: (per cent, low, high)}: Hit@1, Hit@3, scores above the threshold; intervals by drawing groups again."""
        scores, found = self.scores(), {}

        def hits(name, targets, scores, groups):
            order = np.argsort(-scores, 1)
            right = scores[np.arange(len(targets)), targets] > THRESHOLD
            other = scores.copy()
            other[np.arange(len(targets)), targets] = 0
            for what, values in (
                ("Hit@1", order[:, 0] == targets),
                ("Hit@3", (order[:, :3] == targets[:, None]).any(1)),
                (f"right above {THRESHOLD}", right),
                (f"wrong above {THRESHOLD}", other.max(1) > THRESHOLD),
            ):
                found[f"{name} {what}"] = interval(values, groups)

        targets, means, groups = zip(*self.videos())
        hits("videos", np.array(targets), np.stack(means), groups)
        for name, chosen in (("photographs", self.chosen("photographs")), ("frames of videos", self.chosen("videos"))):
            hits(name, self.targets[chosen], scores[chosen], [self.pictures[i].group for i in chosen])
        for name in ("no instrument", "other instruments"):
            chosen = self.chosen(name)
            found[f"{name} tagged above {THRESHOLD}"] = interval(scores[chosen].max(1) > THRESHOLD, [self.pictures[i].group for i in chosen])
        return found

    def confusions(self):
        """[(how many photographs, label, taken for)], the most frequent first."""
        chosen = self.chosen("photographs")
        pairs = list(zip(self.targets[chosen], self.scores()[chosen].argmax(1)))
        return sorted(((pairs.count((a, b)), LABELS[a], LABELS[b]) for a, b in set(pairs) if a != b), reverse=True)

    def summary(self):
        figures = self.figures()
        return "out of fold, five folds by source: " + "; ".join(
            f"{name} {figures[name][0]:.1f} ({figures[name][1]:.0f} to {figures[name][2]:.0f})" for name in figures if "Hit" in name
        )

    def save(self, path):
        np.savez(
            path,
            names=[p.path for p in self.pictures],
            videos=[p.video for p in self.pictures],
            folds=[p.fold for p in self.pictures],
            targets=self.targets,
            log_p=self.log_p,
            scores=self.scores(),
            embeddings=self.embeddings.astype(np.float16),
        )


def interval(values, groups):
    """(mean, low, high) in per cent of booleans; whole groups are drawn again."""
    names, index = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    edge = (100 - PERCENT) / 2
    return 100 * float(np.mean(values)), *(100 * float(x) for x in np.percentile(means, [edge, 100 - edge]))


def show(title, scored):
    print(title)
    for name, (value, low, high) in scored.figures().items():
        print(f"  {name:40}{value:6.1f}  ({low:.1f} to {high:.1f})")
    print("  " + ", ".join(f"{a} for {b} {n}" for n, a, b in scored.confusions()[:6]), flush=True)


@torch.no_grad()
def score(pictures, activations, taggers, split, batch=64):
    """What the taggers, {fold: tagger}, say of pictures with those cached activations: each the one of its fold."""
    log_p = torch.zeros(len(pictures), len(CLASSES))
    embeddings = torch.zeros(len(pictures), taggers[real.TEST].head.rows.in_features)
    folds = np.array([p.fold for p in pictures])
    for fold, tagger in taggers.items():
        device = next(tagger.parameters()).device
        for index in torch.from_numpy(np.flatnonzero(folds == fold)).split(batch):
            x = activations[index].float().to(device, memory_format=torch.channels_last)
            embedding = tagger.network.late(x, split)
            log_p[index], embeddings[index] = tagger.head(embedding).cpu(), embedding.cpu()
    return Scored(pictures, log_p, embeddings)
