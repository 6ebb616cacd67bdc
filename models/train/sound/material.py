# SPDX-License-Identifier: MPL-2.0
"""What the tagger learns from: segments of real recordings, plain and as in people's videos, behind CED's frozen first blocks.

    python -m train sound.material --data DATA --ced CRATES --cache CACHE --seed 0    # plain
    python -m train sound.material --data DATA --ced CRATES --cache CACHE --seed 1    # changed; other seeds make other copies

Kept as `CACHE/ced-SEED.pt`: the patches after SPLIT blocks (float16 [patches, 192] a segment), the embedding, CED's 527
logits, and for each segment (path, start in samples, path of a recording mixed into it or None).
`--more FOLDER` adds `FOLDER/LABEL/SOURCE__*.npy`, as `corpus.render` keeps them: rendered music, speech and effects.
"""

import argparse
import pathlib

import librosa
import numpy as np
import torch

from ..corpus import real
from ..corpus.recordings import RATE as RENDERED
from ..corpus.recordings import load
from ..features import recorded
from ..labels import class_of
from ..networks import ced
from .tagger import SPLIT

FRAMES = 512
LENGTH = FRAMES * 160  # samples of a segment, 5.12 s
# Segments of a recording in a changed copy.
MOST = 2
MIXED = 0.35  # share of the segments that get a recording of another label from the same fold


def segments(samples, most, rng):
    """[(start, samples)] side by side, a last one from a quarter of the length on; at most `most` of them, at random."""
    found = [(s, samples[s : s + LENGTH]) for s in range(0, max(1, len(samples)), LENGTH) if not s or len(samples) - s >= LENGTH / 4]
    return [found[i] for i in sorted(rng.permutation(len(found))[:most])] if most and len(found) > most else found


def mel(samples):
    """CED's input [64, frames], frames a multiple of 16, of at least 0.64 s: what is shorter repeats."""
    found = ced.mel(np.resize(samples, max(len(samples), 64 * 160)))[:, :FRAMES]
    return torch.from_numpy(found[:, : found.shape[1] // 16 * 16]).half()


def batches(mels, seconds=80):
    """Indices of inputs of equal length, at most so many seconds at once."""
    order = sorted(range(len(mels)), key=lambda i: mels[i].shape[1])
    while order:
        width = mels[order[0]].shape[1]
        most = max(1, int(seconds * 100 / width))
        batch = [i for i in order[:most] if mels[i].shape[1] == width]
        yield batch
        order = order[len(batch) :]


def changed(samples, item, others, rng):
    """A segment as in a video, and the recording that was mixed into it."""
    other = None
    if len(samples) < LENGTH // 2 and rng.random() < 0.5:
        samples = np.resize(samples, min(LENGTH, len(samples) * rng.integers(2, 5)))
    if others and class_of(item.label) is not None and rng.random() < MIXED:
        other = others[rng.integers(len(others))]
        sound = load(other.path, recorded.RATE)
        at = rng.integers(max(1, len(sound) - len(samples) + 1))
        samples = recorded.mixed(samples, sound[at : at + len(samples)], rng.uniform(-12, 3))
    return recorded.degrade(samples, rng), other


def make(args):
    rng = np.random.default_rng(args.seed)
    items, meta, mels = real.sounds(args.data), [], []
    labelled = [i for i in items if class_of(i.label) is not None and i.fold != real.TEST]
    for item in items:
        if args.seed and item.fold == real.TEST:
            continue
        others = [i for i in labelled if i.fold == item.fold and i.label != item.label]
        for start, samples in segments(load(item.path, recorded.RATE), MOST if args.seed else 0, rng):
            if np.abs(samples).max() < 1e-4:
                continue
            other = None
            if args.seed:
                samples, other = changed(samples, item, others, rng)
            mels.append(mel(samples)), meta.append((str(item.path), start, other and str(other.path)))
    for path in sorted(args.more.glob("*/*.npy")) if args.more else []:
        samples = librosa.resample(np.load(path) / np.float32(32768), orig_sr=RENDERED, target_sr=recorded.RATE, res_type="soxr_mq")
        for start, part in segments(samples, MOST, rng):
            mels.append(mel(recorded.degrade(part, rng) if args.seed else part)), meta.append((str(path), start, None))
    network, last = ced.pretrained(args.ced / ced.CRATE)
    hidden, embeddings = [None] * len(mels), [None] * len(mels)
    with torch.no_grad():
        for batch in batches(mels):
            early = network.early(torch.stack([mels[i].float() for i in batch])[:, None], SPLIT)
            for i, own, embedding in zip(batch, early, network.late(early, SPLIT)):
                hidden[i], embeddings[i] = own.half(), embedding
        embeddings = torch.stack(embeddings)
        logits = last(embeddings)
    return {"meta": meta, "hidden": hidden, "embeddings": embeddings, "logits": logits}


def main(argv):
    parser = argparse.ArgumentParser(prog="train sound.material", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--ced", type=pathlib.Path, required=True, help="folder of the unpacked crates")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--more", type=pathlib.Path, help="folder LABEL/SOURCE__*.npy of more sounds that train")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    path = args.cache / f"ced-{args.seed}.pt"
    torch.save(make(args), path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)
