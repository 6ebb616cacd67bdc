# SPDX-License-Identifier: MPL-2.0
"""Real sound with a teacher's scores of it: unlabelled music, and the real recordings.

    python -m train corpus.music --data DATA --cache CACHE --ced CRATES --sounds SOUNDS

Kept as `CACHE/taught/SOURCE__NAME.npz` and `CACHE/real/LABEL/SOURCE__NAME.npz`: `sound` int16 [samples] as in recordings.py, `scores`
float16 [n, 527], CED's score of each AudioSet class in each n-th 5.12 s, and `fold`, that of a real recording.
"""

import argparse
import pathlib

import librosa
import numpy as np
from tqdm import tqdm

from . import real, sources
from .recordings import PEAK, RATE, load

# Seconds of a row of scores.
SCORE_SECONDS = 5.12


def keep(out, samples, teacher, **more):
    """Store samples at RATE with the teacher's scores, unless they are silent."""
    peak = np.abs(samples).max(initial=0)
    if peak > 1e-5:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".tmp.npz")
        scores = teacher(librosa.resample(samples, orig_sr=RATE, target_sr=16000, res_type="soxr_mq"), SCORE_SECONDS)
        np.savez(partial, sound=np.round(samples * (PEAK / peak)).astype(np.int16), scores=scores.astype(np.float16), **more)
        partial.replace(out)


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.music", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--ced", type=pathlib.Path, required=True, help="folder of the unpacked crates")
    parser.add_argument("--music", type=pathlib.Path, nargs="*", default=[], help="further folders of music")
    parser.add_argument("--sounds", type=pathlib.Path, help="the packages of `corpus.packages`: the music in them")
    parser.add_argument("--smallest", type=int, default=500_000, help="bytes of the smallest file taken for music")
    parser.add_argument("--longest", type=float, default=240, help="seconds used of a file, from its middle")
    args = parser.parse_args(argv)
    import torch

    from ..networks.ced import Teacher

    torch.set_num_threads(1)
    teacher = Teacher(args.ced)
    for item in tqdm(real.sounds(args.data), "recordings", mininterval=5):
        out = args.cache / "real" / item.label / f"{item.source}__{item.path.stem}.npz"
        if not out.exists():
            keep(out, load(item.path, longest=args.longest), teacher, fold=item.fold)
    folders = [(folder.name, folder) for folder in args.music]
    for source in sources.read("music").values() if args.sounds else ():
        folders += [(source.name, root) for root in source.roots(args.sounds, args.data)]
    files = [
        (name, p)
        for name, folder in folders
        for p in sorted(folder.rglob("*"))
        if p.suffix in (".ogg", ".mp3", ".wav", ".flac", ".opus") and p.stat().st_size >= args.smallest
    ]
    np.random.default_rng(1).shuffle(files)  # so that a part of it holds something of every folder
    for source, path in tqdm(files, "music", mininterval=5):
        out = args.cache / "taught" / f"{source}__{path.parent.name}-{path.stem}.npz"
        try:
            if not out.exists():
                keep(out, load(path, longest=args.longest), teacher)
        except ValueError as error:
            tqdm.write(str(error))
