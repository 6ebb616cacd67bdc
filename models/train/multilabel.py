# SPDX-License-Identifier: MPL-2.0
"""A multi-label head on the fine-tuned YAMNet: a sigmoid, one score an instrument, for music in which several sound.

Trained on mixtures of one to four instruments made on the fly, with all of them as labels; the embedding stays as it is.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import nn
from tqdm import tqdm

from . import audio, card, half
from .labels import LABELS
from .patches import Corpus, Patches, decibel

NAME = "yamnet-multi-yt8m13"
MOST = 4       # instruments in a mixture
SECONDS = 4.8  # of a mixture


class Mixtures(Patches):
    """Endless (patch, which of the 13 labels sound) pairs. 8 % of them have none."""

    def draw(self, rng):
        target = np.zeros(len(LABELS), np.float32)
        if rng.random() < 0.08:
            return self.nothing(rng), np.append(target, 1), None
        power = 0
        for label in rng.choice(self.labels, rng.integers(1, MOST + 1), replace=False):
            part = self.content(rng, self.choose(rng, label))
            power = power + part / (part.mean() + 1e-12) * decibel(rng, -10, 0)
            target[label] = 1
        return power, np.append(target, 0), None

    def accompaniment(self, rng, label):
        """Other instruments alone: everything else would be a label."""
        others = self.corpus.others
        return self.fill(self.crop(rng, others[rng.integers(len(others))], self.size)) if others else self.noise(rng)

    def some(self, count, seed, network):
        """(embeddings [count,1024], labels [count,13]) by a network."""
        rng, embeddings, labels = np.random.default_rng(seed), [], []
        for _ in tqdm(range(count // 8), mininterval=20):
            mels, targets, _ = zip(*(self.item(rng) for _ in range(8)))
            with torch.no_grad():
                embeddings.append(network(torch.from_numpy(np.stack(mels)))[1])
            labels.append(torch.from_numpy(np.stack(targets)[:, :len(LABELS)]))
        return torch.cat(embeddings), torch.cat(labels)


class Multi(nn.Module):
    """The tagger's own log-odds of the labels, scaled and shifted, and a linear correction of them."""

    def __init__(self, tagger):
        super().__init__()
        self.tagger = tagger.requires_grad_(False)
        self.scale, self.more = nn.Parameter(torch.ones(len(LABELS))), nn.Linear(audio.EMBEDDING, len(LABELS))
        nn.init.zeros_(self.more.weight), nn.init.zeros_(self.more.bias)

    def logits(self, embedding):
        return self.tagger.head(embedding)[:, :len(LABELS)] * self.scale + self.more(embedding)

    def forward(self, mel):
        _, embedding = self.tagger(mel)
        return torch.sigmoid(self.logits(embedding)), embedding


def mean_average_precision(scores, labels):
    """Over the labels that occur, in per cent."""
    return 100 * np.mean([average_precision_score(labels[:, k], scores[:, k]) for k in range(len(LABELS)) if labels[:, k].any()])


def main(argv):
    parser = argparse.ArgumentParser(prog="train multilabel", description=__doc__)
    audio.add_arguments(parser)
    parser.add_argument("--mixtures", type=int, default=4000, help="to train with; a quarter as many of other sources test")
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tagger = audio.trained(args)
    half.round_weights(tagger)
    frames = 96 * round(SECONDS / 0.96)

    def mixtures(count, seed, **sources):
        corpus = Corpus(args.cache, tagger.frontend, **sources)
        return Mixtures(corpus, frames, seed, strength=0.7).some(count, seed, tagger)

    x, y = mixtures(args.mixtures, args.seed, left_out=audio.VALIDATION)
    tests = {"validation sources": mixtures(args.mixtures // 4, 101, only=audio.VALIDATION),
             "test sources": mixtures(args.mixtures // 4, 102, folder="test")}
    multi = Multi(tagger)
    parameters = [multi.scale, *multi.more.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.1)

    def report(when):
        with torch.no_grad():
            print(f"{when}: mean average precision " + ", ".join(f"{name} {mean_average_precision(multi.logits(a).numpy(), b.numpy()):.1f}" for name, (a, b) in tests.items()))

    report("single-label scores")
    for step in range(args.steps):
        chosen = torch.randint(len(x), (256,))
        loss = F.binary_cross_entropy_with_logits(multi.logits(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report(f"trained, loss {loss.item():.3f}")
    half.round_weights(multi)
    a, b = tests["test sources"]
    with torch.no_grad():
        figure = mean_average_precision(multi.logits(a).numpy(), b.numpy())
    description = card.describe(NAME, "audio", f"{NAME}/1", "MPL-2.0", args.provenance,
                                f"mixtures of 1 to {MOST} instruments of sources that are not in training: mAP {figure:.1f}", frontend=tagger.frontend)
    audio.write(multi, tagger.frontend, args.out, description)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, mAP {figure:.1f}")
