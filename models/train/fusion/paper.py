# SPDX-License-Identifier: MPL-2.0
"""The paper's fusion: k frame embeddings and one audio embedding, flattened, through fully connected layers.

The input has 2 k + 1 rows of 1024: a frame's 2048 numbers take two, the sound's 1024 one.

| layer | output, k = 20 |
| --- | --- |
| flatten, batch norm | 41984 |
| fully connected, ReLU; again (the published settings: once) | 1024 |
| batch norm | 1024 |
| fully connected, softmax | 14 |

There are no thousands of labelled videos to train 44 million weights on. So the fusion learns what the two models' own classifiers say,
or a share of it (`--taught`) beside the labels: the product of both, or the one that is there when the other is missing. Training
begins with one frame embedding in the place of all, the mean over the frames: the same network with k = 1. Its weights, repeated for each
frame and divided by k, are the same function of all frames; they are trained on from there, the frames in their own places.
A missing modality's rows are zero behind the batch norm.
"""

import argparse
import copy
import math

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..export import card, half
from ..export.session import session
from ..features import inputs
from ..labels import CLASSES, LABELS
from ..scores import scores
from . import parents
from .parents import BOTH, HEARD, SEEN

ROW = 1024
CASES = (BOTH, SEEN, HEARD)
# What neither model may say less than before the two are multiplied.
FLOOR = 0.02
# steps between two looks at the validation loss
REPORT = 50


def parameters(k, layers):
    """How many numbers the network has that are learned."""
    n = (2 * k + 1) * ROW
    return 2 * n + (n + 1) * ROW + (layers - 1) * (ROW + 1) * ROW + 2 * ROW + (ROW + 1) * len(CLASSES)


class PaperFusion(nn.Module):
    """`video` [N, k, 2048], `audio` [N, 1024], `present` [N, 2] to log-probabilities [N, 14]."""

    def __init__(self, k, layers=2):
        super().__init__()
        self.k = k
        self.norm = nn.BatchNorm1d((2 * k + 1) * ROW)
        sizes = [(2 * k + 1) * ROW] + [ROW] * layers
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))
        self.drop = nn.Dropout(0.5)
        self.last_norm = nn.BatchNorm1d(ROW)
        self.output = nn.Linear(ROW, len(CLASSES))
        self.register_buffer("temperature", torch.ones(3))
        count = sum(p.numel() for p in self.parameters())
        assert count == parameters(k, layers), f"the fusion has {count} parameters instead of {parameters(k, layers)}"

    def forward(self, video, audio, present):
        x = self.norm(torch.cat([video.flatten(1), audio], 1))
        seen, heard = present[:, :1], present[:, 1:]
        x = torch.cat([x[:, :-ROW] * seen, x[:, -ROW:] * heard], 1)
        for layer in self.hidden:
            x = torch.relu(layer(self.drop(x)))
        t = self.temperature
        t = seen * heard * t[0] + seen * (1 - heard) * t[1] + heard * (1 - seen) * t[2]
        return (self.output(self.last_norm(x)) / t).log_softmax(-1)

    @torch.no_grad()
    def spread(self, k, video):
        """The same function of k frames, given all single frames' embeddings [n, 2048] for the batch norm's statistics."""
        wide = PaperFusion(k, len(self.hidden))
        norm, first = self.norm, self.hidden[0]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        old_mean, mean, variance = norm.running_mean, norm.running_mean.clone(), norm.running_var.clone()
        mean[:-ROW], variance[:-ROW] = video.mean(0), video.var(0)
        deviation = torch.sqrt(variance + norm.eps)

        def repeat(x):
            return torch.cat([x[..., :-ROW].repeat(*[1] * (x.ndim - 1), k), x[..., -ROW:]], -1)

        wide.norm.running_mean.copy_(repeat(mean))
        wide.norm.running_var.copy_(repeat(variance))
        # So that the weights below, behind the new statistics, add what they added behind the old ones.
        wide.norm.bias.copy_(repeat(((mean - old_mean) + norm.bias / scale) / deviation))
        wide.hidden[0].weight.copy_(repeat(first.weight * scale * deviation))
        wide.hidden[0].weight[:, :-ROW] /= k
        wide.hidden[0].bias.copy_(first.bias)
        for ours, theirs in zip([*wide.hidden[1:], wide.last_norm, wide.output], [*self.hidden[1:], self.last_norm, self.output]):
            ours.load_state_dict(theirs.state_dict())
        return wide


class Exported(nn.Module):
    """The offsets of the first batch norm and all of the last one folded: `tags` [N, 13].

    The scales of the first one stay apart: embeddings whose sizes differ by far would leave few of the steps of the weights' 4 bits in use.
    """

    @torch.no_grad()
    def __init__(self, trained):
        super().__init__()
        norm, first = trained.norm, trained.hidden[0]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        offset = norm.bias - norm.running_mean * scale
        # What a modality adds when it is present, apart from its embedding.
        parts = [first.weight[:, part] @ offset[part] for part in (slice(None, -ROW), slice(-ROW, None))]
        self.offsets = nn.Parameter(torch.stack(parts))
        self.hidden = copy.deepcopy(trained.hidden)
        self.scale = nn.Parameter(scale)
        self.output = copy.deepcopy(trained.output)
        norm = trained.last_norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.output.bias += self.output.weight @ (norm.bias - norm.running_mean * scale)
        self.output.weight *= scale
        self.register_buffer("temperature", trained.temperature.clone())

    def forward(self, video, audio, present):
        seen, heard = present[:, :1], present[:, 1:]
        x = torch.cat([video.flatten(1) * seen, audio * heard], 1) * self.scale
        x = torch.relu(self.hidden[0](x) + present @ self.offsets)
        for layer in self.hidden[1:]:
            x = torch.relu(layer(x))
        t = self.temperature
        t = seen * heard * t[0] + seen * (1 - heard) * t[1] + heard * (1 - seen) * t[2]
        return torch.softmax(self.output(x) / t, 1)[:, : len(LABELS)]


class Material:
    """Embeddings of sounds and of frames, what the models' own classifiers say of each, and pairs of them."""

    def __init__(self, sounds, frames, pairs, classifiers=(None, None)):
        self.sounds, self.frames, self.pairs = sounds, frames, pairs
        self.looks, self.heard = classifiers

    def batch(self, n, mean=False):
        """(video [n, k or 1, 2048], audio [n, 1024], classes [n])."""
        return self._embeddings(*self.pairs.batch(n), mean)

    def taught(self, n, mean):
        """The same, and the classifiers' probabilities [n, 3, 14] for CASES."""
        sounds, frames, classes = self.pairs.batch(n)
        looks, heard = torch.stack([self.looks[f].mean(0) for f in frames]), self.heard[sounds]
        both = (looks + FLOOR) * (heard + FLOOR)
        experts = torch.stack([both / both.sum(1, keepdim=True), looks, heard], 1)
        return *self._embeddings(sounds, frames, classes, mean), experts

    def _embeddings(self, sounds, frames, classes, mean):
        video = torch.stack([self.frames[f] for f in frames])
        return video.mean(1, keepdim=True) if mean else video, self.sounds[sounds], classes


def train(model, material, validation, args, stage):
    """Adam with the modalities missing now and then; returns the weights of the best validation loss."""
    torch.manual_seed(args.seed + stage)
    steps, rate = args.steps[stage], args.rate[stage]
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    best, least = copy.deepcopy(model), judge(model, *validation)
    shares = torch.tensor([1 - 2 * args.missing, args.missing, args.missing])
    bar = tqdm(range(steps), f"k={model.k}", mininterval=20)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        video, audio, classes, experts = material.taught(args.batch, model.k == 1)
        case = torch.multinomial(shares, len(classes), replacement=True)
        wanted = nn.functional.one_hot(classes, len(CLASSES)).float().lerp(experts[torch.arange(len(case)), case], args.taught)
        model.train()
        log_p = model(video, audio, torch.tensor(CASES)[case])
        loss = nn.functional.cross_entropy(log_p, wanted, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % REPORT == 0 or step + 1 == steps:
            value = judge(model, *validation)
            bar.set_postfix_str(f"validation {value:.3f}")
            if value < least:
                best, least = copy.deepcopy(model), value
    return best.eval()


@torch.no_grad()
def judge(model, video, audio, classes):
    """Mean loss over the three cases."""
    model.eval()
    if model.k == 1:
        video = video.mean(1, keepdim=True)
    losses = [nn.functional.nll_loss(model(video, audio, torch.tensor(p).expand(len(classes), 2)), classes) for p in CASES]
    return float(sum(losses)) / 3


@torch.no_grad()
def compare(model, args, batch):
    """({method: figures}, {method: probabilities}) of the sound and the picture model's own heads, their mean, and the fusion."""
    video, sound, classes = batch
    looks = parents.log_probabilities(args.video_model, video.flatten(0, 1)).exp().reshape(len(classes), -1, len(CLASSES)).mean(1)
    sounds = parents.log_probabilities(args.audio_model, sound).exp()
    methods = {"sound": sounds, "pictures": looks, "mean of both": (looks + sounds) / 2}
    for name, present in (("fusion", BOTH), ("fusion, pictures alone", SEEN), ("fusion, sound alone", HEARD)):
        methods[name] = model(video, sound, torch.tensor(present).expand(len(classes), 2)).exp()
    return {name: scores(p, classes) | parents.calibration(p, classes) for name, p in methods.items()}, methods


class File:
    """The exported file, called as the network is."""

    def __init__(self, path):
        self.session = session(str(path))

    def __call__(self, video, audio, present):
        feed = {"video": video, "audio": audio, "present": present}
        return parents.with_none(torch.from_numpy(self.session.run(["tags"], {k: v.numpy() for k, v in feed.items()})[0]))


def judged(model, args, tests, note=""):
    """Show and return {test: figures}."""
    results = {name: compare(model, args, batch)[0] for name, batch in tests.items()}
    for name, figures in results.items():
        print(f"{name}, {len(tests[name][2])}{note}")
        for method, values in figures.items():
            print(f"  {method:24}" + "  ".join(f"{k} {v:5.1f}" for k, v in values.items()), flush=True)
    return results


def main(argv):
    parser = argparse.ArgumentParser(prog="train fusion.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parents.add_arguments(parser)
    parser.add_argument("--k", type=int, default=20, help="frames of a video (the paper: 20 for YouTube-8M, 50 for FCVID)")
    parser.add_argument("--layers", type=int, choices=(1, 2), default=2, help="fully connected layers (the published settings: 1)")
    parser.add_argument("--steps", type=int, nargs=2, default=(800, 20), metavar=("MEAN", "FRAMES"), help="with the mean frame, and with all frames")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, nargs=2, default=(1e-3, 3e-5), metavar=("MEAN", "FRAMES"))
    parser.add_argument("--missing", type=float, default=0.2, help="share of the pairs without pictures, and without sound")
    parser.add_argument("--taught", type=float, default=1.0, help="share of the models' own classifiers in what is learned, the rest the labels'")
    parser.add_argument("--bits", type=int, choices=(4, 8, 16), default=4, help="of a weight in the file")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    frontend = inputs.settings(card.read(args.audio_model))
    names = [card.read(path)["name"].removesuffix("-yt8m13") for path in (args.video_model, args.audio_model)]
    args.name = args.name or f"fusion-{'-'.join(names)}-k{args.k}"
    sounds, classes = parents.sounds(args, frontend)
    shown = parents.pictures(args)
    sounds, frames = torch.from_numpy(sounds), torch.from_numpy(shown["embeddings"].astype(np.float32))
    classifiers = [parents.log_probabilities(model, e).exp() for model, e in ((args.video_model, frames), (args.audio_model, sounds))]
    # A quarter sets the temperature.
    spare = np.arange(len(classes)) % 4 == 3, shown["pictures"] % 4 == 3
    own, kept = (
        Material(
            sounds,
            frames,
            parents.Pairs(
                np.where(heard, classes, -1), (np.flatnonzero(seen), shown["classes"][seen], shown["pictures"][seen]), args.seed + i, mismatch, args.k
            ),
            classifiers,
        )
        for i, (heard, seen, mismatch) in enumerate(((~spare[0], ~spare[1], args.mismatch), (*spare, (0, 0))))
    )
    validation = kept.batch(600)
    model = PaperFusion(1, args.layers)
    with torch.no_grad():  # the statistics of the first batch norm are roughly right from the start
        video, audio, _ = own.batch(256, mean=True)
        x = torch.cat([video.flatten(1), audio], 1)
        model.norm.running_mean.copy_(x.mean(0)), model.norm.running_var.copy_(x.var(0))
    model = train(model, own, validation, args, 0)
    wide = model.spread(args.k, frames[torch.from_numpy(~spare[1])])
    wide.eval()
    print(
        f"{args.name}: {sum(p.numel() for p in wide.parameters()):,} parameters; validation loss {judge(model, *validation):.4f} "
        f"with the mean frame, {judge(wide, *validation):.4f} with all frames"
    )
    if args.steps[1]:
        wide = train(wide, own, validation, args, 1)
        print(f"validation loss {judge(wide, *validation):.4f} after training with all frames")
    with torch.no_grad():
        video, audio, classes = kept.batch(2000)
        wide.temperature.copy_(torch.tensor([parents.temperature(wide(video, audio, torch.tensor(p).expand(len(classes), 2)), classes) for p in CASES]))
    print("temperatures", wide.temperature.tolist())

    tests = parents.videos(args, frontend)
    results = judged(wide, args, tests)
    if args.export:
        video, sound, _ = next(iter(tests.values()))
        example = {"video": video[:3], "audio": sound[:3], "present": torch.tensor(CASES)}
        card.export(Exported(wide), example, ["tags"], args.export, parents.describe(args, results, args.k))
        half.store(args.export, args.bits)
        print(f"{args.export}: {args.export.stat().st_size / 1e6:.1f} MB")
        judged(File(args.export), args, tests, f", {args.bits} bits a weight")
