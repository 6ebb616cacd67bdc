# SPDX-License-Identifier: MPL-2.0
"""Exports the taggers made of CED-Tiny, and compares `ced-audioset` with the crate's own graph.

    python -m train sound.export audioset --ced CRATES --scale 1.1 --offset 0.9 --out ced-audioset.onnx
    python -m train sound.export yt8m13 --ced CRATES --weights CACHE/ced.pt --out ced-yt8m13.onnx
    python -m train sound.export compare --ced CRATES --model ced-audioset.onnx --data DATA

`CRATES` holds `soundevents-0.5.0` and `soundevents-dataset-0.2.0`, as cargo unpacks them.
"""

import argparse
import pathlib

import numpy as np
import torch

from ..corpus import real
from ..corpus.recordings import load
from ..export import card, half
from ..export.session import session
from ..labels import AUDIOSET, class_of
from ..networks import ced
from ..networks.ced import CLASSES, CRATE
from . import tagger

# Frames. CED takes 16; sounds below 1.5 s are recognised more often when they repeat, longer ones when they do not.
SHORTEST = 144
# Of the 13 labels' tagger: 10 s hear no better, 2 s hear less.
SEGMENT = 512


def write(model, name, number, labels, frames, provenance, metrics, out, bits):
    """NAME.onnx, its weights stored in `bits`. 8-bit arithmetic is no variant: it changes the best label of one recording in 25 to 8."""
    model = model.eval().requires_grad_(False)
    half.round_weights(model)
    described = card.describe(
        name,
        "audio",
        f"{name}/{number}",
        "MPL-2.0, from CED-Tiny (Apache-2.0)",
        provenance,
        metrics,
        labels="\n".join(labels),
        frontend=ced.FRONTEND | {"patch-frames": frames},
        mel={"min-frames": SHORTEST},
    )
    mel = torch.randn(2, 1, 64, 320) * 15 - 40
    error = card.export(model, {"mel": mel}, ["tags", "embedding"], out, described, {"mel": {3: "frames"}}, tolerance=1e-3)
    half.store(out, bits)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; differs from torch by {error:.1e}")


def compare(args):
    """Scores of the crate's graph against CED-Tiny cut off at its mel input, on the first 10 s of real recordings."""
    names = ced.names(args.ced / CLASSES)
    network, last = ced.pretrained(args.ced / CRATE)
    labels = list(tagger.instruments(names))
    index = [names.index(name) for name in labels]
    crate, differences, top = session(args.ced / CRATE), [], 0
    items = [i for i in real.items(args.data, "web", "sop", "fsd", "mir5") if class_of(i.label) is not None][:: args.every]
    for item in items:
        samples = load(item.path, 16000)[:160000]
        theirs = crate.run(None, {"waveform": samples[None]})[0][0][index]
        mel = torch.from_numpy(ced.mel(samples))[None, None]
        with torch.no_grad():
            ours = torch.sigmoid(last(network(mel)))[0].numpy()[index]
            # With the crate's own 8-bit window and filter bank instead of the exact ones.
            rounded = torch.from_numpy(ced.mel(samples, *ced.rounded(args.ced / CRATE)))[None, None]
            same = torch.sigmoid(last(network(rounded)))[0].numpy()[index]
        differences.append((np.abs(theirs - ours).max(), np.abs(theirs - same).max()))
        top += ours.argmax() == theirs.argmax()
    worst = np.array(differences)
    print(
        f"{len(items)} recordings: the best instrument is the same in {top}; largest difference of a score {worst[:, 0].max():.3f}, "
        f"mean of the largest {worst[:, 0].mean():.4f}; with the crate's window and filter bank {worst[:, 1].max():.5f}"
    )


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("audioset", "yt8m13", "compare"))
    parser.add_argument("--ced", type=pathlib.Path, required=True, help="folder of the unpacked crates")
    parser.add_argument("--weights", type=pathlib.Path, help="what sound.tune wrote")
    parser.add_argument("--scale", type=float, default=1.0, help="calibration of ced-audioset: factor of the logits")
    parser.add_argument("--offset", type=float, default=0.0, help="calibration of ced-audioset: added to the logits")
    parser.add_argument("--metrics", default="")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=10, help="compare every so many-th recording")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.what == "compare":
        return compare(args)
    names = ced.names(args.ced / CLASSES)
    network, last = ced.pretrained(args.ced / CRATE)
    if args.what == "audioset":
        labels = tagger.instruments(names)
        head = tagger.Head(last, names, labels)
        head.scale.data.fill_(args.scale), head.offset.data.fill_(args.offset)
        provenance = "CED-Tiny (Dinkel et al. 2023), trained on AudioSet; from the crate soundevents 0.5.0; scores calibrated on real recordings"
        write(tagger.Tagger(network, head), "ced-audioset", 1, labels, ced.FRONTEND["patch-frames"], provenance, args.metrics, args.out, bits=8)
    else:
        model = tagger.Tagger(network, tagger.Head(last, names, AUDIOSET))
        model.load_state_dict(torch.load(args.weights))
        provenance = "CED-Tiny (Dinkel et al. 2023; AudioSet), fine-tuned on real recordings: models/train/corpus/sources.toml"
        write(model, "ced-yt8m13", 1, AUDIOSET, SEGMENT, provenance, args.metrics, args.out, bits=16)
