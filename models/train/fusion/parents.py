# SPDX-License-Identifier: MPL-2.0
"""What the paper's fusion is fitted to: the models' heads cut out of their ONNX files, and pairs of sounds and pictures.

Recordings and photographs of the folds that trained neither model fit; the real videos of these folds, and those that only test, judge.
A label that these folds have no sound or no photograph of is fitted to those of the other folds.
"""

import hashlib
import pathlib

import numpy as np
import onnx
import torch
from onnx import helper
from torch import nn
from tqdm import tqdm

from ..corpus import photographs, real
from ..corpus.recordings import load
from ..export import card
from ..export.session import session
from ..features.frontend import segments, tile
from ..features.patches import Corpus, Patches
from ..labels import CLASSES, LABELS, NONE, class_of
from ..pictures import activations
from ..pictures.embedder import Embedder
from ..sound.models import MODELS

NONE_INDEX = len(LABELS)
# Patches of "none" for one of a label: it is of many kinds.
MORE_NONE = 4
# Photographs of a label that fit, random video frames of each.
PICTURES, VIEWS = 40, 3
BOTH, SEEN, HEARD = (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)
# Sources of the videos that judge.
VIDEOS = ("clips-test", "clips", "sop")


def with_none(tags):
    """Probabilities of the 13 labels to log-probabilities with "none", which has what is left."""
    return torch.log(torch.cat([tags, (1 - tags.sum(-1, keepdim=True)).clamp(min=0)], -1) + 1e-9)


def head(path):
    """What a model's ONNX graph does from its output `embedding` to its output `tags`, as a model of its own."""
    model = onnx.load(path)
    graph = model.graph
    makers = {output: i for i, node in enumerate(graph.node) for output in node.output}
    wanted, chosen = ["tags"], set()
    while wanted:
        i = makers.get(wanted.pop())
        if i is not None and i not in chosen:
            chosen.add(i)
            wanted += [name for name in graph.node[i].input if name != "embedding"]
    nodes = [graph.node[i] for i in sorted(chosen)]
    used = {name for node in nodes for name in node.input}
    for port in graph.input:
        if port.name in used:
            raise ValueError(f"{path}: `tags` takes `{port.name}` past the embedding; only a model that computes its tags from its embedding can be fused")
    ports = {port.name: port for port in graph.output}
    cut = helper.make_graph(nodes, "head", [ports["embedding"]], [ports["tags"]], [t for t in graph.initializer if t.name in used])
    return helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)


def log_probabilities(model, embeddings):
    """Log-probabilities [n, 14] of embeddings [n, D], by the head of an exported model."""
    tags = session(head(model)).run(["tags"], {"embedding": np.asarray(embeddings, np.float32)})[0]
    return with_none(torch.from_numpy(tags))


def patches(cache, frontend, folds, each, seed):
    """`mels` float16 [n, bands, frames] of `each` patches a label, more of "none", and their `classes`, changed as in training,
    in windows of an eighth to all of a patch that repeat.
    """
    corpora = [Corpus(cache, frontend, own, videos=False) for own in (folds, set(range(real.FOLDS)) - set(folds))]
    rng = np.random.default_rng(seed)
    size = frontend["patch-frames"]
    mels, classes = [], []
    for label in tqdm(range(len(CLASSES)), "patches", mininterval=20):
        corpus = next((own for own in corpora if label in own.real), corpora[0])
        for _ in range(each * MORE_NONE if label == NONE_INDEX else each):
            drawn = Patches(corpus, int(rng.uniform(size / 8, size)), seed)
            target = np.zeros(len(CLASSES), np.float32)
            target[label] = 1
            power = drawn.nothing(rng) if label == NONE_INDEX else drawn.content(rng, drawn.choose(rng, label))[0]
            mels.append(tile(drawn.finish(rng, drawn.augment(rng, power, target))[0], size).astype(np.float16))
            classes.append(label)
    return {"mels": np.stack(mels), "classes": np.array(classes)}


def kept(store, make):
    """The dict of arrays that `make()` returns, kept in the file `store`."""
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        np.savez(store, **make())
    with np.load(store) as file:
        return dict(file)


def digest(*parts):
    """A short name of models and settings."""
    return hashlib.md5(b"".join(p.read_bytes() if isinstance(p, pathlib.Path) else repr(p).encode() for p in parts)).hexdigest()[:8]


def heard(model, mels):
    """Embeddings [n, D] of `mel` inputs [n, bands, frames]."""
    own = session(str(model))
    return np.concatenate([own.run(["embedding"], {"mel": mel[None, None].astype(np.float32)})[0] for mel in mels])


def sounds(args, frontend):
    """(embeddings [n, D], classes [n]) of patches of recordings."""
    settings = (frontend, args.without, args.each, args.seed)
    made = kept(args.cache / "fusion" / f"patches-{digest(settings)}.npz", lambda: patches(args.cache, frontend, args.without, args.each, args.seed))
    own = kept(
        args.cache / "fusion" / f"sounds-{digest(args.audio_model, settings)}.npz",
        lambda: {"embeddings": heard(args.audio_model, tqdm(made["mels"], "sounds", mininterval=20))},
    )
    return own["embeddings"], made["classes"]


def pictures(args):
    """`embeddings` float16 [n, D], `classes` [n] and `pictures` [n] of photographs: each as it is, and as random video frames."""
    settings = (args.without, args.seed, PICTURES, VIEWS)
    return kept(args.cache / "fusion" / f"pictures-{digest(args.video_model, settings)}.npz", lambda: views(args))


def views(args):
    model, rng, chosen = Embedder(args.video_model, card.read(args.video_model)), np.random.default_rng(args.seed), []
    every = [p for p in photographs.scan(args.data) if not p.video and p.fold != real.TEST]
    for c in range(len(CLASSES)):
        own = [p for p in every if p.target == c]
        own = [p for p in own if p.fold in args.without] or own
        chosen += [own[i] for i in rng.permutation(len(own))[: PICTURES * (MORE_NONE if c == NONE_INDEX else 1)]]
    nones = [p for p in chosen if p.folder == NONE]
    datasets = [activations.EachFrame(chosen, (model.view,))]
    datasets += [activations.EachFrame(chosen, (model.view,), nones, seed) for seed in range(VIEWS)]
    found = [model(frame for frame, _ in tqdm(dataset, "pictures", mininterval=20)).astype(np.float16) for dataset in datasets]
    count = len(datasets)
    return {"embeddings": np.concatenate(found), "classes": np.tile([p.target for p in chosen], count), "pictures": np.tile(np.arange(len(chosen)), count)}


def videos(args, frontend):
    """{set: (embeddings of frames [n, k, D], of the sound [n, D], classes [n])} of the real videos that judge."""
    model, described = Embedder(args.video_model, card.read(args.video_model)), card.read(args.audio_model)
    how = MODELS[described["name"].split("-")[0]].segmentation
    shown = {}
    for p in photographs.every(args.data, args.pictures_cache):
        if p.video:
            shown.setdefault(p.video, []).append(p)
    found = {}
    for item in tqdm(real.items(args.data, *VIDEOS), "videos", mininterval=20):
        frames = shown.get(photographs.video_of(item))
        target = class_of(item.label)
        if item.fold in (*args.without, real.TEST) and frames and target is not None and target < NONE_INDEX:
            spread = [frames[i] for i in ((np.arange(args.k) + 0.5) * len(frames) / args.k).astype(int)]
            different = list(dict.fromkeys(spread))
            looks = model(frame for frame, _ in activations.EachFrame(different, (model.view,)))
            mels = segments(load(item.path, frontend["rate"]), frontend, how)
            row = looks[[different.index(p) for p in spread]], heard(args.audio_model, mels).mean(0), target
            found.setdefault("test videos" if item.fold == real.TEST else "videos of the folds left out", []).append(row)
    return {name: tuple(torch.as_tensor(np.stack(part)) for part in zip(*rows)) for name, rows in found.items()}


class Pairs:
    """Random pairs of one sound and `k` frames of the same class, as indices.

    The frames of a pair are views of one or two pictures. In some pairs a part of the frames, or all of them, show
    nothing (title cards, audiences), in some others the sound is nobody's (speech over a picture of a player).
    `mismatch` is how often the sound, and how often the pictures, are of another label.
    """

    def __init__(self, sound_classes, frames, seed, mismatch, k):
        indices, frame_classes, frame_pictures = frames
        self.rng, self.mismatch, self.k = np.random.default_rng(seed), mismatch, k
        self.sounds_of = [np.flatnonzero(sound_classes == c) for c in range(len(CLASSES))]
        self.pictures_of = []
        for c in range(len(CLASSES)):
            views = {}
            for i in np.flatnonzero(frame_classes == c):
                views.setdefault(int(frame_pictures[i]), []).append(indices[i])
            self.pictures_of.append(list(views.values()))
        self.classes = [c for c in range(len(CLASSES)) if len(self.sounds_of[c]) and self.pictures_of[c]]

    def one(self):
        """(index of a sound, indices of frames, class)."""
        rng = self.rng
        c, other = (self.classes[rng.integers(len(self.classes))] for _ in range(2))
        mismatch = rng.random()
        heard = other if mismatch < self.mismatch[0] else c
        seen = other if mismatch > 1 - self.mismatch[1] else c
        pictures = [self.pictures_of[seen][rng.integers(len(self.pictures_of[seen]))] for _ in range(rng.integers(1, 3))]
        nothing = self.pictures_of[NONE_INDEX]
        kind = rng.random()
        empty = rng.uniform(0, 1.2) if kind < 0.4 else 0
        chosen = []
        for _ in range(self.k):
            views = nothing[rng.integers(len(nothing))] if rng.random() < empty else pictures[rng.integers(len(pictures))]
            chosen.append(views[rng.integers(len(views))])
        return rng.choice(self.sounds_of[NONE_INDEX if kind > 0.92 else heard]), chosen, c

    def batch(self, n):
        """(indices of sounds [n], [indices of frames], classes [n])."""
        sounds, frames, classes = zip(*(self.one() for _ in range(n)))
        return torch.tensor(np.array(sounds)), frames, torch.tensor(classes)


def temperature(log_p, classes):
    """What to divide logits by so that they are as sure as they are right: the least mean loss of 0.25 to 4."""
    choices = torch.exp(torch.linspace(-1.4, 1.4, 113))
    losses = [nn.functional.nll_loss((log_p / t).log_softmax(-1), classes).item() for t in choices]
    return float(choices[int(np.argmin(losses))])


def calibration(p, classes, bins=10):
    """Expected calibration error of the best label's probability, and how often one of 0.75 to 0.85 is right, in per cent."""
    sure, best = torch.as_tensor(p)[:, :NONE_INDEX].max(1)
    right = (best == classes).float()
    error = sum(abs(float((sure - right)[chosen].sum())) for b in range(bins) if (chosen := (sure * bins).long().clamp(max=bins - 1) == b).any())
    near = (sure >= 0.75) & (sure < 0.85)
    return {"ECE": 100 * error / len(right), "0.8 is": 100 * float(right[near].mean()) if near.any() else float("nan")}


def add_arguments(parser):
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="what `corpus.music` made")
    parser.add_argument("--pictures-cache", type=pathlib.Path, required=True, help="the cache of `pictures.train`, with the frames of videos")
    parser.add_argument("--video-model", type=pathlib.Path, required=True)
    parser.add_argument("--audio-model", type=pathlib.Path, required=True)
    parser.add_argument("--without", type=int, nargs="+", default=[4], help="folds that trained neither model")
    parser.add_argument("--each", type=int, default=60, help="patches a class that fit the fusion")
    parser.add_argument(
        "--mismatch",
        type=float,
        nargs=2,
        default=(0.2, 0.1),
        metavar=("SOUND", "PICTURES"),
        help="share of the pairs with the wrong sound, and with the wrong pictures: both models meet in real videos what they did not in training",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=pathlib.Path, help="the ONNX file to write")
    parser.add_argument("--name", help="that the file's card says")


def describe(args, results, frames):
    """The card of a fusion of two models."""
    video, sound = card.read(args.video_model), card.read(args.audio_model)
    metrics = "; ".join(f"{name}: " + ", ".join(f"{m} {f['hit@1']:.1f}" for m, f in figures.items() if "," not in m) for name, figures in results.items())
    return card.describe(
        args.name,
        "fusion",
        "",
        "MPL-2.0",
        provenance=f"late fusion of {video['embedding']} and {sound['embedding']}; trained on pairs of photographs and "
        "recordings made to look and sound like videos",
        metrics=f"Hit@1, {metrics}",
        fusion={"video": video["embedding"], "audio": sound["embedding"], "frames": frames},
    )
