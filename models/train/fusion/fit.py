# SPDX-License-Identifier: MPL-2.0
"""Fits the decision of the default fusions on real videos, and exports it.

    python -m train fusion.fit probe --ced CRATES --out probe.onnx
    instruments tag --json --fusion-model probe.onnx WILD/*.mp4 > probed.jsonl
    python -m train fusion.fit fit --ced CRATES --manifest WILD/MANIFEST.tsv --results probed.jsonl --out fusion/yt8m13.json
    python -m train fusion.fit export --ced CRATES --weights fusion/yt8m13.json --out fusion-yt8m13.onnx

With `--audio-model ced-audioset.onnx` the same for `fusion-audioset`, whose pictures are read by ImageNet's instruments.
The probe is a fusion that prints what it is given, so that the decision is fitted to exactly what the product gives it.
No weight of a network is trained on these videos: only the few numbers of `decision.Weights`. Files of the same source are left out together.
"""

import argparse
import json
import pathlib

import numpy as np
import torch

from ..corpus import wild
from ..export import card, half
from ..labels import LABELS
from . import heads
from .decision import BOTH, PICTURES, SOUND, TERMS, Decision, Weights

ZOO = pathlib.Path(__file__).parents[2]
# The default threshold of the elements, and the least precision of the tags above it.
# One modality alone can't reach the precision of both without losing half of what is there.
THRESHOLD, PRECISION = 0.3, {BOTH: 0.93, SOUND: 0.85, PICTURES: 0.85}
FOLDS, SEEDS = 10, 5
# The windows of a video, together, beside its whole.
WINDOWS = 0.7
RIDGE = 1.0
PRESENT = {BOTH: (1.0, 1.0), SOUND: (0.0, 1.0), PICTURES: (1.0, 0.0)}


def logistic(x, y, weights, ridge=RIDGE):
    """(factors, constant) of a logistic regression whose ridge is on standardised terms [n,T]."""
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x = np.append((x - mean) / deviation, np.ones((len(x), 1)), 1)
    penalty = np.diag([ridge] * (x.shape[1] - 1) + [1e-6])
    found = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ found))
        gradient = x.T @ (weights * (p - y)) + penalty @ found
        step = np.linalg.solve((x * (weights * p * (1 - p))[:, None]).T @ x + penalty, gradient)
        found -= step
        if np.abs(step).max() < 1e-6:
            break
    factors = found[:-1] / deviation
    return factors, found[-1] - factors @ mean


def folds(groups, seed, count=FOLDS):
    """The fold of each row; rows of a group share it."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    of = {names[i]: place % count for place, i in enumerate(order)}
    return np.array([of[group] for group in groups])


class Material:
    """Windows and whole files: `terms` {case: [n,L,T]}, `truth` [n,L], `weight` [n], `group` [n]."""

    def __init__(self, decision, videos, rows):
        rows = [row for row in rows if row.file in videos]
        self.videos = [videos[row.file] for row in rows]
        self.clip = np.array([row.clip for row in rows])
        self.group = [video.source for video in self.videos]
        self.truth = np.array([video.truth(decision.labels) for video in self.videos])
        each = {}
        for row in rows:
            each[row.file, row.clip] = each.get((row.file, row.clip), 0) + 1
        self.weight = np.array([(1 if row.clip else WINDOWS) / each[row.file, row.clip] for row in rows])
        has = np.array([row.present for row in rows]) > 0
        self.has = {BOTH: has.all(1), SOUND: has[:, 1], PICTURES: has[:, 0]}
        heard, seen = (torch.tensor(np.array([getattr(row, part) for row in rows]), dtype=torch.float32) for part in ("heard", "seen"))
        with torch.no_grad():
            self.terms = {case: terms.numpy().astype(float) for case, terms in decision.terms(heard, seen).items()}
        known = np.array([decision.sound.known.numpy(), decision.pictures.known.numpy()]) > 0
        self.knows = {BOTH: known.all(0), SOUND: known[0], PICTURES: known[1]}

    def fit(self, case, rows):
        """(factors, constant) of a case, of some rows."""
        use = (rows & self.has[case])[:, None] & self.knows[case] & ~np.isnan(self.truth)
        return logistic(self.terms[case][use], self.truth[use], np.broadcast_to(self.weight[:, None], use.shape)[use])

    def left_out(self, case, seeds=SEEDS):
        """Log-odds [n,L] of each row by what was fitted without its fold, the mean over seeds; nan where the case does not apply."""
        total = np.zeros(self.truth.shape)
        for seed in range(seeds):
            fold = folds(self.group, seed)
            for k in range(FOLDS):
                factors, constant = self.fit(case, fold != k)
                total[fold == k] += (self.terms[case] @ factors + constant)[fold == k]
        total /= seeds
        return np.where(self.has[case][:, None] & self.knows[case], total, np.nan)

    def judged(self, odds):
        """(log-odds, truth), [n,L] each, of whole videos that are named after an instrument of the labels."""
        rows = self.clip & np.array([bool(video.named) for video in self.videos]) & ~np.isnan(odds).all(1)
        return np.where(np.isnan(odds[rows]), -np.inf, odds[rows]), np.where(np.isnan(odds[rows]), np.nan, self.truth[rows])


def sharpen(odds, truth, precision):
    """(factor, constant) for log-odds: THRESHOLD is where the tags above have the best F1 with at least this precision, and the best
    scores are as sure as right."""
    known = ~np.isnan(truth)
    order = np.argsort(-odds[known])
    hits, said = np.cumsum(truth[known][order]), np.arange(1, len(order) + 1)
    last = int(np.where(hits / said >= precision, hits / (said + hits[-1]), 0).argmax())
    cut = odds[known][order][last : last + 2].mean()
    best, right = odds.max(1), truth[np.arange(len(odds)), odds.argmax(1)] == 1
    start = np.log(THRESHOLD / (1 - THRESHOLD))
    least, found = np.inf, None
    for factor in np.arange(0.5, 3.01, 0.05):
        p = 1 / (1 + np.exp(-(factor * (best - cut) + start)))
        loss = -np.mean(np.log(np.where(right, p, 1 - p)))
        if loss < least:
            least, found = loss, (float(factor), float(start - factor * cut))
    return found


def figures(score, truth):
    """Precision, recall, F1 of tags at THRESHOLD in per cent."""
    shown, there = score >= THRESHOLD, truth == 1
    right = (shown & there).sum()
    said = (shown & ~np.isnan(truth)).sum()
    return {"precision": 100 * right / max(said, 1), "recall": 100 * right / there.sum(), "F1": 200 * right / (said + there.sum())}


def parts(args):
    """(head of the pictures, head of the sound, labels)."""
    own = card.read(args.audio_model)["labels"].split("\n")
    wide = own != list(LABELS)
    pictures, sound = heads.pictures(args.video_model, wide), heads.sound(args.audio_model, args.ced)
    labels = list(dict.fromkeys(own + (pictures.voices if wide else [])))
    return pictures, sound, labels


def write(args, module, name, labels, provenance, metrics, tolerance=1e-4):
    """A fusion with this module's outputs as its labels."""
    cards = {"video": card.read(args.video_model), "audio": card.read(args.audio_model)}
    described = card.describe(
        name,
        "fusion",
        "",
        "MPL-2.0",
        provenance.format(cards["video"]["name"], cards["audio"]["name"]),
        metrics,
        labels="\n".join(labels),
        fusion={"video": cards["video"]["embedding"], "audio": cards["audio"]["embedding"], "frames": "any"},
    )
    width = 192 + len(cards["audio"]["labels"].split("\n"))
    generator = torch.Generator().manual_seed(0)
    video, audio = torch.rand(4, 5, 1280, generator=generator), torch.rand(4, width, generator=generator)
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    module = module.eval().requires_grad_(False)
    half.round_weights(module)
    card.export(module, {"video": video, "audio": audio, "present": present}, ["tags"], args.out, described, {"video": {1: "k"}}, tolerance)
    half.store(args.out)
    print(f"{args.out}: {len(labels)} labels, {args.out.stat().st_size / 1e6:.2f} MB")


def probe(args):
    pictures, sound, _ = parts(args)
    module = heads.Probe(pictures, sound)
    # Log-odds near the ends of their range magnify the last bit of a probability.
    write(args, module, "probe", module.labels, "what {} and {} say", "", tolerance=0.05)


def fit(args):
    pictures, sound, labels = parts(args)
    zero = Weights(**{case: (0.0,) * (len(terms) + 1) for case, terms in TERMS.items()})
    decision = Decision(labels, sound.voices, pictures.voices, zero)
    rows = [row for path in args.results for row in heads.read(path, sound.voices, pictures.voices)]
    material = Material(decision, wild.manifest(args.manifest), rows)
    found, left_out = {}, np.zeros(material.truth.shape)
    for case in (PICTURES, SOUND, BOTH):
        every = material.left_out(case)
        odds, truth = material.judged(every)
        scale, shift = sharpen(odds, truth, PRECISION[case])
        factors, constant = material.fit(case, np.ones(len(material.weight), bool))
        found[case] = [round(float(v), 4) for v in (*(scale * factors), scale * constant + shift)]
        score, all_scores = (1 / (1 + np.exp(-(scale * own + shift))) for own in (odds, every))
        left_out = np.where(np.isnan(all_scores), left_out, all_scores)
        print(f"{case}: " + ", ".join(f"{name} {v:.2f}" for name, v in zip((*TERMS[case], "constant"), found[case])))
        print(f"  {len(truth)} videos, left out: " + ", ".join(f"{name} {v:.1f}" for name, v in figures(score, truth).items()))
    args.out.write_text(json.dumps({case: found[case] for case in TERMS}, indent=2) + "\n")
    if args.left_out:
        with args.left_out.open("w") as file:
            for video, clip, scores in zip(material.videos, material.clip, left_out):
                if clip:
                    tags = [{"label": label, "score": round(float(score), 4)} for label, score in zip(labels, scores)]
                    file.write(json.dumps({"uri": f"file:///{video.file}", "source": "fused", "tags": tags, "clip": True}) + "\n")


def export(args):
    pictures, sound, labels = parts(args)
    weights = Weights(**{case: tuple(values) for case, values in json.loads(args.weights.read_text()).items()})
    module = heads.Fusion(pictures, sound, Decision(labels, sound.voices, pictures.voices, weights))
    provenance = "decision over the evidence of {} and {}, fitted on 88 real videos by folds over their sources"
    write(args, module, args.name, labels, provenance, args.metrics)


def main(argv):
    parser = argparse.ArgumentParser(prog="train fusion.fit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"probe": probe, "fit": fit, "export": export}
    parser.add_argument("what", choices=commands)
    parser.add_argument("--audio-model", type=pathlib.Path, default=ZOO / "ced-yt8m13.onnx")
    parser.add_argument("--video-model", type=pathlib.Path, default=ZOO / "efficientnet-lite-yt8m13.onnx")
    parser.add_argument("--ced", type=pathlib.Path, help="folder of the unpacked crates; for the 13 labels")
    parser.add_argument("--manifest", type=pathlib.Path, help="fit: MANIFEST.tsv of the videos")
    parser.add_argument("--results", type=pathlib.Path, nargs="+", help="fit: what instruments tag --json printed with the probe")
    parser.add_argument("--left-out", type=pathlib.Path, help="fit: JSON lines to write, what each whole file gets when its source is left out")
    parser.add_argument("--weights", type=pathlib.Path, help="export: what fit wrote")
    parser.add_argument("--name", default="fusion-yt8m13")
    parser.add_argument("--metrics", default="")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    commands[args.what](args)
