# SPDX-License-Identifier: MPL-2.0
"""Fine-tunes CED-Tiny's last blocks and the 13 labels' rows on what `sound.material` kept.

    python -m train sound.tune --data DATA --ced CRATES --cache CACHE --copies 0 1 2 --out ced.pt            # the released one
    python -m train sound.tune --data DATA --ced CRATES --cache CACHE --copies 0 1 --fold 3 --scores fold3.jsonl --out fold3.pt
    python -m train sound.tune --data DATA --ced CRATES --cache CACHE --copies 0 --fold 3 --steps 0 --scores ced3.jsonl --out ced3.pt  # CED's own rows

Each label has a sigmoid of its own. A recording teaches its label, weighed by how clearly CED hears it where labels are
doubtful, and every other label that CED hears clearly; CED's 527 scores are a second target, so that nothing is forgotten.
First the head alone learns on the embeddings, then head and blocks together. The result is averaged with the start.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from ..corpus import real
from ..labels import AUDIOSET, LABELS, class_of
from ..networks import ced
from ..networks.ced import CLASSES, CRATE
from ..scores import line
from . import tagger
from .tagger import SPLIT

FIRST = 9  # the first block that learns
CLEAR, DOUBTFUL = 0.4, 0.15  # CED's scores: another instrument is heard; perhaps
# Sources whose recordings may hold more than their label.
MIXED_SOURCES = {"web", "fsd", "sop", "clips", "clips-test"}
# What stays untaught: sounds so close that a score is no error.
SIMILAR = {"viola": ("Violin", "Cello"), "double_bass": ("Cello",), "mandolin": ("Guitar", "Banjo"), "xylophone": ("Drums",), "english_horn": ("Clarinet",)}
HEAD_STEPS, HEAD_BATCH, HEAD_RATE = 300, 128, 3e-3
BATCH, RATES = 16, (1e-3, 1e-4)  # of the head and of the blocks
QUIET = 25  # dB below the rest: a label this quiet teaches nothing
DISTIL, CHOICE = 0.02, 0.5  # weights of CED's scores and of the softmax between labels


class Material:
    """Segments of the named copies: targets `y` and their weights `w` [n,13], CED's `logits`, `embeddings`, patches `hidden`."""

    def __init__(self, args):
        names = ced.names(args.ced / CLASSES)
        rows = [[names.index(name) for name in own] for own in AUDIOSET.values()]
        items = {str(i.path): i for i in real.items(args.data)}
        self.hidden, self.items, self.kinds, self.copy = [], [], [], []
        ys, ws, embeddings, logits, plain = [], [], [], [], {}
        for copy in args.copies:
            kept = torch.load(args.cache / f"ced-{copy}.pt", weights_only=True)
            heard = torch.stack([torch.logsumexp(kept["logits"][:, own], 1) for own in rows], 1).sigmoid()
            for n, (path, start, mixed) in enumerate(kept["meta"]):
                item = items.get(path)
                plain.setdefault((path, start), heard[n])
                y, w = self.mixture(items, plain, (path, start, mixed))
                ys.append(y), ws.append(w), self.items.append(item), self.copy.append(copy)
                self.kinds.append((item.label, item.source) if item else (pathlib.Path(path).parent.name, pathlib.Path(path).name.split("__")[0]))
            self.hidden += kept["hidden"]
            embeddings.append(kept["embeddings"]), logits.append(kept["logits"])
        self.y, self.w, self.embeddings, self.logits = torch.stack(ys), torch.stack(ws), torch.cat(embeddings), torch.cat(logits)

    @classmethod
    def mixture(cls, items, plain, segment):
        """Targets and weights of a segment and what was mixed into it, given what CED hears in the plain copies of all."""
        path, start, mixed = segment
        y, w = cls.target(items.get(path), pathlib.Path(path).parent.name, plain[path, start])
        for other, its_start, level in mixed:
            own_y, own_w = cls.target(items[other], items[other].label, plain[other, its_start])
            # What is there counts as in its own recording, less where it is quiet; what is not there, where both are sure.
            w = torch.where(own_y > y, own_w * (1 + level / QUIET), torch.where(y > own_y, w, torch.minimum(w, own_w)))
            y = torch.maximum(y, own_y)
        return y, w

    @staticmethod
    def target(item, label, heard):
        y, w, c = torch.zeros(len(LABELS)), torch.ones(len(LABELS)), class_of(item.label if item else label)
        doubt = item is not None and item.source in MIXED_SOURCES
        if doubt:
            clear = heard > CLEAR
            y, w = torch.where(clear, heard, y), torch.where(~clear & (heard > DOUBTFUL), 0.3, w)
        if c is not None and c < len(LABELS):
            y[c], w[c] = 1, float((0.3 + 2 * heard[c]).clamp(max=1)) if doubt else 1
        elif c is not None and item is not None:  # none: what CED hears all the same is left open
            y, w = torch.zeros(len(LABELS)), torch.where(heard > 0.3, 0.0, w)
        for name in item.also if item else ():
            y[class_of(name)] = 1
        for name in SIMILAR.get(item.label if item else label, ()):
            w[LABELS.index(name)] = 0
        return y, w

    def shares(self, rows):
        """How often each of `rows` is drawn: labels alike (none more, others less), in a label its sources by the root of their size."""
        kinds = [self.kinds[i] for i in rows]
        weight = {kind: kinds.count(kind) ** -0.5 for kind in set(kinds)}
        total = {}
        for kind in kinds:
            total[kind[0]] = total.get(kind[0], 0) + weight[kind]

        def share(label):
            c = class_of(label)
            return 0.25 if c is None else 2.5 if c == len(LABELS) else 1

        found = np.array([weight[k] / total[k[0]] * share(k[0]) for k in kinds])
        return found / found.sum()


def loss(logits, y, w):
    found = (F.binary_cross_entropy_with_logits(logits, y, reduction="none") * w).sum(1).mean()
    labelled = y.max(1).values == 1
    if labelled.any():
        share = (y[labelled] >= 0.999).float()
        share /= share.sum(1, keepdim=True)
        found = found - CHOICE * ((share * F.log_softmax(logits[labelled], 1)).sum(1) * w[labelled].max(1).values).mean()
    return found


def fit(parameters, rates, steps, step):
    """`steps` of AdamW on what `step()` returns, the rate rising for 20 steps and then falling to nothing."""
    optimizer = torch.optim.AdamW([{"params": p, "lr": r} for p, r in zip(parameters, rates)], weight_decay=1e-4)
    for number in range(steps):
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * min(1, (number + 1) / 20) * (0.5 + 0.5 * np.cos(np.pi * number / steps))
        found = step()
        optimizer.zero_grad(), found.backward()
        torch.nn.utils.clip_grad_norm_([p for own in parameters for p in own], 1.0)
        optimizer.step()
        if (number + 1) % 25 == 0:
            print(f"{number + 1:5} {found.item():.3f}", flush=True)


def teach(material, rows, model, last, steps, seed):
    rng, shares = np.random.default_rng(seed), material.shares(rows)
    model.requires_grad_(False), last.requires_grad_(False)
    head, network = model.head.requires_grad_(True), model.network

    def of_embeddings():
        chosen = rng.choice(rows, HEAD_BATCH, p=shares)
        return loss(head(material.embeddings[chosen]), material.y[chosen], material.w[chosen])

    def of_patches():
        groups, embeddings, chosen = {}, [], []
        for i in rng.choice(rows, BATCH, p=shares):
            groups.setdefault(len(material.hidden[i]), []).append(i)
        for own in groups.values():
            embeddings.append(network.late(torch.stack([material.hidden[i].float() for i in own]), SPLIT))
            chosen += own
        embeddings = torch.cat(embeddings)
        target = material.logits[chosen].sigmoid()
        forgotten = F.binary_cross_entropy_with_logits(last(embeddings), target, reduction="none") - F.binary_cross_entropy(target, target, reduction="none")
        return loss(head(embeddings), material.y[chosen], material.w[chosen]) + DISTIL * forgotten.sum(1).mean()

    fit([list(head.parameters())], [HEAD_RATE], HEAD_STEPS, of_embeddings)
    blocks = [p for part in (*network.blocks[FIRST:], network.norm) for p in part.requires_grad_(True).parameters()]
    fit([list(head.parameters()), blocks], RATES, steps, of_patches)


@torch.no_grad()
def judge(material, rows, model, path):
    """Writes the mean scores of whole recordings (plain copy) as JSON lines, for `evaluate real`."""
    found = {}
    for i in rows:
        if material.copy[i] == 0:
            score = torch.sigmoid(model.head(model.network.late(material.hidden[i][None].float(), SPLIT)))[0]
            found.setdefault(material.items[i].path, []).append(score)
    path.write_text("".join(line(file, "audio", torch.stack(scores).mean(0).numpy()) + "\n" for file, scores in found.items()))


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--ced", type=pathlib.Path, required=True, help="folder of the unpacked crates")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--copies", type=int, nargs="+", default=[0, 1, 2], help="seeds of sound.material")
    parser.add_argument("--fold", type=int, help="the fold to leave out")
    parser.add_argument("--steps", type=int, default=220, help="0 trains nothing")
    parser.add_argument("--scores", type=pathlib.Path, help="JSON lines to write: what the recordings of the fold get, or those that only test")
    parser.add_argument("--share", type=float, default=0.75, help="of the trained weights in the average with the start")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    names = ced.names(args.ced / CLASSES)
    network, last = ced.pretrained(args.ced / CRATE)
    model = tagger.Tagger(network, tagger.Head(last, names, AUDIOSET))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    material = Material(args)
    rows = [i for i, item in enumerate(material.items) if item is None or item.fold not in (args.fold, real.TEST)]
    if args.steps:
        teach(material, rows, model, last, args.steps, args.seed)
    averaged = {name: (1 - args.share) * start[name] + args.share * value for name, value in model.state_dict().items()}
    torch.save(averaged, args.out)
    if args.scores:
        model.load_state_dict(averaged)
        judged = real.TEST if args.fold is None else args.fold
        judge(material, [i for i, item in enumerate(material.items) if item and item.fold == judged], model.eval(), args.scores)
