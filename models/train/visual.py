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
# Of the random video frames that are made of the pictures that training leaves out.
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
        embedding = self.network(self.network.normalise(frame))
        return self.head(embedding).exp()[:, :len(LABELS)], embedding


def pretrained(variant):
    network, weight, bias = efficientnet.imagenet(variant)
    return Tagger(network, Head(weight, bias)).eval()


def released(path):
    """(tagger, variant) with the weights of an exported file."""
    stored = half.weights(path)
    for variant in efficientnet.VARIANTS:
        tagger = pretrained(variant)
        shapes = {name: p.shape for name, p in tagger.named_parameters()}
        if all(name in stored and stored[name].shape == shape for name, shape in shapes.items()):
            tagger.load_state_dict({name: stored[name] for name in shapes}, strict=False)
            return tagger, variant
    raise ValueError(f"{path} is no EfficientNet-Lite tagger: its weights fit none of the variants "
                     + ", ".join(map(str, efficientnet.VARIANTS)))


def folder(cache, variant, split, fit, held_out):
    """Where the activations are cached."""
    return pathlib.Path(cache, f"visual-lite{variant}-{split}-{fit}-" + "-".join(held_out))


def trained_parameters(tagger, split):
    """What training may change: the 1x1 convolutions from block `split` on, and the rows."""
    blocks = tagger.network.blocks[split:]
    layers = [layer for b in blocks for layer in (b.expand, b.project)] + [tagger.network.head, tagger.head]
    return [p for layer in layers for p in layer.parameters()]


def embed(tagger, x, split, late=None):
    """Cached activations float16 [N, C, h, w] to embeddings float32 [N, D]; `late` replaces the network's own."""
    with torch.autocast(x.device.type, torch.bfloat16):
        x = x.to(torch.bfloat16, memory_format=torch.channels_last)
        return (late(tagger.network, x, split) if late else tagger.network.late(x, split)).float()


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
        log_p = tagger.head(embed(tagger, x[chosen].to(device), split, efficientnet.late_for_training))
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
        parts = [tagger.head(embed(tagger, part.to(device), split)).exp() for part in x.split(batch)]
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


def split(args):
    """(training pictures, test pictures, which of the training pictures are tested with instead)."""
    training, test = pictures.split(pictures.scan(args.data), args.held_out)
    fold = pictures.fold(training)
    return training, test + [p for p in training if p in fold], torch.tensor([p in fold for p in training])


def shard(folder, early, training, seed, i, *views):
    """What `early` makes of shard i, and the indices of its pictures: from the cache or made."""
    name = f"shard-{i:03d}"
    return activations.cached(folder / f"{name}.pt",
                              lambda: activations.run(early, activations.RandomFrames(training, seed, *views), name, 1))


def test_views(folder, early, test, *views):
    """{name: what `early` makes of all test pictures}: as they are, and as random video frames."""
    nones = [p for p in test if p.folder == NONE]
    datasets = {"plain": activations.EachFrame(test, views), "video-like": activations.EachFrame(test, views, nones, VIEWS_SEED)}
    return {name: activations.cached(folder / f"{name}.pt", lambda: activations.run(early, dataset, name, 1))
            for name, dataset in datasets.items()}


def clip_views(folder, early, clips, *views):
    """{"<fit> <clip>": activations} of the frames of videos in the folder `clips`, a view at a time."""
    found = pictures.clip_frames(clips)
    every = [p for ps in found.values() for p in ps]
    parts = {}
    for view in views:
        name = f"clips-{view[1]}"
        x = activations.cached(folder / f"{name}.pt",
                               lambda: activations.run(early, activations.EachFrame(every, (view,)), name, 1))[0]
        for clip, part in zip(found, x.split([len(ps) for ps in found.values()])):
            parts[f"{view[1]} {clip}"] = part
    return parts


def show_clips(means):
    for name, p in means.items():
        best = np.argsort(-p[:len(LABELS)])[:3]
        print(f"  {name:24}" + "  ".join(f"{LABELS[i]} {p[i]:.2f}" for i in best) + f"  none {p[-1]:.2f}")


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

    training, test, left_out = split(args)
    original = pretrained(args.variant)
    view = (original.network.size, args.fit, 1.0)
    early = activations.Early(copy.deepcopy(original.network), args.split, args.device, args.compile)
    cache = folder(args.cache, args.variant, args.split, args.fit, args.held_out)
    shards = []
    for i in range(args.shards):
        x, index = shard(cache, early, training, args.seed + i, i, view)
        shards.append((x[~left_out[index]], index[~left_out[index]]))
    views = test_views(cache, early, test, view)
    clips = clip_views(cache, early, args.clips, *((view[0], how, 1.0) for how in ("stretch", "crop"))) if args.clips else {}

    original = original.to(args.device, memory_format=torch.channels_last)
    judged = views["plain"], views["video-like"]
    show("ImageNet's weights", evaluate(original, args.split, *judged, test, clips)[0])
    tuned = copy.deepcopy(original)
    losses = train(tuned, shards, torch.tensor([p.target for p in training]), args.split, args.steps, args.batch,
                   args.rate, args.anchor, args.smoothing, args.device, args.seed)
    if args.curve:
        plots.curve(losses, args.curve)
    for share in sorted({0.5, 1.0, args.average}):
        mixed = interpolate(original, tuned, share)
        figures, means = evaluate(mixed, args.split, *judged, test, clips)
        show(f"{share:.2f} of the trained weights", figures)
        if share == args.average:
            chosen, chosen_figures, chosen_means = mixed, figures, means
    show_clips(chosen_means)
    if args.export:
        metrics = summary({k: v for k, v in chosen_figures.items() if k != f"clips {OTHER_FIT[args.fit]}"}, args.held_out)
        export(chosen, args.export, NAME, view, metrics,
               f"EfficientNet-Lite{args.variant} with ImageNet weights (Apache-2.0), last blocks fine-tuned on "
               "photographs of instruments (a public 30-class set, ImageNet samples) made to look like video frames")


def summary(figures, held_out):
    """The figures of pictures and videos that did not train, in one line."""
    return "not in training: " + "; ".join(
        f"{name} Hit@1 {f['hit@1']:.1f} Hit@3 {f['hit@3']:.1f} F1 {f['f1']:.1f}" for name, f in figures.items()
        if name.split()[0] in (*held_out, "k30", "clips"))


def export(tagger, path, name, view, metrics, provenance, licence="MPL-2.0", bits=16):
    """The tagger, its weights stored in so many bits, as a self-describing ONNX file."""
    tagger = tagger.float().cpu().eval()
    if bits == 16:
        half.round_weights(tagger)
    size, fit, crop_fraction = view
    path = pathlib.Path(path)
    example = {"frame": torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)}
    described = card.describe(name, "video", f"{name}/1", licence, provenance=provenance, metrics=metrics,
                              frame={"fit": fit, "crop-fraction": crop_fraction})
    card.export(tagger, example, ["tags", "embedding"], path, described)
    half.store(path, bits)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
