# SPDX-License-Identifier: MPL-2.0
"""What the fusions share: the models' heads cut out of their ONNX files, and pairs of sounds and pictures that trained neither."""

import hashlib
import pathlib

import numpy as np
import onnx
import torch
from onnx import helper
from torch import nn
from tqdm import tqdm

from ..corpus.sources import VALIDATION
from ..export import card
from ..export.session import session
from ..features.frontend import tile
from ..features.patches import Corpus, Patches
from ..labels import CLASSES, LABELS
from ..sound.judge import Judge, test_sets
from ..sound.models import MODELS

NAME = "fusion-yt8m13"
NONE_INDEX = len(LABELS)
MOST_FRAMES = 20
# Patches of "none" for one of a label: it is of many kinds.
MORE_NONE = 4
# What fits a fusion: the sources that the sound models' training leaves out, but no speech that tests "none".
SOURCES = tuple(s for s in VALIDATION if s != "asterisk-ru")
BOTH, PICTURES, SOUND = (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)


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


def patches(cache, frontend, sources, each, strength, seed):
    """`mels` float16 [n, bands, frames] of `each` patches a label, more of "none", and their `classes`, changed as in
    training (`strength` 1), in windows of an eighth to all of a patch that repeat.
    """
    corpus = Corpus(cache, frontend, only=sources)
    rng = np.random.default_rng(seed)
    size = frontend["patch-frames"]
    mels, classes = [], []
    for label in tqdm(range(len(CLASSES)), "patches", mininterval=20):
        for _ in range(each * MORE_NONE if label == NONE_INDEX else each):
            drawn = Patches(corpus, int(rng.uniform(size / 8, size)), seed, strength=strength)
            target = np.zeros(len(CLASSES), np.float32)
            target[label] = 1
            power = drawn.nothing(rng) if label == NONE_INDEX else drawn.content(rng, drawn.choose(rng, label))
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


def embed(cache, model, name, mels):
    """Embeddings [n, D] of `mel` inputs [n, bands, frames], kept in the cache until the model changes."""

    def make():
        own = session(str(model))
        return {
            "embeddings": np.concatenate([own.run(["embedding"], {"mel": mel[None, None].astype(np.float32)})[0] for mel in tqdm(mels, name, mininterval=20)])
        }

    digest = hashlib.md5(pathlib.Path(model).read_bytes()).hexdigest()[:8]
    return kept(cache / "fusion" / f"{name}-{digest}.npz", make)["embeddings"]


def fit_sounds(args, frontend):
    """(embeddings [n, D], classes [n]) of patches of the training corpus."""
    sources = hashlib.md5(repr(SOURCES).encode()).hexdigest()[:8]
    name = f"{frontend['rate']}-{frontend['bands']}-{args.each}-{args.strength}-{args.seed}-{sources}"
    made = kept(args.cache / "fusion" / f"{name}.npz", lambda: patches(args.cache, frontend, SOURCES, args.each, args.strength, args.seed))
    return embed(args.cache, args.audio_model, name, made["mels"]), made["classes"]


def test_sounds(args, frontend):
    """{set: (embeddings [n, D], classes [n])} of the recordings that only test: the mean of each one's patches."""
    how = MODELS[card.read(args.audio_model)["name"].split("-")[0]].segmentation
    result = {}
    for name, (mels, owner, files) in Judge(test_sets(args), frontend, how, args.cache / "judged").sets.items():
        embeddings = embed(args.cache, args.audio_model, f"{name}-{frontend['rate']}-{how}", mels)
        means = np.stack([embeddings[owner == i].mean(0) for i in range(len(files))])
        result[name] = means, np.array([-1 if c is None else c for _, c in files])
    return result


class Stored:
    """The frames that trained no picture model, as `visual` stored them: half of them fit, the others and the held-out sources test."""

    def __init__(self, path):
        with np.load(path) as file:
            self.embeddings = torch.from_numpy(file["embeddings"].astype(np.float32))
            self.classes, self.pictures, self.kinds, self.names = (file[k] for k in ("classes", "pictures", "kinds", "names"))
        left_out, even = self.kinds == "left out", self.pictures % 2 == 0
        # A quarter of what fits sets the temperature.
        spare = self.pictures // 2 % 4 == 3
        self.fit, self.calibrate = left_out & even & ~spare, left_out & even & spare
        self.test = (self.kinds == "held out") & (self.classes < NONE_INDEX) | left_out & ~even

    def part(self, chosen):
        """(indices, classes, pictures) of some of the frames."""
        return np.flatnonzero(chosen), self.classes[chosen], self.pictures[chosen]


class Pairs:
    """Random pairs of one sound and 1 to 20 (or always `k`) frames of the same class, as indices.

    The frames of a pair are views of one or two pictures. In some pairs a part of the frames, or all of them, show
    nothing (title cards, audiences), in some others the sound is nobody's (speech over a picture of a player).
    `mismatch` is how often the sound, and how often the pictures, are of another label; `nothing` how often neither has an
    instrument, besides the one of 14 pairs that are so by chance.
    """

    def __init__(self, sound_classes, frames, seed, mismatch=(0, 0), k=None, classes=range(len(CLASSES)), nothing=0):
        indices, frame_classes, frame_pictures = frames
        self.rng, self.mismatch, self.k, self.nothing = np.random.default_rng(seed), mismatch, k, nothing
        self.sounds_of = [np.flatnonzero(sound_classes == c) for c in range(len(CLASSES))]
        self.pictures_of = []
        for c in range(len(CLASSES)):
            views = {}
            for i in np.flatnonzero(frame_classes == c):
                views.setdefault(int(frame_pictures[i]), []).append(indices[i])
            self.pictures_of.append(list(views.values()))
        self.classes = [c for c in classes if len(self.sounds_of[c]) and self.pictures_of[c]]

    def one(self):
        """(index of a sound, indices of frames, class)."""
        rng = self.rng
        c, other = (self.classes[rng.integers(len(self.classes))] for _ in range(2))
        if self.nothing and rng.random() < self.nothing:
            c = other = NONE_INDEX
        mismatch = rng.random()
        heard = other if mismatch < self.mismatch[0] else c
        seen = other if mismatch > 1 - self.mismatch[1] else c
        pictures = [self.pictures_of[seen][rng.integers(len(self.pictures_of[seen]))] for _ in range(rng.integers(1, 3))]
        nothing = self.pictures_of[NONE_INDEX]
        kind = rng.random()
        empty = rng.uniform(0, 1.2) if kind < 0.4 else 0
        chosen = []
        for _ in range(self.k or rng.integers(1, MOST_FRAMES + 1)):
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
    """What both fusions take."""
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/, for tests alone")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="with the audio corpus of `corpus.render`")
    parser.add_argument("--frames", type=pathlib.Path, required=True, help="frames.npz of the picture model's training")
    parser.add_argument("--video-model", type=pathlib.Path, required=True)
    parser.add_argument("--audio-model", type=pathlib.Path, required=True)
    parser.add_argument("--judged", nargs="*", default=["fsd"], help="sources of audio/ that test")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="further folders of LABEL*.ogg that test")
    parser.add_argument("--each", type=int, default=30, help="patches a class that fit the fusion")
    parser.add_argument("--strength", type=float, default=1.0, help="of the changes to them; training has 1")
    parser.add_argument(
        "--mismatch",
        type=float,
        nargs=2,
        default=(0.1, 0.1),
        metavar=("SOUND", "PICTURES"),
        help="share of the pairs with the wrong sound, and with the wrong pictures: both models meet in real videos what they did not in training",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=pathlib.Path, help="the ONNX file to write")
    parser.add_argument("--name", default=NAME, help="that the file's card says")


def tests(args, frontend):
    """{set: (embeddings of sounds, classes of sounds)} that make test pairs, and the clips': the same."""
    sets = test_sounds(args, frontend)
    clips, nothing = sets.pop("clips"), sets.pop("none")
    return {name: [np.concatenate(parts) for parts in zip(own, nothing)] for name, own in sets.items()}, clips


def describe(args, results, frames):
    """The card of a fusion of two models."""
    video, sound = card.read(args.video_model), card.read(args.audio_model)
    metrics = "; ".join(
        f"{name}: " + ", ".join(f"{m} {f['hit@1']:.1f}" for m, f in figures.items() if "," not in m)
        for name, figures in results.items()
        if "hit@1" in figures["fusion"]
    )
    return card.describe(
        args.name,
        "fusion",
        "",
        "MPL-2.0",
        provenance=f"late fusion of {video['embedding']} and {sound['embedding']}; trained on pairs of photographs and "
        "sounds made to look and sound like videos",
        metrics=f"Hit@1, {metrics}",
        fusion={"video": video["embedding"], "audio": sound["embedding"], "frames": frames},
    )
