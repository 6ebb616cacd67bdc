# SPDX-License-Identifier: MPL-2.0
"""Train, judge and export the paper's sound networks, taught by the labels and by CED.

    python -m train sound.train train --model choi --data DATA --cache CACHE --ced CRATES --start choi-yt8m13.onnx --minutes 20 --without 4
    python -m train sound.train judge --model choi --data DATA --cache CACHE --without 4 --out choi.jsonl
    python -m train sound.train export --model choi --data DATA --cache CACHE --without 4 --out choi-yt8m13.onnx

CACHE is what `corpus.music` and, if wanted, `corpus.render` made. What is judged and exported is the running mean of the weights.
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F

from ..corpus import real
from ..export import card, half
from ..export.calibration import temperature
from ..features.frontend import compress
from ..features.patches import SCORES, Corpus, Patches
from ..labels import LABELS, class_of
from ..networks import ced
from ..scores import line, scores
from ..teaching import Teaching, add_arguments, averaged, checkpoint, plot
from .judge import Recordings, Validation
from .models import EMBEDDING, MODELS

EPOCH = 100  # steps between two validations


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MODELS[args.model]
    network = model.make()
    frames, batch, rate = (getattr(args, k) or getattr(model, k) for k in ("frames", "batch", "rate"))
    folds = [fold for fold in range(real.FOLDS) if fold not in args.without]
    corpus = Corpus(args.cache, network.frontend, folds, ced.names(args.ced / ced.CLASSES))
    corpus.summary()
    validation = Validation(args.cache, network.frontend, frames, args.without)
    if args.start:
        network.begin(args.start, validation.mels)
    network = network.to(device, memory_format=torch.channels_last)
    lesson = torch.nn.Linear(EMBEDDING, SCORES).to(device)  # reads CED's scores from the embedding, in training alone
    teaching = Teaching(network, {"lesson": lesson}, checkpoint(args), rate, args.minutes)
    drawn = Patches(corpus, frames, args.seed + 1000 * teaching.steps, args.real, args.taught, args.none, args.strength)
    loader = iter(torch.utils.data.DataLoader(drawn, batch_size=batch, num_workers=args.workers))

    def loss():
        mels, targets, opinions = (part.to(device) for part in next(loader))
        network.train()
        with torch.autocast(device.type, torch.bfloat16):
            logits, embedding = network(mels)
        labels = F.cross_entropy(logits.float(), targets, label_smoothing=args.smoothing)
        asked = ~opinions[:, 0].isnan()
        wanted = opinions[asked]
        said = F.binary_cross_entropy_with_logits(lesson(embedding.float()[asked]), wanted, reduction="none").sum(1)
        return torch.stack([labels, args.distil * said.sum() / max(1, len(wanted))])

    teaching.run(loss, validation, args.epoch)


def judge(args):
    """What the recordings of the folds left out, and those that only test, get: figures by source, and JSON lines."""
    torch.set_num_threads(args.threads)
    network = averaged(MODELS[args.model].make(), args)
    network.rescale(fitted(args, network))
    recordings = Recordings(args.data, args.cache, network.frontend, MODELS[args.model].segmentation, [*args.without, real.TEST])
    tags, classes = recordings.tags(network), np.array([class_of(i.label) for i in recordings.items])
    for source in real.SOUNDS:
        own = [k for k, item in enumerate(recordings.items) if item.source == source and classes[k] < len(LABELS)]
        if own:
            print(f"{source} n={len(own)}", *(f"{k} {v:.1f}" for k, v in scores(tags[own], classes[own]).items()))
    if args.out:
        args.out.write_text("".join(line(item.path, "audio", row) + "\n" for item, row in zip(recordings.items, tags)))


def fitted(args, network):
    """The temperature, by the folds left out."""
    return temperature(*Validation(args.cache, network.frontend, args.frames or MODELS[args.model].frames, args.without).logits(network))


def export(args):
    model = MODELS[args.model]
    network = averaged(MODELS[args.model].make(), args)
    divisor = fitted(args, network)
    network.rescale(divisor)
    half.round_weights(network)
    name, frontend = f"{args.model}-yt8m13", network.frontend
    metrics = f"{args.metrics}; temperature {divisor:.2f}"
    provenance = "trained on real recordings and unlabelled music, taught by CED-Tiny (Dinkel et al. 2023): models/train/README.md"
    description = card.describe(name, "audio", f"{name}/{model.release}", "MPL-2.0", provenance, metrics, frontend=frontend)
    error = write(network.exported(), frontend, args.out, description)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; temperature {divisor:.2f}; ONNX Runtime differs from torch by {error:.1e}")


def write(module, frontend, path, description):
    """Export a module whose weights `half.round_weights` has rounded; returns how far ONNX Runtime is from torch."""
    generator = np.random.default_rng(0)
    size = (frontend["bands"], frontend["patch-frames"])
    example = torch.from_numpy(np.stack([compress(generator.random(size, np.float32) * 10.0**k, frontend) for k in (-3, 0)]))[:, None]
    error = card.export(module, {"mel": example}, ["tags", "embedding"], path, description)
    half.store(path)
    model = onnx.load(path)
    for output, width in zip(model.graph.output, (len(LABELS), EMBEDDING)):
        output.type.tensor_type.shape.dim[1].dim_value = width  # which the exporter does not always see
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return error


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "judge", "export", "plot"))
    parser.add_argument("--model", choices=MODELS, default="choi")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/")
    add_arguments(parser, EPOCH)
    parser.add_argument("--frames", type=int, help="of a training patch (the model's)")
    parser.add_argument("--ced", type=pathlib.Path, help="folder of the unpacked crates, for training")
    parser.add_argument("--start", help="an exported model of the network to begin with (random weights)")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--distil", type=float, default=0.02, help="weight of CED's scores as further targets")
    parser.add_argument("--real", type=float, default=0.6, help="share of real recordings for labels that have rendered ones too")
    parser.add_argument("--taught", type=float, default=0.3, help="share of unlabelled music")
    parser.add_argument("--none", type=float, default=0.05, help="share of noise, speech and effects")
    parser.add_argument("--strength", type=float, default=1.0, help="of the augmentation")
    parser.add_argument("--workers", type=int, default=0, help="processes that make patches")
    args = parser.parse_args(argv)
    {"train": train, "judge": judge, "export": export, "plot": plot}[args.command](args)
