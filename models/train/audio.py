# SPDX-License-Identifier: MPL-2.0
"""Train, evaluate and export the sound models on what `render` and `teach` made."""

import argparse
import collections
import copy
import csv
import math
import os
import pathlib
import time

import librosa
import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score

from . import card, half
from .choi import Choi
from .frontend import CHOI, compress, segments
from .han import Han
from .labels import LABELS, class_of
from .patches import RATE, SCORES, Corpus, Patches
from .render import load
from .xception import Xception
from .yamnet import groups

Model = collections.namedtuple("Model", "make release segmentation frames batch rate")
MODELS = {
    # make(args), number of the released weights, segmentation of a recording, frames of a training patch, batch, learning rate
    "han": Model(lambda args: Han(), 1, "spread", 43, 64, 1e-3),
    "choi": Model(lambda args: Choi(), 2, "uniform", 192, 32, 1e-3),
    "xception": Model(lambda args: Xception(), 1, "uniform", 96, 32, 1e-3),
}
EMBEDDING = 1024  # of all of them
DECAY = 0.995  # of the running mean of the weights, which is what is judged and kept
EPOCH = 200    # steps between two validations
# Sources that only choose the weights, in no label the only real ones.
VALIDATION = ("TimGM6mb", "tonejs-cello", "tonejs-clarinet", "tonejs-flute", "tonejs-acoustic", "kit-colombo",
              "asterisk-ru", "tuxpaint", "flare", "freedroid")


def patches(path, frontend=CHOI, how="central"):
    """The `mel` inputs [n, bands, frames] of a file, cut as `segments` says."""
    if path.suffix == ".npy":
        samples = librosa.resample(np.load(path).astype(np.float32) / 32768, orig_sr=RATE, target_sr=frontend["rate"], res_type="soxr_mq")
    else:
        samples = load(path, frontend["rate"])
    return segments(samples, frontend, how)


def held_out(data, extra, sources):
    """{set: [(path, class or None)]} of recordings that training does not see.

    `audio/LABEL/SOURCE_*` for each of `sources`, `clips/LABEL_*.mp4`, and `extra` folders of `LABEL*.ogg`.
    """
    sets = {source: [(p, class_of(p.parent.name)) for p in sorted(data.glob(f"audio/*/{source}_*.ogg")) if class_of(p.parent.name) is not None]
            for source in sources}
    sets["clips"] = [(p, class_of(p.stem.split("_")[0])) for p in sorted(data.glob("clips/*.mp4"))]
    alias = {"electric_guitar": "guitar", "drum_kit": "drums", "snare_drum": "drums", "cymbal": "drums",
             "flute_traversiere": "flute"}
    for folder in extra:
        names = [(p, p.stem) for p in sorted(folder.glob("*.ogg"))]
        sets[folder.name] = [(p, class_of(alias.get(name, name))) for p, name in names]
    return sets


def test_sets(args):
    """`held_out`, and the speech and effects that only test as "none"."""
    nothing = sorted((args.cache / "test" / "none").glob("*.npy"))
    return held_out(args.data, args.extra, args.judged) | {"none": [(p, len(LABELS)) for p in nothing]}


def embed(mels, model, batch=8):
    """Tags [n, 13] and embeddings [n, 1024] of `mel` inputs [n, bands, frames] by an exported model."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    parts = [session.run(["tags", "embedding"], {"mel": np.stack(mels[i:i + batch])[:, None].astype(np.float32)})
             for i in range(0, len(mels), batch)]
    return tuple(np.concatenate(p) for p in zip(*parts))


def scores(tags, classes):
    """Hit@1, Hit@3 and macro F1 in per cent over the recordings that have one of the 13 labels."""
    known = [i for i, c in enumerate(classes) if c is not None and c < len(LABELS)]
    order = np.argsort(-tags[known], axis=1)
    truth = np.array([classes[i] for i in known])
    return {"n": len(known), "hit1": 100 * np.mean(order[:, 0] == truth),
            "hit3": 100 * np.mean((order[:, :3] == truth[:, None]).any(1)),
            "f1": 100 * f1_score(truth, order[:, 0], labels=sorted(set(truth)), average="macro")}


class Judge:
    """Sets of whole recordings, read once: [(patches, index of the recording), classes]."""

    def __init__(self, sets, frontend, how, cache):
        self.sets = {}
        cache.mkdir(parents=True, exist_ok=True)
        for name, files in sets.items():
            store = cache / f"{name}-{frontend['rate']}-{how}.npz"
            if not store.exists():
                parts = [patches(p, frontend, how).astype(np.float16) for p, _ in files]
                partial = store.with_suffix(f".{os.getpid()}.tmp.npz")
                np.savez(partial, mels=np.concatenate(parts), owner=np.repeat(np.arange(len(parts)), [len(p) for p in parts]))
                partial.replace(store)
            with np.load(store) as file:
                self.sets[name] = (file["mels"], file["owner"], files)

    def tags(self, network):
        """{set: (tags [recordings, 13], the mean over each one's patches, and tags of every patch)}."""
        result = {}
        module = copy.deepcopy(network).eval().exported()
        device = next(module.parameters()).device
        for name, (mels, owner, files) in self.sets.items():
            with torch.no_grad():
                parts = [module(torch.from_numpy(mels[i:i + 8].astype(np.float32))[:, None].to(device))[0].cpu() for i in range(0, len(mels), 8)]
            every = torch.cat(parts).numpy()
            result[name] = np.stack([every[owner == k].mean(0) for k in range(len(files))]), every
        return result

    def __call__(self, network):
        """{set: scores} of the sets with labels, and {set: tags [recordings, 13]}."""
        tags = {name: own for name, (own, _) in self.tags(network).items()}
        return {name: scores(own, [c for _, c in self.sets[name][2]]) for name, own in tags.items() if name != "none"}, tags


def judge_of(args, frontend, how):
    """The Judge of the recordings that the arguments name."""
    return Judge(held_out(args.data, args.extra, args.judged), frontend, how, args.cache / "judged")


def describe(result):
    return "; ".join(f"{k} n={v['n']} Hit@1 {v['hit1']:.1f} Hit@3 {v['hit3']:.1f} F1 {v['f1']:.1f}" for k, v in result.items())


class Validation:
    """Patches of the sources that training leaves out, changed as in training: mean loss and Hit@1 of a network."""

    def __init__(self, cache, frontend, frames, each=16):
        corpus = Corpus(cache, frontend, only=VALIDATION)
        drawn = Patches(corpus, frames, 7, taught=0, none=0.08, strength=0.8)
        generator = np.random.default_rng(7)
        items = [drawn.item(generator) for _ in range(each * len(LABELS))]
        self.mels, self.targets = (torch.from_numpy(np.stack(part)) for part in list(zip(*items))[:2])

    def logits(self, network, batch=32):
        """(logits, targets), both [n,14]."""
        network = copy.deepcopy(network).eval()
        device = next(network.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            return torch.cat([network(part.to(device))[0].float().cpu() for part in self.mels.split(batch)]), self.targets

    def __call__(self, network):
        logits, _ = self.logits(network)
        known = self.targets[:, -1] < 1
        hits = logits[known, :len(LABELS)].argmax(1) == self.targets[known].argmax(1)
        return F.cross_entropy(logits, self.targets).item(), 100 * hits.float().mean().item()


def beginning(args, device):
    """The weights of `--start`: the average of a checkpoint."""
    return torch.load(args.start, map_location=device)["average"]


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
        torch.save({"network": network.state_dict(), "average": average.state_dict(), "best": best, "teacher": teacher.state_dict(),
                    "optimizer": optimizer.state_dict(), "state": state}, partial)
        partial.replace(checkpoint)

    drawn = Patches(corpus, frames, args.seed + 1000 * state["step"], args.real, args.taught, args.none, args.strength)
    loader = iter(torch.utils.data.DataLoader(drawn, batch_size=batch, num_workers=args.workers))
    log = open(checkpoint.with_suffix(".csv"), "a", newline="")
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
        table.writerow([state["step"], f"{state['minutes']:.2f}", "", name, *(f"{values[k]:.2f}" for k in ("hit1", "hit3", "f1"))])


def trained(args):
    """The network with the weights that are kept: the best by validation or the last ones (`--keep`), averaged with the start's (`--share`)."""
    network = MODELS[args.model].make(args)
    kept = torch.load(args.cache / f"{args.run or args.model}.pt", map_location="cpu")[args.keep]
    begin = beginning(args, "cpu") if args.start else network.state_dict()
    network.load_state_dict({k: v if args.share == 1 or not v.is_floating_point() else torch.lerp(begin[k], v, args.share) for k, v in kept.items()})
    return network.eval()


def evaluate(args):
    model = MODELS[args.model]
    network = trained(args)
    judge = judge_of(args, network.frontend, args.segmentation or model.segmentation)
    result, tags = judge(network)
    for name, values in result.items():
        print(describe({name: values}))
        files = judge.sets[name][2]
        truth = np.array([-1 if c is None else c for _, c in files])
        print("   ", ", ".join(f"{LABELS[k]} {np.sum(tags[name][truth == k].argmax(1) == k)}/{np.sum(truth == k)}" for k in sorted(set(truth[(truth >= 0) & (truth < 13)]))))
        for (path, c), row in zip(files, tags[name]) if name in args.show else ():
            best = np.argsort(-row)[:3]
            print(f"{'ok ' if c == best[0] else '   '}{path.stem:32}", ", ".join(f"{LABELS[i]} {row[i]:.2f}" for i in best), f"| none {1 - row.sum():.2f}")


def export(args):
    from . import calibration
    model = MODELS[args.model]
    network = trained(args)
    fitted = calibration.temperature(*Validation(args.cache, network.frontend, args.frames or model.frames).logits(network))
    network.rescale(fitted)
    half.round_weights(network)
    metrics = describe(judge_of(args, network.frontend, model.segmentation)(network)[0])
    name, frontend = f"{args.model}-yt8m13", network.frontend
    description = card.describe(name, "audio", f"{name}/{model.release}", "MPL-2.0", args.provenance, f"not in training: {metrics}; temperature {fitted:.2f}", frontend=frontend)
    error = write(network.exported(), frontend, args.out, description)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; {metrics}; temperature {fitted:.2f}; ONNX Runtime differs from torch by {error:.1e}")


def write(module, frontend, path, description):
    """Export a module whose weights `half.round_weights` has rounded; returns how far ONNX Runtime is from torch."""
    generator = np.random.default_rng(0)
    size = (frontend["bands"], frontend["patch-frames"])
    example = torch.from_numpy(np.stack([compress(generator.random(size, np.float32) * 10.0 ** k, frontend) for k in (-3, 0)]))[:, None]
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


def add_arguments(parser):
    """What every command on a sound model takes."""
    parser.add_argument("--model", choices=MODELS, default="choi")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/, clips/ and teachers/")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--run", help="name of the checkpoint and the log in the cache (the model's)")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="further held-out folders of LABEL*.ogg")
    parser.add_argument("--judged", nargs="*", default=["fsd"], help="sources of audio/ to report on; never trained on")
    parser.add_argument("--frames", type=int, help="of a training patch")
    parser.add_argument("--start", type=pathlib.Path, help="what to begin with: a checkpoint, of which the averaged weights, or an exported YAMNet")
    parser.add_argument("--share", type=float, default=1.0, help="of the trained weights, the rest is those that training began with (WiSE-FT)")
    parser.add_argument("--keep", choices=("average", "best"), default="average", help="weights: the last running mean, or the one of the best validation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provenance", default="")
    parser.add_argument("--out", type=pathlib.Path)


def main(argv):
    parser = argparse.ArgumentParser(prog="train audio", description=__doc__)
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
