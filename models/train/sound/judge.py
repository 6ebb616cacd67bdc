# SPDX-License-Identifier: MPL-2.0
"""What the paper's sound networks are judged by: the real recordings of the folds that training leaves out, and those that only test."""

import copy
import os

import numpy as np
import torch
import torch.nn.functional as F

from ..corpus import real
from ..corpus.recordings import load
from ..features.frontend import segments
from ..features.patches import Corpus, Patches
from ..labels import LABELS, class_of


class Recordings:
    """Whole recordings, cut once as `segments` says: `items`, their patches `mels` and of which item each one is, `owner`."""

    def __init__(self, data, cache, frontend, how, folds):
        self.items = [i for i in real.sounds(data) if i.fold in folds and class_of(i.label) is not None]
        store = cache / "judged" / f"{frontend['rate']}-{how}-{'_'.join(map(str, folds))}.npz"
        if not store.exists():
            store.parent.mkdir(parents=True, exist_ok=True)
            parts = [segments(load(i.path, frontend["rate"]), frontend, how).astype(np.float16) for i in self.items]
            partial = store.with_suffix(f".{os.getpid()}.tmp.npz")
            np.savez(partial, mels=np.concatenate(parts), owner=np.repeat(np.arange(len(parts)), [len(p) for p in parts]))
            partial.replace(store)
        with np.load(store) as file:
            self.mels, self.owner = file["mels"], file["owner"]

    @torch.no_grad()
    def tags(self, network):
        """Tags [items, 13], the mean over each one's patches."""
        module = copy.deepcopy(network).eval().exported()
        parts = [module(torch.from_numpy(self.mels[i : i + 8].astype(np.float32))[:, None])[0] for i in range(0, len(self.mels), 8)]
        every = torch.cat(parts).numpy()
        return np.stack([every[self.owner == k].mean(0) for k in range(len(self.items))])


class Validation:
    """Patches of the folds that training leaves out, changed as in training: mean loss and Hit@1 of a network."""

    def __init__(self, cache, frontend, frames, folds, each=24):
        drawn = Patches(Corpus(cache, frontend, folds), frames, 7, taught=0, none=0.08, strength=0.8)
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
        return {"validation": F.cross_entropy(logits, self.targets).item(), "hit1": 100 * hits.float().mean().item()}
