# SPDX-License-Identifier: MPL-2.0
"""Late fusion of k picture embeddings and one audio embedding, either of which may be missing.

Both models' own heads are recomputed from the embeddings, so that the fusion starts as the product of two
experts; how far each is trusted is learned from pairs of sounds and pictures that neither model was trained on,
as far as there are such.
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from tqdm import tqdm

from . import audio, card, half, plots, visual
from .choi import RANGE
from .frontend import CHOI, tile
from .labels import CLASSES, LABELS
from .patches import Corpus, Patches

NAME = "fusion-yt8m13"
NONE_INDEX = len(LABELS)
MOST_FRAMES = 20


class Experts(nn.Module):
    """Log-probabilities of pictures [N, 14] and of sound [N, 14], and which are present [N, 2], to fused ones.

    An expert that finds no instrument says little of which one the other finds: `doubt` of its probability of
    "none" is spread over the labels. With one expert missing the result is the other's own.
    """

    def __init__(self):
        super().__init__()
        self.doubt = nn.Parameter(torch.tensor([-1.0, -1.0]))
        self.video_scale = nn.Parameter(torch.ones(len(CLASSES)))
        self.audio_scale = nn.Parameter(torch.ones(len(CLASSES)))
        self.bias = nn.Parameter(torch.zeros(len(CLASSES)))

    def forward(self, looks, sounds, present):
        seen, heard = present[:, :1], present[:, 1:]
        share = self.doubt.sigmoid() / len(LABELS)
        both = (self.video_scale * _spread(looks, share[0]) + self.audio_scale * _spread(sounds, share[1]) + self.bias)
        logits = seen * heard * both + seen * (1 - heard) * looks + heard * (1 - seen) * sounds
        return logits.log_softmax(-1)


def _spread(log_p, share):
    p = log_p.exp()
    none = p[:, NONE_INDEX:]
    return torch.log(torch.cat([p[:, :NONE_INDEX] + share * none, none], 1) + 1e-6)


class Frames(nn.Module):
    """Log-probabilities of the frames [N, k, 14] to the clip's [N, 14]: a mean that frames with an instrument lead."""

    def __init__(self):
        super().__init__()
        self.attention = nn.Parameter(torch.tensor(1.0))

    def forward(self, frames):
        p = frames.exp()
        weights = (self.attention * (1 - p[..., NONE_INDEX:])).softmax(1)
        return torch.log((weights * p).sum(1) + 1e-9)


class Fusion(nn.Module):
    """`video` [N, k, Dv], `audio` [N, Da], `present` [N, 2] (video, audio: 1 or 0) to `tags` [N, 13]."""

    def __init__(self, video_head, audio_head, frames, experts):
        super().__init__()
        self.video_head, self.audio_head, self.frames, self.experts = video_head, audio_head, frames, experts

    def forward(self, video, audio, present):
        looks = self.frames(self.video_head(video))
        sounds = self.audio_head(audio).log_softmax(-1)
        return self.experts(looks, sounds, present).exp()[:, :len(LABELS)]


def parameters(model):
    """{name: float32 tensor} of an exported model's weights."""
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer}
    return {k.removesuffix(".half"): torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items() if v.ndim}


def heads(video_model, audio_model):
    """The last layers of both exported models: modules from embeddings to log-probabilities and to logits."""
    video, sound = parameters(video_model), parameters(audio_model)
    rows = len(video["head.rows.weight"])
    video_head = visual.Head(video["head.rows.weight"][:rows - 1], video["head.rows.bias"][:rows - 1])
    video_head.load_state_dict({k.removeprefix("head."): v for k, v in video.items() if k.startswith("head.")})
    audio_head = nn.Linear(sound["output.weight"].shape[1], len(CLASSES))
    audio_head.load_state_dict({k.removeprefix("output."): v for k, v in sound.items() if k.startswith("output.")})
    return video_head.requires_grad_(False), audio_head.requires_grad_(False)


def patches(cache, held_out, each, strength, seed):
    """`mel` inputs float16 [n, 96, 1366] and their classes, `each` for every class: the training corpus, changed
    more than in training, in windows of 3 to 29 s that repeat.
    """
    corpus = Corpus(cache, held_out)
    rng = np.random.default_rng(seed)
    mels, classes = [], []
    for label in tqdm(range(len(CLASSES)), "patches", mininterval=10):
        for _ in range(each):
            frames = int(rng.uniform(140, CHOI["patch-frames"]))
            source = Patches(corpus, frames, seed, taught=0, strength=strength)
            target = np.zeros(len(CLASSES), np.float32)
            target[label] = 1
            power = source.nothing(rng) if label == NONE_INDEX else source.content(rng, source.choose(rng, label))
            power = tile(power, frames)
            mels.append(tile(RANGE * (source.normalise(rng, source.augment(rng, power, target))[0] - 1)).astype(np.float16))
            classes.append(label)
    return np.stack(mels), np.array(classes)


def embeddings(cache, model, name, make):
    """(embeddings [n, 1024], classes [n]) of `make()`'s patches by the audio model; patches and result are cached."""
    store, digest = cache / f"{name}.npz", card.read(model)["embedding"].replace("/", "-")
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        mels, classes = make()
        np.savez(store, mels=mels, classes=classes)
    with np.load(store) as file:
        mels, classes = file["mels"], file["classes"]
    result = cache / f"{name}-{digest}-{pathlib.Path(model).stat().st_mtime_ns}.npy"
    if not result.exists():
        np.save(result, audio.embed(mels.astype(np.float32), model)[1])
    return torch.from_numpy(np.load(result)), torch.from_numpy(classes)


class Pairs:
    """Random pairs of one sound and 1 to 20 frames of the same class, as log-probabilities.

    The frames of a pair are views of one or two pictures. In some pairs a part of the frames, or all of them, show
    nothing (title cards, audiences), in some others the sound is nobody's (speech over a picture of a player).
    `mismatch` is how often the sound, and how often the pictures, are of another label.
    """

    def __init__(self, sounds, sound_classes, frames, frame_classes, frame_pictures, seed, mismatch=(0, 0)):
        self.sounds, self.frames, self.mismatch = sounds, frames, mismatch
        self.rng = np.random.default_rng(seed)
        self.sounds_of = [np.flatnonzero(sound_classes == c) for c in range(len(CLASSES))]
        self.pictures_of = []
        for c in range(len(CLASSES)):
            views = {}
            for i in np.flatnonzero(frame_classes == c):
                views.setdefault(int(frame_pictures[i]), []).append(i)
            self.pictures_of.append(list(views.values()))
        self.classes = [c for c in range(len(CLASSES)) if len(self.sounds_of[c]) and self.pictures_of[c]]

    def one(self):
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
        for _ in range(rng.integers(1, MOST_FRAMES + 1)):
            views = nothing[rng.integers(len(nothing))] if rng.random() < empty else pictures[rng.integers(len(pictures))]
            chosen.append(views[rng.integers(len(views))])
        sounds = self.sounds_of[NONE_INDEX if kind > 0.92 else heard]
        return self.sounds[rng.choice(sounds)], self.frames[chosen], c

    def batch(self, n):
        """(sounds [n, 14], [frames [k, 14]], classes [n])."""
        sounds, frames, classes = zip(*(self.one() for _ in range(n)))
        return torch.stack(sounds), frames, torch.tensor(classes)


def clip_log_p(pool, frames):
    return torch.cat([pool(f[None]) for f in frames])


def train(pool, experts, pairs, steps, batch, rate, decay, seed):
    """Fit the few numbers of the fusion; decay pulls them towards the plain product of experts."""
    torch.manual_seed(seed)
    parameters = [*pool.parameters(), *experts.parameters()]
    start = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in tqdm(range(steps), "fusion", mininterval=10):
        sounds, frames, classes = pairs.batch(batch)
        looks = clip_log_p(pool, frames)
        log_p = experts(looks, sounds, torch.ones(batch, 2))
        # The pooled frames alone must hold up as well.
        loss = nn.functional.nll_loss(log_p, classes) + 0.3 * nn.functional.nll_loss(looks, classes)
        loss = loss + decay * sum(((p - s) ** 2).sum() for p, s in zip(parameters, start))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def compare(pool, experts, sounds, frames, classes):
    """{method: scores} of sound alone, pictures alone (mean of the frames), their mean, and the fusion."""
    with torch.no_grad():
        n = len(classes)
        looks = clip_log_p(pool, frames)
        mean = torch.stack([f.exp().mean(0) for f in frames])
        fused = {name: experts(looks, sounds, torch.tensor(present).expand(n, 2)).exp() for name, present in
                 (("fusion", [1.0, 1.0]), ("fusion, pictures alone", [1.0, 0.0]), ("fusion, sound alone", [0.0, 1.0]))}
    methods = {"sound": sounds.exp(), "pictures": mean, "mean of both": (sounds.exp() + mean) / 2, **fused}
    return {name: visual.scores(p, classes) for name, p in methods.items()}, methods


def load(args, video_head, audio_head):
    """({set: (log-probabilities of sounds, classes)}, log-probabilities of frames, what `visual` stored with them)."""
    cache = args.cache / "fusion"
    makers = {"corpus": lambda: patches(args.cache, args.held_out, args.each, args.strength, args.seed)}
    for name, files in audio.held_out(args.data, args.extra, args.held_out).items():
        makers[name] = lambda files=files: recordings(files)
    sounds = {}
    with torch.no_grad():
        for name, make in makers.items():
            embedding, classes = embeddings(cache, args.audio_model, name, make)
            sounds[name] = audio_head(embedding).log_softmax(-1), classes
        with np.load(args.frames) as file:
            stored = dict(file)
        frames = video_head(torch.from_numpy(stored.pop("embeddings").astype(np.float32)))
    return sounds, frames, stored


def main(argv):
    parser = argparse.ArgumentParser(prog="train fusion", description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="with the audio corpus of `render`")
    parser.add_argument("--frames", type=pathlib.Path, required=True, help="frames.npz of `visual`")
    parser.add_argument("--video-model", type=pathlib.Path, required=True)
    parser.add_argument("--audio-model", type=pathlib.Path, required=True)
    parser.add_argument("--held-out", nargs="*", default=["fsd"], help="sources of audio/ that trained no model")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="folders of LABEL*.ogg, for tests alone")
    parser.add_argument("--each", type=int, default=30, help="patches a class from the training corpus")
    parser.add_argument("--strength", type=float, default=1.5, help="of the changes to them; training had 1")
    parser.add_argument("--mismatch", type=float, nargs=2, default=(0.15, 0.08), metavar=("SOUND", "PICTURES"),
                        help="share of the pairs with the wrong sound, and with the wrong pictures: both models meet in "
                             "real videos what they did not in training, the audio model more often")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=pathlib.Path, help="the ONNX file to write")
    parser.add_argument("--confusions", type=pathlib.Path,
                        help="the PNG file of confusion matrices to write, of pairs with the first --extra")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    video_head, audio_head = heads(args.video_model, args.audio_model)
    sounds, frames, stored = load(args, video_head, audio_head)
    classes, pictures, kinds, names = (stored[k] for k in ("classes", "pictures", "kinds", "names"))

    # Half of the held-out sounds and of the left-out pictures fit the fusion, the other halves test it.
    held = [torch.cat([sounds[s][i] for s in args.held_out]) for i in (0, 1)]
    even = np.arange(len(held[0])) % 2 == 0
    fit_sounds, fit_classes = (torch.cat([sounds["corpus"][i], held[i][even]]) for i in (0, 1))
    fit = (kinds == "left out") & (pictures % 2 == 0)
    test = (kinds == "held out") & (classes < NONE_INDEX) | (kinds == "left out") & (pictures % 2 == 1)
    pool, experts = Frames(), Experts()
    train(pool, experts,
          Pairs(fit_sounds, fit_classes.numpy(), frames[fit], classes[fit], pictures[fit], args.seed, args.mismatch),
          args.steps, args.batch, args.rate, args.decay, args.seed)
    for name, value in [*pool.named_parameters(), *experts.named_parameters()]:
        print(f"{name:12}", np.round(value.detach().numpy(), 2))

    results = {}
    tests = {"+".join(args.held_out): [part[~even] for part in held]}
    tests.update({folder.name: sounds[folder.name] for folder in args.extra})
    for name, (log_p, target) in tests.items():
        nothing, nothing_classes = (part[sounds["corpus"][1] == NONE_INDEX] for part in sounds["corpus"])
        known = target >= 0
        pairs = Pairs(torch.cat([log_p[known], nothing]), torch.cat([target[known], nothing_classes]).numpy(),
                      frames[test], classes[test], pictures[test], args.seed + 1)
        pairs.classes = [c for c in pairs.classes if c < NONE_INDEX]
        batch = pairs.batch(1000)
        results[f"{name}, 1000 pairs"], methods = compare(pool, experts, *batch)
        if args.confusions and args.extra and name == args.extra[0].name:
            plots.confusions({m: methods[m] for m in ("sound", "pictures", "fusion")}, batch[2], args.confusions)
    paths = sorted(args.data.glob("clips/*.mp4"))
    clips = [(p.stem, sounds["clips"][0][i], frames[(kinds == "clip") & (names == p.stem)]) for i, p in enumerate(paths)]
    labelled = [c for c in clips if visual.clip_target(c[0]) is not None]
    results["labelled clips"] = compare(
        pool, experts, torch.stack([c[1] for c in labelled]), [c[2] for c in labelled],
        torch.tensor([visual.clip_target(c[0]) for c in labelled]))[0]
    for name, figures in results.items():
        visual.show(name, figures)
    methods = compare(pool, experts, torch.stack([c[1] for c in clips]), [c[2] for c in clips], torch.zeros(len(clips)))[1]
    for i, (name, _, _) in enumerate(clips):
        best = {m: int(p[i, :NONE_INDEX].argmax()) for m, p in methods.items() if "," not in m}
        print(f"  {name:16}" + "  ".join(f"{m} {LABELS[b]} {methods[m][i, b]:.2f}" for m, b in best.items()))
    if args.export:
        export(Fusion(video_head, audio_head, pool, experts), args, results)


def recordings(files):
    """`mel` inputs and classes (-1: none of the labels) of whole files: their middle 29.12 s."""
    return (np.stack([audio.patch(p) for p, _ in files]).astype(np.float16),
            np.array([-1 if c is None else c for _, c in files]))


def export(fusion, args, results):
    """The fusion model, weights rounded to float16, as a self-describing ONNX file."""
    half.round_weights(fusion)
    video, sound = card.read(args.video_model), card.read(args.audio_model)
    metrics = "; ".join(f"{name}: " + ", ".join(f"{m} {f['hit@1']:.1f}" for m, f in figures.items() if m in
                        ("sound", "pictures", "mean of both", "fusion")) for name, figures in results.items())
    described = card.describe(
        NAME, "fusion", "", "MPL-2.0",
        provenance=f"late fusion of {video['embedding']} and {sound['embedding']}; trained on pairs of photographs and "
                   "sounds that are mostly not in either model's training",
        metrics=f"Hit@1, {metrics}",
        fusion={"video": video["embedding"], "audio": sound["embedding"], "frames": "any"})
    generator = torch.Generator().manual_seed(args.seed)
    example = {"video": torch.rand(4, 20, 1280, generator=generator), "audio": torch.randn(4, 1024, generator=generator),
               "present": torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])}
    example["audio"][1] = 0
    example["video"][2] = 0
    card.export(fusion, example, ["tags"], args.export, described, {"video": {1: "k"}})
    half.store(args.export)
    print(f"{args.export}: {args.export.stat().st_size / 1e6:.1f} MB")
