# SPDX-License-Identifier: MPL-2.0
"""Train, evaluate and export the sound models on what `corpus.render` and `corpus.music` made."""

import argparse
import copy
import csv
import math
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F

from ..corpus.audioset import groups
from ..corpus.sources import VALIDATION
from ..export import card, half
from ..export.calibration import temperature
from ..features.frontend import compress
from ..features.patches import SCORES, Corpus, Patches
from ..labels import LABELS
from .judge import Validation, describe, judge_of
from .models import EMBEDDING, MODELS, add_arguments, beginning, trained

DECAY = 0.995  # of the running mean of the weights, which is what is judged and kept
EPOCH = 200  # steps between two validations


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MODELS[args.model]
    frontend = model.make(args).frontend
    frames, batch, rate = (getattr(args, k) or getattr(model, k) for k in ("frames", "batch", "rate"))
    member = groups(args.data / "teachers" / "yamnet_class_map.csv")
    corpus = Corpus(args.cache, frontend, VALIDATION, member=member)
    corpus.summary()
    validation = Validation(args.cache, frontend, frames)
    judge = judge_of(args, frontend, model.segmentation)

    network = model.make(args).to(device, memory_format=torch.channels_last)
    teacher = torch.nn.Linear(EMBEDDING, SCORES).to(device)  # reads YAMNet's scores from the embedding, in training alone
    trained = [p for p in network.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained] if args.anchor else None
    optimizer = torch.optim.Adam([{"params": trained}, {"params": teacher.parameters()}], lr=rate, fused=True)
    state = {"step": 0, "minutes": 0.0, "best": math.inf, "waited": 0}
    average = copy.deepcopy(network)
    best = copy.deepcopy(network.state_dict())
    checkpoint = args.cache / f"{args.run or args.model}.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        network.load_state_dict(saved["network"]), average.load_state_dict(saved["average"]), teacher.load_state_dict(saved["teacher"])
        optimizer.load_state_dict(saved["optimizer"])
        state, best = saved["state"], saved["best"]
    elif args.start:
        network.load_state_dict(beginning(args, device))
        average.load_state_dict(network.state_dict())

    def save():
        partial = checkpoint.with_suffix(".tmp")
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "best": best,
                "teacher": teacher.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": state,
            },
            partial,
        )
        partial.replace(checkpoint)

    drawn = Patches(corpus, frames, args.seed + 1000 * state["step"], args.real, args.taught, args.none, args.strength)
    loader = iter(torch.utils.data.DataLoader(drawn, batch_size=batch, num_workers=args.workers))
    log = open(checkpoint.with_suffix(".csv"), "a", newline="")  # noqa: SIM115  until the training ends
    table = csv.writer(log)
    if not log.tell():
        table.writerow(("step", "minutes", "loss", "set", "hit1", "hit3", "f1"))
    last, losses = time.process_time(), []
    while (args.minutes is None or state["minutes"] < args.minutes) and state["waited"] < args.patience:
        factor = min(1, (state["step"] + 1) / 100)
        if args.minutes:  # down to nothing as the half cosine of the time spent
            factor *= 0.5 * (1 + math.cos(math.pi * state["minutes"] / args.minutes))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        mels, targets, opinions = (part.to(device) for part in next(loader))
        network.train()
        with torch.autocast(device.type, torch.bfloat16):
            logits, embedding = network(mels)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=args.smoothing)
        asked = ~opinions[:, 0].isnan()
        if args.distil and asked.any():
            loss = loss + args.distil * F.binary_cross_entropy_with_logits(teacher(embedding.float()[asked]), opinions[asked], reduction="none").sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()
        state["step"] += 1
        with torch.no_grad():
            if start:  # towards the weights it began with (L2-SP)
                torch._foreach_lerp_(trained, start, args.anchor * factor)
            decay = min(DECAY, state["step"] / (state["step"] + 20))
            for mean, now in zip(average.state_dict().values(), network.state_dict().values()):
                mean.lerp_(now, 1 - decay) if mean.is_floating_point() else mean.copy_(now)
        losses.append(loss.item())
        now = time.process_time()
        state["minutes"], last = state["minutes"] + (now - last) / 60, now
        if state["step"] % args.epoch == 0:
            value, hit = validation(average)
            better = value < state["best"]
            state["waited"] = 0 if better else state["waited"] + 1
            if better:
                state["best"], best = value, copy.deepcopy(average.state_dict())
            print(f"step {state['step']} {state['minutes']:.1f} min, loss {np.mean(losses):.3f}, validation {value:.3f} Hit@1 {hit:.1f}", flush=True)
            table.writerow((state["step"], f"{state['minutes']:.2f}", f"{np.mean(losses):.4f}", "train", "", "", ""))
            table.writerow((state["step"], f"{state['minutes']:.2f}", f"{value:.4f}", "validation", f"{hit:.2f}", "", ""))
            if state["step"] % (args.report * args.epoch) == 0:
                report(judge, average, state, table)
            log.flush()
            losses = []
            save()
    save()
    report(judge, average, state, table)
    log.close()


def report(judge, network, state, table):
    result, _ = judge(network)
    print(f"step {state['step']} {describe(result)}", flush=True)
    for name, values in result.items():
        table.writerow([state["step"], f"{state['minutes']:.2f}", "", name, *(f"{values[k]:.2f}" for k in ("hit@1", "hit@3", "f1"))])


def evaluate(args):
    model = MODELS[args.model]
    network = trained(args)
    judge = judge_of(args, network.frontend, args.segmentation or model.segmentation)
    result, tags = judge(network)
    for name, values in result.items():
        print(describe({name: values}))
        files = judge.sets[name][2]
        truth = np.array([-1 if c is None else c for _, c in files])
        print(
            "   ",
            ", ".join(
                f"{LABELS[k]} {np.sum(tags[name][truth == k].argmax(1) == k)}/{np.sum(truth == k)}" for k in sorted(set(truth[(truth >= 0) & (truth < 13)]))
            ),
        )
        for (path, c), row in zip(files, tags[name]) if name in args.show else ():
            best = np.argsort(-row)[:3]
            print(f"{'ok ' if c == best[0] else '   '}{path.stem:32}", ", ".join(f"{LABELS[i]} {row[i]:.2f}" for i in best), f"| none {1 - row.sum():.2f}")


def export(args):
    model = MODELS[args.model]
    network = trained(args)
    fitted = temperature(*Validation(args.cache, network.frontend, args.frames or model.frames).logits(network))
    network.rescale(fitted)
    half.round_weights(network)
    metrics = describe(judge_of(args, network.frontend, model.segmentation)(network)[0])
    name, frontend = f"{args.model}-yt8m13", network.frontend
    description = card.describe(
        name, "audio", f"{name}/{model.release}", "MPL-2.0", args.provenance, f"not in training: {metrics}; temperature {fitted:.2f}", frontend=frontend
    )
    error = write(network.exported(), frontend, args.out, description)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; {metrics}; temperature {fitted:.2f}; ONNX Runtime differs from torch by {error:.1e}")


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


def plot(args):
    """The training curve: loss by step, and Hit@1 of the held-out sets."""
    from matplotlib import pyplot

    with open(args.cache / f"{args.run or args.model}.csv") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        for axes, column in ((left, "loss"), (right, "hit1")):
            if own[0][column]:
                axes.plot([int(row["step"]) for row in own], [float(row[column]) for row in own], "o-", markersize=3, label=name)
    left.set(xlabel="step", ylabel="loss", title=f"{args.model}: training")
    right.set(xlabel="step", ylabel="Hit@1, per cent", title="Sources that training does not see", ylim=(0, 100))
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(args.out, dpi=110)


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.train", description=__doc__)
    parser.add_argument("command", choices=("train", "evaluate", "export", "plot"))
    add_arguments(parser)
    parser.add_argument("--minutes", type=float, help="of CPU time of the whole training, over which the learning rate falls to nothing (no limit, constant)")
    parser.add_argument("--patience", type=int, default=10, help="epochs without a better validation loss after which training stops")
    parser.add_argument("--epoch", type=int, default=EPOCH, help="steps of an epoch")
    parser.add_argument("--report", type=int, default=4, help="epochs between two reports on the held-out recordings")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--anchor", type=float, default=0.0, help="pull towards the weights it began with, a step (L2-SP)")
    parser.add_argument("--distil", type=float, default=0.0, help="weight of YAMNet's scores as further targets")
    parser.add_argument("--smoothing", type=float, default=0.05, help="of the labels")
    parser.add_argument("--real", type=float, default=0.4, help="share of real notes for labels that have them")
    parser.add_argument("--taught", type=float, default=0.3, help="share of music labelled by the teacher")
    parser.add_argument("--none", type=float, default=0.05, help="share of noise, speech and effects")
    parser.add_argument("--strength", type=float, default=1.0, help="of the augmentation")
    parser.add_argument("--segmentation", choices=("central", "uniform", "spread", "all"), help="of the recordings (the model's)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make patches")
    parser.add_argument("--show", nargs="*", default=[], help="held-out sets to list file by file")
    args = parser.parse_args(argv)
    {"train": train, "evaluate": evaluate, "export": export, "plot": plot}[args.command](args)
