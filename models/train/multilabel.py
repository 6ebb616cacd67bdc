# SPDX-License-Identifier: MPL-2.0
"""YAMNet for music in which several instruments sound: a sigmoid, one score an instrument.

The released tagger, its last layers trained on with mixtures of one to four instruments made on the fly, with all of them as labels.
"""

import argparse
import copy
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import nn
from tqdm import tqdm

from . import audio, card, half, yamnet
from .frontend import YAMNET
from .labels import LABELS
from .patches import Corpus, Patches, decibel
from .yamnet import WINDOW

NAME = "yamnet-multi-yt8m13"
MOST = 4            # instruments in a mixture
TEST_SECONDS = 4.8  # of a mixture that tests
ANCHOR = 1e-3       # pull towards the weights it began with, a step


class Mixtures(Patches):
    """Endless (patch, which of the 13 labels sound or, last, none, 0) triples. 8 % of them have none."""

    def draw(self, rng):
        target = np.zeros(len(LABELS), np.float32)
        if rng.random() < 0.08:
            return self.nothing(rng), np.append(target, 1), 0
        power = 0
        for label in rng.choice(self.labels, rng.integers(1, MOST + 1), replace=False):
            part = self.content(rng, self.choose(rng, label))
            power = power + part / (part.mean() + 1e-12) * decibel(rng, -10, 0)
            target[label] = 1
        return power, np.append(target, 0), 0

    def accompaniment(self, rng, label):
        """Other instruments alone: everything else would be a label."""
        others = self.corpus.others
        return self.fill(self.crop(rng, others[rng.integers(len(others))], self.size)) if others else self.noise(rng)


class Multi(nn.Module):
    """The tagger's own log-odds of the labels, scaled and shifted, and a linear correction of them."""

    def __init__(self, tagger):
        super().__init__()
        self.tagger = tagger
        self.scale, self.more = nn.Parameter(torch.ones(len(LABELS))), nn.Linear(audio.EMBEDDING, len(LABELS))
        nn.init.zeros_(self.more.weight), nn.init.zeros_(self.more.bias)

    def logits(self, mel):
        """(log-odds [N,13], embedding [N,1024])."""
        logits, embedding = self.tagger(mel)
        return logits[:, :len(LABELS)] * self.scale + self.more(embedding), embedding

    def forward(self, mel):
        logits, embedding = self.logits(mel)
        return torch.sigmoid(logits), embedding


def mean_average_precision(scores, labels):
    """Over the labels that occur, in per cent."""
    return 100 * np.mean([average_precision_score(labels[:, k], scores[:, k]) for k in range(len(LABELS)) if labels[:, k].any()])


class Test:
    """Mixtures that stay the same, and the mean average precision of a network on them."""

    def __init__(self, count, seed, corpus):
        rng, drawn = np.random.default_rng(seed), Mixtures(corpus, round(TEST_SECONDS / 0.96) * WINDOW, seed, strength=0.7)
        self.mels, labels, _ = zip(*(drawn.item(rng) for _ in tqdm(range(count), "mixtures", mininterval=20)))
        self.labels = np.stack(labels)[:, :len(LABELS)] > 0

    @torch.no_grad()
    def scores(self, multi):
        multi = copy.deepcopy(multi).eval()
        return np.concatenate([multi(torch.from_numpy(np.stack(self.mels[i:i + 16])))[0].numpy() for i in range(0, len(self.mels), 16)])

    def __call__(self, multi):
        return mean_average_precision(self.scores(multi), self.labels)


def train(multi, drawn, args, report):
    """Adam, the rate falling to nothing as a half cosine of the CPU time; returns the running mean of the weights."""
    own = [p for p in multi.tagger.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in own]
    optimizer = torch.optim.Adam([{"params": own, "peak": args.rate},
                                  {"params": [multi.scale, *multi.more.parameters()], "peak": 10 * args.rate}], fused=True)
    mean, began, step, reported = copy.deepcopy(multi), time.process_time(), 0, 0.0
    batches = iter(torch.utils.data.DataLoader(drawn, batch_size=args.batch))
    while (spent := (time.process_time() - began) / 60 / args.minutes) < 1:
        factor = min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * spent))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        mels, targets, _ = next(batches)
        multi.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits, _ = multi.logits(mels)
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets[:, :len(LABELS)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(own, start, ANCHOR * factor)  # towards the weights it began with (L2-SP)
            torch._foreach_lerp_(list(mean.parameters()), list(multi.parameters()), 1 - min(audio.DECAY, step / (step + 20)))
        if spent - reported > 0.2:
            reported = spent
            report(mean, f"step {step}, {spent * args.minutes:.1f} min, loss {loss.item():.3f}")
    report(mean, f"step {step}, at the end")
    return mean.eval()


def main(argv):
    parser = argparse.ArgumentParser(prog="train multilabel", description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with teachers/")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="with the corpus of `render`")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="the exported YAMNet to start from")
    parser.add_argument("--minutes", type=float, default=14, help="of CPU time")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-4, help="highest learning rate; the new layer's is ten times that")
    parser.add_argument("--tests", type=int, default=1000, help="mixtures of other sources that test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provenance", default="")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the ONNX file to write")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    multi = Multi(yamnet.released(args.model, args.data / "teachers"))
    tests = {"validation sources": Test(args.tests // 2, 101, Corpus(args.cache, YAMNET, only=audio.VALIDATION)),
             "test sources": Test(args.tests, 102, Corpus(args.cache, YAMNET, folder="test"))}

    def report(network, when):
        print(f"{when}: mean average precision " + ", ".join(f"{name} {test(network):.1f}" for name, test in tests.items()), flush=True)

    report(multi, "the single-label scores")
    corpus = Corpus(args.cache, YAMNET, left_out=audio.VALIDATION)
    multi = train(multi, Mixtures(corpus, audio.MODELS["yamnet"].frames, args.seed, strength=0.7), args, report)
    half.round_weights(multi)
    test = tests["test sources"]
    scores = test.scores(multi)
    for k, label in enumerate(LABELS):
        if test.labels[:, k].any():
            print(f"  {label:10} in {test.labels[:, k].sum():4}: average precision {100 * average_precision_score(test.labels[:, k], scores[:, k]):.1f}")
    figure = mean_average_precision(scores, test.labels)
    description = card.describe(NAME, "audio", f"{NAME}/1", "MPL-2.0", args.provenance,
                                f"{args.tests} mixtures of 1 to {MOST} instruments of sources that are not in training: mAP {figure:.1f}", frontend=YAMNET)
    audio.write(multi, YAMNET, args.out, description)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, mAP {figure:.1f}")
