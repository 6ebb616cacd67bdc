# SPDX-License-Identifier: MPL-2.0
"""The picture model: EfficientNet-Lite, its 1000 ImageNet rows pooled into the 13 labels and "none".

The early blocks keep ImageNet's weights; the later ones and the rows are trained on random video frames made
from photographs, held near ImageNet's weights (L2-SP) and then averaged with them (WiSE-FT), which keeps what
ImageNet knows of people, stages and rooms.
"""

import argparse
import copy
import pathlib

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn
from tqdm import tqdm

from . import activations, card, efficientnet, half, pictures, plots
from .labels import CLASSES, LABELS, NONE

NAME = "efficientnet-lite-yt8m13"
# ImageNet's own rows of each label; every row that is not named here counts as "none".
IMAGENET_ROWS = {
    "Guitar": (402, 546),  # acoustic, electric
    "Piano": (579, 881),  # grand, upright
    "Drums": (541, 542),  # drum, drumstick
    "Violin": (889,),
    "Accordion": (401,),
    "Saxophone": (776,),
    "Flute": (558,),
    "Organ": (687,),
    "Cello": (486,),
    "Trumpet": (513,),  # cornet
    "Harmonica": (593,),
    "Banjo": (420,),
}
# Each picture that training leaves out, as a random video frame, so many times.
VIEWS = ("video-like", "video-like-2", "video-like-3")
VIEWS_SEED = 77
OTHER_FIT = {"stretch": "crop", "crop": "stretch"}
# ImageNet has no clarinet: its row is added at the end, a copy of the oboe's to start with.
OBOE = 683


class Head(nn.Module):
    """Embeddings [..., 1280] to log-probabilities [..., 14]: a softmax over 1001 rows, summed by class."""

    def __init__(self, weight, bias):
        super().__init__()
        self.rows = nn.Linear(weight.shape[1], len(weight) + 1)
        with torch.no_grad():
            self.rows.weight.copy_(torch.cat([weight, weight[OBOE:OBOE + 1]]))
            self.rows.bias.copy_(torch.cat([bias, bias[OBOE:OBOE + 1]]))
        pool = torch.zeros(len(weight) + 1, len(CLASSES))
        for label, rows in IMAGENET_ROWS.items():
            pool[list(rows), LABELS.index(label)] = 1
        pool[-1, LABELS.index("Clarinet")] = 1
        pool[:, CLASSES.index(NONE)] = 1 - pool.sum(1)
        self.register_buffer("pool", pool)

    def forward(self, embedding):
        return torch.log(self.rows(embedding).softmax(-1) @ self.pool + 1e-9)


class Tagger(nn.Module):
    """uint8 frames [N, H, W, 3] to `tags` [N, 13] and `embedding` [N, 1280]."""

    def __init__(self, network, head):
        super().__init__()
        self.network, self.head = network, head

    def forward(self, frame):
        embedding = self.network(efficientnet.normalise(frame))
        return self.head(embedding).exp()[:, :len(LABELS)], embedding


def pretrained(variant):
    network, weight, bias = efficientnet.imagenet(variant)
    return Tagger(network, Head(weight, bias)).eval()


def trained_parameters(tagger, split):
    """What training may change: the 1x1 convolutions from block `split` on, and the rows."""
    blocks = tagger.network.blocks[split:]
    layers = [layer for b in blocks for layer in (b.expand, b.project)] + [tagger.network.head, tagger.head]
    return [p for layer in layers for p in layer.parameters()]


def log_probabilities(tagger, x, split, late=efficientnet.EfficientNetLite.late):
    """Cached activations float16 [N, C, h, w] to float32 [N, 14]."""
    with torch.autocast(x.device.type, torch.bfloat16):
        embedding = late(tagger.network, x.to(torch.bfloat16, memory_format=torch.channels_last), split)
    return tagger.head(embedding.float())


def train(tagger, shards, targets, split, steps, batch, rate, anchor, smoothing, device, seed):
    """Fine-tune in place on shards of (activations, picture indices); returns the loss of every step."""
    generator = np.random.default_rng(seed)
    parameters = trained_parameters(tagger, split)
    start = [p.detach().clone() for p in parameters]
    tagger.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    losses = []
    for _ in tqdm(range(steps), "train", mininterval=10):
        x, index = shards[generator.integers(len(shards))]
        chosen = torch.from_numpy(generator.choice(len(x), batch, replace=False))
        target = targets[index[chosen]].to(device)
        log_p = log_probabilities(tagger, x[chosen].to(device), split, efficientnet.late_for_training)
        loss = nn.functional.nll_loss(log_p, target) * (1 - smoothing) - smoothing * log_p.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        # L2-SP, decoupled as in AdamW
        with torch.no_grad():
            pull = anchor * schedule.get_last_lr()[0] / rate
            torch._foreach_lerp_(parameters, start, pull)
        losses.append(loss.item())
    return losses


def interpolate(original, tuned, weight):
    """WiSE-FT: (1 - weight) * original + weight * tuned."""
    mixed = copy.deepcopy(original)
    with torch.no_grad():
        for m, t in zip(mixed.parameters(), tuned.parameters()):
            m.lerp_(t, weight)
    return mixed.eval()


def scores(probabilities, targets):
    """Hit@1, Hit@3 and macro-F1 in per cent, of [n, 13 or 14] probabilities over the 13 labels."""
    tags, targets = np.asarray(probabilities)[:, :len(LABELS)], np.asarray(targets)
    order = np.argsort(-tags, 1)
    return {
        "hit@1": 100 * float((order[:, 0] == targets).mean()),
        "hit@3": 100 * float((order[:, :3] == targets[:, None]).any(1).mean()),
        "f1": 100 * float(f1_score(targets, order[:, 0], average="macro", labels=np.unique(targets), zero_division=0)),
    }


def probabilities(tagger, x, split, batch=64):
    """float32 [n, 14] of cached activations, on the tagger's device."""
    device = next(tagger.parameters()).device
    with torch.no_grad():
        parts = [log_probabilities(tagger, x[i:i + batch].to(device), split).exp() for i in range(0, len(x), batch)]
    return torch.cat(parts).cpu().numpy()


def evaluate(tagger, split, plain, hard, test, clips):
    """The figures of one set of weights: {set name: scores}, and the clips' mean probabilities.

    `plain` and `hard` are (activations, indices into `test`): pictures as they are, and as random video frames;
    `clips` maps "<fit> <clip>" to activations.
    """
    figures = {}
    targets = np.array([p.target for p in test])
    sources = np.array([p.source for p in test])
    none = CLASSES.index(NONE)
    for name, (x, index) in (("plain", plain), ("video-like", hard)):
        p = probabilities(tagger, x, split)
        y, source = targets[index.numpy()], sources[index.numpy()]
        for s in np.unique(source[y < none]):
            chosen = (source == s) & (y < none)
            figures[f"{s} {name}"] = scores(p[chosen], y[chosen])
        empty = np.array([test[i].folder == NONE for i in index])
        figures[f"none {name}"] = {"taken for none": 100 * float((p[empty, none] > 0.5).mean()),
                                   "instruments taken for none": 100 * float((p[y < none, none] > 0.5).mean())}
    means = {name: probabilities(tagger, x, split).mean(0) for name, x in clips.items()}
    for how in ("stretch", "crop"):
        labelled = {k: v for k, v in means.items() if k.startswith(how) and clip_target(k) is not None}
        if labelled:
            figures[f"clips {how}"] = scores(np.stack(list(labelled.values())), [clip_target(k) for k in labelled])
    return figures, means


def clip_target(name):
    """Class of "<fit> <label>_<number>", or None when its label is none of the 13."""
    label = name.split()[-1].rsplit("_", 1)[0].capitalize()
    return LABELS.index(label) if label in LABELS else None


def show(title, figures):
    print(title)
    for name, values in figures.items():
        print(f"  {name:24}" + "  ".join(f"{k} {v:5.1f}" for k, v in values.items()))


def main(argv):
    parser = argparse.ArgumentParser(prog="train visual", description=__doc__)
    parser.add_argument("--data", required=True, help="folder with images/<label>/<source>_<number>.jpg")
    parser.add_argument("--cache", required=True, help="folder for activations and weights; a rerun goes on from it")
    parser.add_argument("--clips", help="folder with <label>_<number>_<second>.jpg: frames of videos, for tests alone")
    parser.add_argument("--held-out", nargs="*", default=["c101"], help="picture sources kept out of training")
    parser.add_argument("--variant", type=int, choices=efficientnet.VARIANTS, default=2)
    parser.add_argument("--split", type=int, default=16, help="the first block that is trained")
    parser.add_argument("--fit", choices=("stretch", "crop"), default="crop")
    parser.add_argument("--shards", type=int, default=12, help=f"of {activations.SHARD} random frames each")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1.5e-4, help="AdamW's peak learning rate")
    parser.add_argument("--anchor", type=float, default=1e-3, help="pull towards ImageNet's weights, a step (L2-SP)")
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--average", type=float, default=0.6, help="share of the trained weights (WiSE-FT)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile for the cached blocks: twice as fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", help="the ONNX file to write")
    parser.add_argument("--curve", help="the PNG file of the training loss to write")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    training, test = pictures.split(pictures.scan(args.data), args.held_out)
    fold = pictures.fold(training)
    nones = [p for p in test if p.folder == NONE]
    test = test + [p for p in training if p in fold]
    original = pretrained(args.variant)
    size = original.network.size
    early = activations.Early(copy.deepcopy(original.network), args.split, args.device, args.compile)
    folder = pathlib.Path(args.cache, f"visual-lite{args.variant}-{args.split}-{args.fit}-" + "-".join(args.held_out))

    def cached(name, dataset):
        return activations.cached(folder / f"{name}.pt", lambda: activations.run(early, dataset, name, 1))

    left_out = torch.tensor([p in fold for p in training])
    shards = []
    for i in range(args.shards):
        x, index = cached(f"shard-{i:03d}", activations.RandomFrames(training, args.seed + i, size, args.fit))
        shards.append((x[~left_out[index]], index[~left_out[index]]))
    views = {"plain": cached("plain", activations.EachFrame(test, size, args.fit))}
    for i, name in enumerate(VIEWS):
        views[name] = cached(name, activations.EachFrame(test, size, args.fit, nones, VIEWS_SEED + i))
    clips = {}
    if args.clips:
        frames = pictures.clip_frames(args.clips)
        every = [p for ps in frames.values() for p in ps]
        for how in ("stretch", "crop"):
            x, _ = cached(f"clips-{how}", activations.EachFrame(every, size, how))
            for name, part in zip(frames, x.split([len(ps) for ps in frames.values()])):
                clips[f"{how} {name}"] = part

    original = original.to(args.device, memory_format=torch.channels_last)
    test_views = views["plain"], views[VIEWS[0]]
    show("ImageNet's weights", evaluate(original, args.split, *test_views, test, clips)[0])
    tuned = copy.deepcopy(original)
    losses = train(tuned, shards, torch.tensor([p.target for p in training]), args.split, args.steps, args.batch,
                   args.rate, args.anchor, args.smoothing, args.device, args.seed)
    if args.curve:
        plots.curve(losses, args.curve)
    for share in sorted({0.5, 1.0, args.average}):
        mixed = interpolate(original, tuned, share)
        figures, means = evaluate(mixed, args.split, *test_views, test, clips)
        show(f"{share:.2f} of the trained weights", figures)
        if share == args.average:
            chosen, chosen_figures, chosen_means = mixed, figures, means
    for name, p in chosen_means.items():
        best = np.argsort(-p[:len(LABELS)])[:3]
        print(f"  {name:24}" + "  ".join(f"{LABELS[i]} {p[i]:.2f}" for i in best) + f"  none {p[-1]:.2f}")
    store_frames(chosen, args, folder / "frames.npz", views, test, clips)
    if args.export:
        export(chosen, args, chosen_figures)


def store_frames(tagger, args, path, views, test, clips):
    """The embeddings of all pictures that training did not see, for `fusion`."""
    stored = {"embeddings": [], "classes": [], "pictures": [], "kinds": [], "names": []}

    def add(x, classes, numbers, kinds, names):
        with torch.no_grad(), torch.autocast(args.device, torch.bfloat16):
            e = torch.cat([tagger.network.late(part.to(args.device, torch.bfloat16), args.split).float()
                           for part in x.split(64)]).cpu()
        for key, values in zip(stored, (e.numpy().astype(np.float16), classes, numbers, kinds, names)):
            stored[key].append(np.asarray(values))

    for x, index in views.values():
        chosen = [test[i] for i in index]
        add(x, [p.target for p in chosen], index, ["held out" if p.source in args.held_out else "left out" for p in chosen],
            [p.folder for p in chosen])
    for name, x in clips.items():
        how, name = name.split()
        if how == args.fit:
            add(x, [-1] * len(x), [-1] * len(x), ["clip"] * len(x), [name] * len(x))
    np.savez(path, **{key: np.concatenate(parts) for key, parts in stored.items()})
    print(f"{path}: {sum(map(len, stored['classes']))} frames")


def export(tagger, args, figures):
    """The tagger, weights rounded to float16, as a self-describing ONNX file."""
    metrics = "; ".join(f"{name} Hit@1 {f['hit@1']:.1f} Hit@3 {f['hit@3']:.1f} F1 {f['f1']:.1f}" for name, f in figures.items()
                        if name.split()[0] in (*args.held_out, "k30", "clips") and name != f"clips {OTHER_FIT[args.fit]}")
    tagger = tagger.float().cpu().eval()
    half.round_weights(tagger)
    size = tagger.network.size
    path = pathlib.Path(args.export)
    example = {"frame": torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)}
    described = card.describe(
        NAME, "video", f"{NAME}/1", "MPL-2.0",
        provenance=f"EfficientNet-Lite{args.variant} with ImageNet weights (Apache-2.0), last blocks fine-tuned on "
                   "photographs of instruments (a public 30-class set, ImageNet samples) made to look like video frames",
        metrics=f"not in training: {metrics}", frame={"fit": args.fit, "crop-fraction": 1.0})
    card.export(tagger, example, ["tags", "embedding"], path, described)
    half.store(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
