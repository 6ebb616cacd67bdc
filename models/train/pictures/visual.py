# SPDX-License-Identifier: MPL-2.0
"""What the picture networks share: cached activations to scores, figures of pictures and clips, export."""

import pathlib
from functools import partial

import numpy as np
import torch

from ..corpus import photographs
from ..export import card, half
from ..labels import CLASSES, LABELS, NONE
from ..scores import scores
from . import activations

# Of the random video frames that are made of the pictures that training leaves out.
VIEWS_SEED = 77


def folder(cache, variant, split, fit, held_out):
    """Where the activations are cached."""
    return pathlib.Path(cache, f"visual-lite{variant}-{split}-{fit}-" + "-".join(held_out))


def embed(tagger, x, split):
    """Cached activations float16 [N, C, h, w] to embeddings float32 [N, D]."""
    # A CPU that does not know bfloat16 takes twenty times as long with it.
    kind = torch.bfloat16 if x.is_cuda or torch.cpu._is_avx512_bf16_supported() else torch.float32
    with torch.autocast(x.device.type, kind, enabled=kind == torch.bfloat16):
        return tagger.network.late(x.to(kind, memory_format=torch.channels_last), split).float()


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
        figures[f"none {name}"] = {
            "taken for none": 100 * float((p[empty, none] > 0.5).mean()),
            "instruments taken for none": 100 * float((p[y < none, none] > 0.5).mean()),
        }
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
    training, test = photographs.split(photographs.scan(args.data), args.held_out)
    fold = photographs.fold(training)
    return training, test + [p for p in training if p in fold], torch.tensor([p in fold for p in training])


def test_views(folder, early, test, *views):
    """{name: what `early` makes of all test pictures}: as they are, and as random video frames."""
    nones = [p for p in test if p.folder == NONE]
    datasets = {"plain": activations.EachFrame(test, views), "video-like": activations.EachFrame(test, views, nones, VIEWS_SEED)}
    return {name: activations.cached(folder / f"{name}.pt", partial(activations.run, early, dataset, name, 1)) for name, dataset in datasets.items()}


def clip_views(folder, early, clips, *views):
    """{"<fit> <clip>": activations} of the frames of videos in the folder `clips`, a view at a time."""
    found = photographs.clip_frames(clips)
    every = [p for ps in found.values() for p in ps]
    parts = {}
    for view in views:
        name = f"clips-{view[1]}"
        x = activations.cached(folder / f"{name}.pt", partial(activations.run, early, activations.EachFrame(every, (view,)), name, 1))[0]
        for clip, part in zip(found, x.split([len(ps) for ps in found.values()])):
            parts[f"{view[1]} {clip}"] = part
    return parts


def show_clips(means):
    for name, p in means.items():
        best = np.argsort(-p[: len(LABELS)])[:3]
        print(f"  {name:24}" + "  ".join(f"{LABELS[i]} {p[i]:.2f}" for i in best) + f"  none {p[-1]:.2f}")


def summary(figures, held_out):
    """The figures of pictures and videos that did not train, in one line."""
    return "not in training: " + "; ".join(
        f"{name} Hit@1 {f['hit@1']:.1f} Hit@3 {f['hit@3']:.1f} F1 {f['f1']:.1f}"
        for name, f in figures.items()
        if name.split()[0] in (*held_out, "k30", "clips")
    )


def export(tagger, path, name, view, metrics, provenance, licence="MPL-2.0", bits=16, embedding=1):
    """The tagger, its weights stored in so many bits, as a self-describing ONNX file; `embedding` is the version of its embedding."""
    tagger = tagger.float().cpu().eval()
    if bits == 16:
        half.round_weights(tagger)
    size, fit, crop_fraction = view
    path = pathlib.Path(path)
    example = {"frame": torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)}
    described = card.describe(
        name, "video", f"{name}/{embedding}", licence, provenance=provenance, metrics=metrics, frame={"fit": fit, "crop-fraction": crop_fraction}
    )
    card.export(tagger, example, ["tags", "embedding"], path, described)
    half.store(path, bits)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
