# SPDX-License-Identifier: MPL-2.0
"""What the sound networks are judged by: recordings and sources that training leaves out."""

import copy
import os

import librosa
import numpy as np
import torch
import torch.nn.functional as F

from ..corpus.recordings import load
from ..corpus.sources import VALIDATION
from ..features.frontend import CHOI, segments
from ..features.patches import RATE, Corpus, Patches
from ..labels import LABELS, class_of
from ..scores import scores


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
    sets = {
        source: [(p, class_of(p.parent.name)) for p in sorted(data.glob(f"audio/*/{source}_*.ogg")) if class_of(p.parent.name) is not None]
        for source in sources
    }
    sets["clips"] = [(p, class_of(p.stem.split("_")[0])) for p in sorted(data.glob("clips/*.mp4"))]
    alias = {"electric_guitar": "guitar", "drum_kit": "drums", "snare_drum": "drums", "cymbal": "drums", "flute_traversiere": "flute"}
    for folder in extra:
        names = [(p, p.stem) for p in sorted(folder.glob("*.ogg"))]
        sets[folder.name] = [(p, class_of(alias.get(name, name))) for p, name in names]
    return sets


def test_sets(args):
    """`held_out`, and the speech and effects that only test as "none"."""
    nothing = sorted((args.cache / "test" / "none").glob("*.npy"))
    return held_out(args.data, args.extra, args.judged) | {"none": [(p, len(LABELS)) for p in nothing]}


def figures(tags, classes):
    """`scores` of the recordings that have one of the 13 labels, and their number `n`."""
    known = [i for i, c in enumerate(classes) if c is not None and c < len(LABELS)]
    return {"n": len(known)} | scores(tags[known], [classes[i] for i in known])


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
                parts = [module(torch.from_numpy(mels[i : i + 8].astype(np.float32))[:, None].to(device))[0].cpu() for i in range(0, len(mels), 8)]
            every = torch.cat(parts).numpy()
            result[name] = np.stack([every[owner == k].mean(0) for k in range(len(files))]), every
        return result

    def __call__(self, network):
        """{set: scores} of the sets with labels, and {set: tags [recordings, 13]}."""
        tags = {name: own for name, (own, _) in self.tags(network).items()}
        return {name: figures(own, [c for _, c in self.sets[name][2]]) for name, own in tags.items() if name != "none"}, tags


def judge_of(args, frontend, how):
    """The Judge of the recordings that the arguments name."""
    return Judge(held_out(args.data, args.extra, args.judged), frontend, how, args.cache / "judged")


def describe(result):
    return "; ".join(f"{k} n={v['n']} Hit@1 {v['hit@1']:.1f} Hit@3 {v['hit@3']:.1f} F1 {v['f1']:.1f}" for k, v in result.items())


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
        hits = logits[known, : len(LABELS)].argmax(1) == self.targets[known].argmax(1)
        return F.cross_entropy(logits, self.targets).item(), 100 * hits.float().mean().item()
