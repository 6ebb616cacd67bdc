# SPDX-License-Identifier: MPL-2.0
"""Train, evaluate, export and plot the Choi network on what `render` and `teach` made."""

import argparse
import copy
import csv
import math
import pathlib
import tempfile
import time

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score

from . import card
from .choi import Choi, ChoiExport
from .frontend import CHOI, compress, mel_power, tile
from .labels import LABELS, class_of
from .patches import Corpus, Patches, is_held_out
from .render import load

NAME = "choi-yt8m13"
EMBEDDING = f"{NAME}/1"
DECAY = 0.998  # of the running mean of the weights, which is what is kept


def patch(path):
    """The `mel` input [96, 1366] for a file: its middle 29.12 s, repeated when it is shorter."""
    samples = load(path, CHOI["rate"])
    spare = max(0, len(samples) - (CHOI["patch-frames"] - 1) * CHOI["hop"]) // 2
    samples = samples[spare:len(samples) - spare]
    return tile(compress(mel_power(samples)))


def held_out(data, extra, sources):
    """{set: [(path, class or None)]} of recordings that training does not see.

    `audio/LABEL/SOURCE_*` for each of `sources` (as in `patches.is_held_out`), `clips/LABEL_*.mp4`, and `extra`
    folders of `LABEL*.ogg`.
    """
    sets = {}
    for spec in sources:
        source = spec.removesuffix("-half")
        sets[spec] = [(p, class_of(p.parent.name)) for p in sorted(data.glob(f"audio/*/{source}_*.ogg"))
                      if is_held_out(source, p.stem, [spec])]
    sets["clips"] = [(p, class_of(p.stem.split("_")[0])) for p in sorted(data.glob("clips/*.mp4"))]
    alias = {"electric_guitar": "guitar", "drum_kit": "drums", "snare_drum": "drums", "cymbal": "drums",
             "flute_traversiere": "flute"}
    for folder in extra:
        names = [(p, p.stem.split("_resource_")[-1]) for p in sorted(folder.glob("*.ogg"))]
        sets[folder.name] = [(p, class_of(alias.get(name, name))) for p, name in names]
    return sets


def embed(mels, model, batch=8):
    """Tags [n, 13] and embeddings [n, 1024] of `mel` inputs [n, 96, 1366] by an exported model."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    parts = [session.run(["tags", "embedding"], {"mel": np.stack(mels[i:i + batch])[:, None]})
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
    """The held-out sets, read once."""

    def __init__(self, sets, cache):
        self.sets = {}
        cache.mkdir(parents=True, exist_ok=True)
        for name, files in sets.items():
            store = cache / f"{name}.npz"
            if not store.exists():
                np.savez(store, mels=np.stack([patch(p) for p, _ in files]).astype(np.float16))
            self.sets[name] = (np.load(store)["mels"], files)

    def __call__(self, network):
        """{set: scores}, and {set: tags}."""
        result, tags = {}, {}
        export = ChoiExport(copy.deepcopy(network))
        for name, (mels, files) in self.sets.items():
            with torch.no_grad():
                parts = [export(torch.from_numpy(mels[i:i + 4].astype(np.float32))[:, None])[0] for i in range(0, len(mels), 4)]
            tags[name] = torch.cat(parts).numpy()
            result[name] = scores(tags[name], [c for _, c in files])
        return result, tags


def describe(result):
    return "; ".join(f"{k} n={v['n']} Hit@1 {v['hit1']:.1f} Hit@3 {v['hit3']:.1f} F1 {v['f1']:.1f}" for k, v in result.items())


def confusions(tags, files):
    for (path, c), row in zip(files, tags):
        best = np.argsort(-row)[:3]
        print(f"{'ok ' if c == best[0] else '   '}{path.stem:32}", ", ".join(f"{LABELS[i]} {row[i]:.2f}" for i in best), f"| none {1 - row.sum():.2f}")


def train(args):
    corpus = Corpus(args.cache, args.held_out)
    corpus.summary()
    if args.processes == 1:
        return learn(0, args, corpus, None)
    # Processes of one thread each, which average their gradients: on a busy machine threads that meet after
    # every operation mostly wait for one another.
    with tempfile.TemporaryDirectory() as folder:
        context = torch.multiprocessing.get_context("fork")
        others = [context.Process(target=learn, args=(rank, args, corpus, f"file://{folder}/store"), daemon=True)
                  for rank in range(1, args.processes)]
        for process in others:
            process.start()
        learn(0, args, corpus, f"file://{folder}/store")
        for process in others:
            process.join()


def learn(rank, args, corpus, meeting):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed + rank)
    if meeting:
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    state = args.cache / f"{args.run}.pt"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Choi().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=0.02)
    average = copy.deepcopy(network)
    step = 0
    start = state if state.exists() else args.start
    if start:
        saved = torch.load(start, map_location=device)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    elif meeting:
        for parameter in network.parameters():
            torch.distributed.broadcast(parameter.data, 0)
    loader = iter(torch.utils.data.DataLoader(
        Patches(corpus, args.frames, args.seed + 1000 * step + rank, real=args.real, taught=args.taught, strength=args.strength),
        batch_size=args.batch // args.processes))
    if rank == 0:
        judge = Judge(held_out(args.data, args.extra, args.judged), args.cache / "judged")
        log = open(args.cache / f"{args.run}.csv", "a", newline="")
        table = csv.writer(log)
        if not log.tell():
            table.writerow(("step", "minutes", "loss", "set", "hit1", "hit3", "f1"))
    parameters = list(network.parameters())
    begun = reported = time.time()
    losses = []
    while True:
        spent = torch.tensor([(time.time() - begun) / 60])
        if meeting:  # rank 0's clock, so that all stop at the same step
            torch.distributed.broadcast(spent, 0)
        spent = spent.item()
        if spent >= args.minutes:
            break
        # Warm up over 200 steps, then down to nothing as the half cosine of the time spent.
        factor = 0.5 * (1 + math.cos(math.pi * spent / args.minutes))
        for group in optimizer.param_groups:
            group["lr"] = args.rate * factor * min(1, (step + 1) / 200)
        patches, targets = next(loader)
        patches, targets = patches.to(device), targets.to(device)
        network.train()
        with torch.autocast(device.type, torch.bfloat16):
            features = network.steps(patches)
        logits, _ = network.head(features.mean(2))
        loss = F.cross_entropy(logits, targets, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if meeting:
            flat = torch.cat([p.grad.flatten() for p in parameters]) / args.processes
            torch.distributed.all_reduce(flat)
            for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
                p.grad.copy_(part.view_as(p))
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        step += 1
        if rank:
            continue
        with torch.no_grad():
            decay = min(DECAY, step / (step + 100))
            for mean, now in zip(average.state_dict().values(), network.state_dict().values()):
                mean.lerp_(now, 1 - decay) if mean.is_floating_point() else mean.copy_(now)
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step} loss {np.mean(losses[-50:]):.3f} {spent:.1f} min", flush=True)
            table.writerow((step, f"{spent:.2f}", f"{np.mean(losses[-50:]):.4f}", "train", "", "", ""))
            save(network, average, optimizer, step, state)
        if time.time() - reported > 60 * args.report:
            report(judge, average, step, losses, spent, table)
            log.flush()
            reported, losses = time.time(), []
    if rank == 0:
        save(network, average, optimizer, step, state)
        report(judge, average, step, losses, spent, table)
        log.close()


def report(judge, average, step, losses, spent, table):
    result, _ = judge(average)
    print(f"step {step} {describe(result)}", flush=True)
    for name, values in result.items():
        table.writerow([step, f"{spent:.2f}", f"{np.mean(losses or [0]):.4f}", name, *(f"{values[k]:.2f}" for k in ("hit1", "hit3", "f1"))])


def save(network, average, optimizer, step, state):
    partial = state.with_suffix(".tmp")
    torch.save({"network": network.state_dict(), "average": average.state_dict(),
                "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.replace(state)


def trained(args):
    network = Choi()
    network.load_state_dict(torch.load(args.cache / f"{args.run}.pt", map_location="cpu")["average"])
    return network.eval()


def evaluate(args):
    judge = Judge(held_out(args.data, args.extra, args.judged), args.cache / "judged")
    result, tags = judge(trained(args))
    for name in tags:
        if name in args.show:
            confusions(tags[name], judge.sets[name][1])
    for name, values in result.items():
        print(describe({name: values}))
        truth = np.array([-1 if c is None else c for _, c in judge.sets[name][1]])
        print("   ", ", ".join(f"{LABELS[k]} {np.sum(tags[name][truth == k].argmax(1) == k)}/{np.sum(truth == k)}" for k in sorted(set(truth[(truth >= 0) & (truth < 13)]))))


def export(args):
    with open(args.cache / f"{args.run}.csv") as file:
        last = {row["set"]: row for row in csv.DictReader(file) if row["hit1"]}  # the last report of each set
    metrics = "; ".join(f"{name} Hit@1 {row['hit1']} Hit@3 {row['hit3']} F1 {row['f1']}" for name, row in last.items())
    generator = np.random.default_rng(args.seed)
    example = torch.from_numpy(np.stack([compress(generator.random((96, 1366), np.float32) * 10.0 ** k) for k in (-3, 0)]))[:, None]
    description = card.describe(NAME, "audio", EMBEDDING, "MPL-2.0", args.provenance, metrics, frontend=CHOI)
    error = card.export(ChoiExport(trained(args)), {"mel": example}, ["tags", "embedding"], args.out, description)
    print(f"{args.out}: {metrics}; ONNX Runtime differs from torch by {error:.1e}")


def plot(args):
    """The training curve: loss by step, and Hit@1 of the held-out sets."""
    from matplotlib import pyplot
    with open(args.cache / f"{args.run}.csv") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        axes, column = (left, "loss") if name == "train" else (right, "hit1")
        axes.plot([int(row["step"]) for row in own], [float(row[column]) for row in own], "-" if name == "train" else "o-", label=name)
    left.set(xlabel=f"step of {args.batch} patches", ylabel="loss", title="Training")
    right.set(xlabel="step", ylabel="Hit@1, per cent", title="Recordings that training does not see", ylim=(0, 100))
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(args.out, dpi=110)


def main(argv):
    parser = argparse.ArgumentParser(prog="train audio", description=__doc__)
    parser.add_argument("command", choices=("train", "evaluate", "export", "plot"))
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with audio/ and clips/, for the held-out sets")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--run", default="choi", help="name of the checkpoint and the log in the cache")
    parser.add_argument("--extra", type=pathlib.Path, nargs="*", default=[], help="further held-out folders of LABEL*.ogg")
    parser.add_argument("--held-out", nargs="*", default=["fsd"], help="sources of the corpus that training leaves out")
    parser.add_argument("--judged", nargs="*", default=["fsd"], help="sources of audio/ to report on")
    parser.add_argument("--start", type=pathlib.Path, help="checkpoint to begin from, when the run has none of its own")
    parser.add_argument("--minutes", type=float, default=60, help="of training")
    parser.add_argument("--report", type=float, default=8, help="minutes between evaluations")
    parser.add_argument("--frames", type=int, default=192, help="of a patch, a multiple of 96")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--real", type=float, default=0.4, help="share of real notes for labels that have them")
    parser.add_argument("--taught", type=float, default=0.15, help="share of music labelled by the teacher")
    parser.add_argument("--strength", type=float, default=1.0, help="of the augmentation")
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--processes", type=int, default=1, help="that share a batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", nargs="*", default=[], help="held-out sets to list file by file")
    parser.add_argument("--provenance", default="")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(f"{NAME}.onnx"))
    args = parser.parse_args(argv)
    {"train": train, "evaluate": evaluate, "export": export, "plot": plot}[args.command](args)
