# SPDX-License-Identifier: MPL-2.0
"""Late fusion of any number of picture embeddings and one audio embedding, either of which may be missing.

Both models' own heads, cut out of their ONNX files, turn the embeddings into probabilities again, so that the fusion
starts as the product of two experts. How far each is trusted, and how sure the result may be, is learned from pairs of
sounds and pictures that trained neither model.
"""

import argparse
import hashlib
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from tqdm import tqdm

from . import audio, card, half, material, plots
from .frontend import tile
from .labels import CLASSES, LABELS
from .patches import Corpus, Patches
from .pictures import visual

NAME = "fusion-yt8m13"
NONE_INDEX = len(LABELS)
MOST_FRAMES = 20
# Patches of "none" for one of a label: it is of many kinds.
MORE_NONE = 4
THRESHOLD = 0.30  # the elements' default
# What fits a fusion: the sources that the sound models' training leaves out, but no speech that tests "none".
SOURCES = tuple(s for s in audio.VALIDATION if s != "asterisk-ru")
BOTH, PICTURES, SOUND = (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)


class Experts(nn.Module):
    """Log-probabilities of pictures [N, 14] and of sound [N, 14], and which are present [N, 2], to fused ones.

    An expert that finds no instrument says little of which one the other finds: `doubt` of its probability of
    "none" is spread over the labels, and what it says of each is measured against that share, so that one that is sure
    of "none" favours no label. With one expert missing the result is the other's own.
    """

    def __init__(self):
        super().__init__()
        self.doubt = nn.Parameter(torch.tensor([-1.0, -1.0]))
        self.video_scale = nn.Parameter(torch.ones(len(CLASSES)))
        self.audio_scale = nn.Parameter(torch.ones(len(CLASSES)))
        self.bias = nn.Parameter(torch.zeros(len(CLASSES)))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, looks, sounds, present):
        seen, heard = present[:, :1], present[:, 1:]
        share = self.doubt.sigmoid() / len(LABELS)
        both = (self.video_scale * _spread(looks, share[0]) + self.audio_scale * _spread(sounds, share[1]) + self.bias)
        logits = seen * heard * both / self.temperature + seen * (1 - heard) * looks + heard * (1 - seen) * sounds
        return logits.log_softmax(-1)


def _spread(log_p, share):
    p = log_p.exp()
    none = p[:, NONE_INDEX:]
    return torch.log(torch.cat([p[:, :NONE_INDEX] + share * none, none], 1) + 1e-6) - torch.log(share)


class Frames(nn.Module):
    """Log-probabilities of the frames [N, k, 14] to the clip's [N, 14]: a mean that frames with an instrument lead.

    `there` [N, k] is False for frames that only fill up a batch.
    """

    def __init__(self):
        super().__init__()
        self.attention = nn.Parameter(torch.tensor(1.0))

    def forward(self, frames, there=None):
        p = frames.exp()
        weights = self.attention * (1 - p[..., NONE_INDEX:])
        if there is not None:
            weights = weights.masked_fill(~there[..., None], -torch.inf)
        weights = weights.softmax(1)
        return torch.log((weights * p).sum(1) + 1e-9)


def with_none(tags):
    """Probabilities of the 13 labels to log-probabilities with "none", which has what is left."""
    return torch.log(torch.cat([tags, (1 - tags.sum(-1, keepdim=True)).clamp(min=0)], -1) + 1e-9)


class Fusion(nn.Module):
    """`looks` [N, k, 13], `sounds` [N, 13], `present` [N, 2] (video, audio: 1 or 0) to `tags` [N, 13]."""

    def __init__(self, frames, experts):
        super().__init__()
        self.frames, self.experts = frames, experts

    def forward(self, looks, sounds, present):
        looks = self.frames(with_none(looks))
        return self.experts(looks, with_none(sounds), present).exp()[:, :len(LABELS)]


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
            raise ValueError(f"{path}: `tags` takes `{port.name}` past the embedding; only a model that computes its tags "
                             "from its embedding can be fused")
    ports = {port.name: port for port in graph.output}
    cut = helper.make_graph(nodes, "head", [ports["embedding"]], [ports["tags"]],
                            [t for t in graph.initializer if t.name in used])
    return helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)


def session(model):
    """ONNX Runtime for a path or a model, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options,
                                        providers=["CPUExecutionProvider"])


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
        return {"embeddings": np.concatenate([own.run(["embedding"], {"mel": mel[None, None].astype(np.float32)})[0]
                                              for mel in tqdm(mels, name, mininterval=20)])}

    digest = hashlib.md5(pathlib.Path(model).read_bytes()).hexdigest()[:8]
    return kept(cache / "fusion" / f"{name}-{digest}.npz", make)["embeddings"]


def fit_sounds(args, frontend):
    """(embeddings [n, D], classes [n]) of patches of the training corpus."""
    sources = hashlib.md5(repr(SOURCES).encode()).hexdigest()[:8]
    name = f"{frontend['rate']}-{frontend['bands']}-{args.each}-{args.strength}-{args.seed}-{sources}"
    made = kept(args.cache / "fusion" / f"{name}.npz",
                lambda: patches(args.cache, frontend, SOURCES, args.each, args.strength, args.seed))
    return embed(args.cache, args.audio_model, name, made["mels"]), made["classes"]


def test_sounds(args, frontend):
    """{set: (embeddings [n, D], classes [n])} of the recordings that only test: the mean of each one's patches."""
    how = audio.MODELS[card.read(args.audio_model)["name"].split("-")[0]].segmentation
    result = {}
    for name, (mels, owner, files) in audio.Judge(audio.test_sets(args), frontend, how, args.cache / "judged").sets.items():
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


class Material:
    """Log-probabilities of sounds and of frames, and pairs of them."""

    def __init__(self, sounds, frames, pairs):
        self.sounds, self.frames, self.pairs = sounds, frames, pairs

    def batch(self, pool, n):
        """(pictures [n, 14], sounds [n, 14], frames' means [n, 14], classes [n])."""
        sounds, frames, classes = self.pairs.batch(n)
        index = nn.utils.rnn.pad_sequence([torch.tensor(np.array(f)) for f in frames], batch_first=True, padding_value=-1)
        there = index >= 0
        frames = self.frames[index.clamp(min=0)]
        means = (frames.exp() * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return pool(frames, there), self.sounds[sounds], means, classes


def train(pool, experts, material, steps, batch, rate, decay, seed):
    """Fit the few numbers of the fusion; decay pulls them towards the plain product of experts."""
    torch.manual_seed(seed)
    parameters = [*pool.parameters(), *experts.parameters()]
    start = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in tqdm(range(steps), "fusion", mininterval=20):
        looks, sounds, _, classes = material.batch(pool, batch)
        log_p = experts(looks, sounds, torch.tensor(BOTH).expand(batch, 2))
        # The pooled frames alone must hold up as well.
        loss = nn.functional.nll_loss(log_p, classes) + 0.3 * nn.functional.nll_loss(looks, classes)
        loss = loss + decay * sum(((p - s) ** 2).sum() for p, s in zip(parameters, start))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def temperature(log_p, classes):
    """What to divide logits by so that they are as sure as they are right: the least mean loss of 0.25 to 4."""
    choices = torch.exp(torch.linspace(-1.4, 1.4, 113))
    losses = [nn.functional.nll_loss((log_p / t).log_softmax(-1), classes).item() for t in choices]
    return float(choices[int(np.argmin(losses))])


@torch.no_grad()
def calibrate(pool, experts, material, n=4000):
    """Set the temperature of pairs; with one modality missing, the other model's own probabilities stay."""
    looks, sounds, _, classes = material.batch(pool, n)
    experts.temperature.fill_(temperature(experts(looks, sounds, torch.tensor(BOTH).expand(n, 2)), classes))


def calibration(p, classes, bins=10):
    """Expected calibration error of the best label's probability, and how often one of 0.75 to 0.85 is right, in per cent."""
    sure, best = torch.as_tensor(p)[:, :NONE_INDEX].max(1)
    right = (best == classes).float()
    error = sum(abs(float((sure - right)[chosen].sum())) for b in range(bins)
                if (chosen := (sure * bins).long().clamp(max=bins - 1) == b).any())
    near = (sure >= 0.75) & (sure < 0.85)
    return {"ECE": 100 * error / len(right), "0.8 is": 100 * float(right[near].mean()) if near.any() else float("nan")}


@torch.no_grad()
def compare(pool, experts, batch):
    """({method: figures}, {method: probabilities}) of sound alone, pictures alone (mean of the frames), their mean, and the fusion."""
    looks, sounds, mean, classes = batch
    n = len(classes)
    methods = {"sound": sounds.exp(), "pictures": mean, "mean of both": (sounds.exp() + mean) / 2}
    for name, present in (("fusion", BOTH), ("fusion, pictures alone", PICTURES), ("fusion, sound alone", SOUND)):
        methods[name] = experts(looks, sounds, torch.tensor(present).expand(n, 2)).exp()
    return {name: visual.scores(p, classes) | calibration(p, classes) for name, p in methods.items()}, methods


def add_arguments(parser):
    """What both fusions take."""
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/, for tests alone")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="with the audio corpus of `render`")
    parser.add_argument("--frames", type=pathlib.Path, required=True, help="frames.npz of the picture model's training")
    parser.add_argument("--video-model", type=pathlib.Path, required=True)
    parser.add_argument("--audio-model", type=pathlib.Path, required=True)
    parser.add_argument("--judged", nargs="*", default=["fsd"], help="sources of audio/ that test")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="further folders of LABEL*.ogg that test")
    parser.add_argument("--each", type=int, default=30, help="patches a class that fit the fusion")
    parser.add_argument("--strength", type=float, default=1.0, help="of the changes to them; training has 1")
    parser.add_argument("--mismatch", type=float, nargs=2, default=(0.1, 0.1), metavar=("SOUND", "PICTURES"),
                        help="share of the pairs with the wrong sound, and with the wrong pictures: both models meet in "
                             "real videos what they did not in training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=pathlib.Path, help="the ONNX file to write")
    parser.add_argument("--name", default=NAME, help="that the file's card says")


def tests(args, frontend):
    """{set: (embeddings of sounds, classes of sounds)} that make test pairs, and the clips': the same."""
    sets = test_sounds(args, frontend)
    clips, nothing = sets.pop("clips"), sets.pop("none")
    return {name: [np.concatenate(parts) for parts in zip(own, nothing)] for name, own in sets.items()}, clips


def main(argv):
    parser = argparse.ArgumentParser(prog="train fusion", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--nothing", type=float, default=0.2, help="share of the pairs that have no instrument, besides one of 14 of the others")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--confusions", type=pathlib.Path,
                        help="the PNG file of confusion matrices to write, of pairs with the last --extra or --judged")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    frontend = material.settings(card.read(args.audio_model))
    stored = Stored(args.frames)
    frames = log_probabilities(args.video_model, stored.embeddings)
    embeddings, classes = fit_sounds(args, frontend)
    sounds = log_probabilities(args.audio_model, embeddings)
    quarter = np.arange(len(classes)) % 4 == 3
    # Wrong sounds and pictures keep the fusion from trusting one model too much; how sure it may be is seen without them.
    parts = [Material(sounds, frames, Pairs(np.where(chosen, classes, -1), stored.part(which), args.seed + i, mismatch, nothing=args.nothing))
             for i, (chosen, which, mismatch) in enumerate(((~quarter, stored.fit, args.mismatch), (quarter, stored.calibrate, (0, 0))))]
    pool, experts = Frames(), Experts()
    train(pool, experts, parts[0], args.steps, args.batch, args.rate, args.decay, args.seed)
    calibrate(pool, experts, parts[1])
    for name, value in [*pool.named_parameters(), *experts.named_parameters(), *experts.named_buffers()]:
        print(f"{name:12}", np.round(value.detach().numpy(), 2))
    results = {"calibration pairs": compare(pool, experts, parts[1].batch(pool, 1000))[0]}
    sets, clips = tests(args, frontend)
    for name, (embeddings, classes) in sets.items():
        pairs = Pairs(classes, stored.part(stored.test), args.seed + 1, classes=range(NONE_INDEX))
        own = Material(log_probabilities(args.audio_model, embeddings), frames, pairs)
        batch = own.batch(pool, 1000)
        results[f"{name}, 1000 pairs"], methods = compare(pool, experts, batch)
    pairs = Pairs(classes, stored.part(stored.test), args.seed + 1, classes=[NONE_INDEX])
    results["without an instrument, 1000 pairs"] = {
        name: {"above the threshold": 100 * float((p[:, :NONE_INDEX].max(1).values > THRESHOLD).float().mean())}
        for name, p in compare(pool, experts, Material(own.sounds, frames, pairs).batch(pool, 1000))[1].items()}
    if args.confusions:
        plots.confusions({m: methods[m] for m in ("sound", "pictures", "fusion")}, batch[3], args.confusions)
    results |= clip_results(args, stored, frames, log_probabilities(args.audio_model, clips[0]), pool, experts)
    for name, figures in results.items():
        visual.show(name, figures)
    if args.export:
        export(Fusion(pool, experts), args, results, {"video": stored.embeddings.shape[1], "audio": embeddings.shape[1]})


@torch.no_grad()
def clip_results(args, stored, frames, sounds, pool, experts):
    """The figures of the real clips that have one of the 13 labels, each by its best label."""
    own = [(p.stem, sounds[i], frames[(stored.kinds == "clip") & (stored.names == p.stem)])
           for i, p in enumerate(sorted(args.data.glob("clips/*.mp4")))]
    own = [c for c in own if visual.clip_target(c[0]) is not None and len(c[2])]
    if not own:
        return {}
    batch = (torch.cat([pool(c[2][None]) for c in own]), torch.stack([c[1] for c in own]),
             torch.stack([c[2].exp().mean(0) for c in own]), torch.tensor([visual.clip_target(c[0]) for c in own]))
    figures, methods = compare(pool, experts, batch)
    for i, (name, _, _) in enumerate(own):
        best = {m: int(p[i, :NONE_INDEX].argmax()) for m, p in methods.items() if "," not in m}
        print(f"  {name:16}" + "  ".join(f"{m} {LABELS[b]} {methods[m][i, b]:.2f}" for m, b in best.items()))
    return {"labelled clips": figures}


def describe(args, results, frames):
    """The card of a fusion of two models."""
    video, sound = card.read(args.video_model), card.read(args.audio_model)
    metrics = "; ".join(f"{name}: " + ", ".join(f"{m} {f['hit@1']:.1f}" for m, f in figures.items() if "," not in m)
                        for name, figures in results.items() if "hit@1" in figures["fusion"])
    return card.describe(
        args.name, "fusion", "", "MPL-2.0",
        provenance=f"late fusion of {video['embedding']} and {sound['embedding']}; trained on pairs of photographs and "
                   "sounds made to look and sound like videos",
        metrics=f"Hit@1, {metrics}",
        fusion={"video": video["embedding"], "audio": sound["embedding"], "frames": frames})


def export(fusion, args, results, sizes):
    """The fusion behind both models' heads as one self-describing ONNX file, for embeddings of `sizes`.

    The heads' weights are stored as they are in the models.
    """
    looks = torch.rand(4, 20, len(LABELS), generator=torch.Generator().manual_seed(args.seed)) / len(LABELS)
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    card.export(fusion, {"looks": looks, "sounds": looks[:, 0], "present": present}, ["tags"], args.export,
                describe(args, results, "any"), {"looks": {1: "k"}})
    core = onnx.load(args.export)
    graph = core.graph
    nodes, outputs = [], {"video": "seen", "audio": "sounds"}
    for name, path in (("video", args.video_model), ("audio", args.audio_model)):
        part = onnx.compose.add_prefix(head(path), f"{name}.").graph
        entry = helper.make_node("Reshape", ["video", "video.rows"], ["video.embedding"]) if name == "video" else \
            helper.make_node("Identity", ["audio"], ["audio.embedding"])
        nodes += [entry, *part.node, helper.make_node("Identity", [f"{name}.tags"], [outputs[name]])]
        graph.initializer.extend(part.initializer)
    constants = {"video.rows": [-1, sizes["video"]], "video.first": [0], "video.last": [2], "video.labels": [len(LABELS)]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items())
    nodes += [helper.make_node("Shape", ["video"], ["video.shape"]),
              helper.make_node("Slice", ["video.shape", "video.first", "video.last"], ["video.items"]),
              helper.make_node("Concat", ["video.items", "video.labels"], ["video.out"], axis=0),
              helper.make_node("Reshape", ["seen", "video.out"], ["looks"])]
    nodes += graph.node
    ports = [helper.make_tensor_value_info("video", TensorProto.FLOAT, ["N", "k", sizes["video"]]),
             helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["N", sizes["audio"]]),
             next(port for port in graph.input if port.name == "present")]
    for field, values in ((graph.node, nodes), (graph.input, ports)):
        values = [type(v).FromString(v.SerializeToString()) for v in values]
        del field[:]
        field.extend(values)
    onnx.checker.check_model(core, full_check=True)
    check(core, fusion, args, sizes)
    onnx.save(core, args.export)
    half.store(args.export)
    print(f"{args.export}: {args.export.stat().st_size / 1e6:.1f} MB")


def check(model, fusion, args, sizes):
    """Raises ValueError unless the whole graph gives what its three parts give one after another."""
    rng = np.random.default_rng(args.seed)
    video, sound = (np.abs(rng.standard_normal(shape)).astype(np.float32) for shape in ((3, 5, sizes["video"]), (3, sizes["audio"])))
    present = np.array([BOTH, PICTURES, SOUND], np.float32)
    whole = session(model).run(["tags"], {"video": video, "audio": sound, "present": present})[0]
    looks = session(head(args.video_model)).run(None, {"embedding": video.reshape(15, -1)})[0].reshape(3, 5, -1)
    sounds = session(head(args.audio_model)).run(None, {"embedding": sound})[0]
    with torch.no_grad():
        expected = fusion(*(torch.from_numpy(part) for part in (looks, sounds, present))).numpy()
    error = np.abs(whole - expected).max()
    if not error < 1e-4:
        raise ValueError(f"{args.export}: the graph differs from its parts by {error:.1e}, more than 1e-4")
