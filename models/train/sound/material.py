# SPDX-License-Identifier: MPL-2.0
"""What the tagger learns from: segments of real recordings, plain and as in people's videos, behind CED's frozen first blocks.

    python -m train sound.material --data DATA --ced CRATES --cache CACHE --seed 0    # plain
    python -m train sound.material --data DATA --ced CRATES --cache CACHE --seed 1 --talk SPEECH    # changed; other seeds make other copies

In a changed copy, most segments of a label get one to three recordings of other labels, from the same level down to 15 dB below, some
have talk over them, and all are changed as by a room and a phone.

Kept as `CACHE/ced-SEED.pt`: the patches after SPLIT blocks (float16 [patches, 192] a segment), the embedding, CED's 527
logits, and for each segment (path, start in samples, what was mixed into it: (path, start, dB) each).
`--more FOLDER` adds `FOLDER/LABEL/SOURCE__*.npy`, as `corpus.render` keeps them: rendered music, speech and effects.
"""

import argparse
import functools
import pathlib

import librosa
import numpy as np
import torch

from ..corpus import real
from ..corpus.recordings import RATE as RENDERED
from ..corpus.recordings import load
from ..features import recorded
from ..labels import LABELS, class_of
from ..networks import ced
from .tagger import SPLIT

FRAMES = 512
LENGTH = FRAMES * 160  # samples of a segment, 5.12 s
# Segments of a recording in a changed copy.
MOST = 2
SILENT = 1e-4
MIXED = 0.6  # share of the segments that get recordings of other labels from the same fold
OTHERS = (0.5, 0.3, 0.2)  # of these, one, two and three others
LEVELS = (-15, 0)  # dB of each
TALK, TALK_LEVELS = 0.25, (-12, 6)  # share of the segments with talk over them, dB


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


@functools.lru_cache(maxsize=1000)
def sound(path):
    return load(path, recorded.RATE)


def changed(samples, item, others, talk, rng):
    """A segment as in a video, and what was mixed into it: (path, start, dB) each."""
    mixed = []
    if len(samples) < LENGTH // 2 and rng.random() < 0.5:
        samples = np.resize(samples, min(LENGTH, len(samples) * rng.integers(2, 5)))
    if class_of(item.label) is not None and rng.random() < MIXED:
        labels, base = {item.label}, samples
        for _ in range(1 + rng.choice(len(OTHERS), p=OTHERS)):
            other = others[rng.integers(len(others))]
            ((start, part),) = segments(sound(other.path), 1, rng)
            if other.label not in labels and np.abs(part).max() > SILENT:
                level = rng.uniform(*LEVELS)
                labels.add(other.label), mixed.append((str(other.path), start, level))
                samples = samples + recorded.mixed(base, part, level) - base
    if talk and rng.random() < TALK:
        said = np.concatenate([sound(talk[rng.integers(len(talk))]) for _ in range(3)])
        samples = recorded.mixed(samples, said[rng.integers(max(1, len(said) - len(samples))) :], rng.uniform(*TALK_LEVELS))
    return recorded.degrade(samples, rng), tuple(mixed)


def make(args):
    rng = np.random.default_rng(args.seed)
    items, meta, mels = real.sounds(args.data), [], []
    labelled = [i for i in items if (c := class_of(i.label)) is not None and c < len(LABELS) and i.fold != real.TEST]
    talk = sorted(args.talk.rglob("*.wav")) if args.talk else []
    for item in items:
        if args.seed and item.fold == real.TEST:
            continue
        others = [i for i in labelled if i.fold == item.fold and i.label != item.label]
        for start, samples in segments(sound(item.path), MOST if args.seed else 0, rng):
            if np.abs(samples).max() < SILENT:
                continue
            mixed = ()
            if args.seed:
                samples, mixed = changed(samples, item, others, talk, rng)
            mels.append(mel(samples)), meta.append((str(item.path), start, mixed))
    for path in sorted(args.more.glob("*/*.npy")) if args.more else []:
        samples = librosa.resample(np.load(path) / np.float32(32768), orig_sr=RENDERED, target_sr=recorded.RATE, res_type="soxr_mq")
        for start, part in segments(samples, MOST, rng):
            mels.append(mel(recorded.degrade(part, rng) if args.seed else part)), meta.append((str(path), start, ()))
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
    parser.add_argument("--talk", type=pathlib.Path, help="folder of WAV files of speech, for changed copies")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    path = args.cache / f"ced-{args.seed}.pt"
    torch.save(make(args), path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)
