# SPDX-License-Identifier: MPL-2.0
"""Unlabelled real music for training, with YAMNet's scores of it.

    python -m train corpus.music --data DATA --cache CACHE --sounds SOUNDS

Kept as `CACHE/taught/SOURCE__NAME.npz`: `sound` int16 [samples] as in recordings.py, and `scores` float16 [n, 521], the score of
each AudioSet class in each n-th 0.96 s. `by_label` turns them into scores of the 13 labels. With `--corpus`, also
`CACHE/scores/LABEL/SOURCE__NAME.npy`, such scores of each recording that `corpus.render` keeps.
"""

import argparse
import pathlib

import librosa
import numpy as np
from tqdm import tqdm

from . import sources
from .recordings import PEAK, RATE, load


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.music", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with teachers/yamnet.tflite and its class map")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--music", type=pathlib.Path, nargs="*", default=[], help="further folders of music")
    parser.add_argument("--sounds", type=pathlib.Path, help="the packages of `corpus.packages`: the music in them")
    parser.add_argument("--corpus", action="store_true", help="score what `corpus.render` keeps, too")
    parser.add_argument("--smallest", type=int, default=500_000, help="bytes of the smallest file taken for music")
    parser.add_argument("--longest", type=float, default=240, help="seconds used of a file, from its middle")
    args = parser.parse_args(argv)
    from ..networks.yamnet import Yamnet

    yamnet = Yamnet(args.data / "teachers" / "yamnet.tflite")
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
    folder = args.cache / "taught"
    folder.mkdir(parents=True, exist_ok=True)
    for source, path in tqdm(files, mininterval=5):
        out = folder / f"{source}__{path.parent.name}-{path.stem}.npz"
        if out.exists():
            continue
        try:
            samples = load(path, longest=args.longest)
        except ValueError as error:
            tqdm.write(str(error))
            continue
        scores = yamnet(librosa.resample(samples, orig_sr=RATE, target_sr=16000, res_type="soxr_mq"))
        peak = np.abs(samples).max(initial=0)
        if peak > 1e-5:
            partial = out.with_suffix(".tmp.npz")
            np.savez(partial, sound=np.round(samples * (PEAK / peak)).astype(np.int16), scores=scores.astype(np.float16))
            partial.replace(out)
    for path in tqdm(sorted(args.cache.glob("sound/*/*.npy")), mininterval=5) if args.corpus else []:
        out = args.cache / "scores" / path.parent.name / path.name
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            samples = np.load(path).astype(np.float32) / 32768
            np.save(out, yamnet(librosa.resample(samples, orig_sr=RATE, target_sr=16000, res_type="soxr_mq")).astype(np.float16))
