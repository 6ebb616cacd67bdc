# SPDX-License-Identifier: MPL-2.0
"""Unlabelled real music for training, with YAMNet's opinion of it as its label.

Kept as `CACHE/taught/SOURCE__NAME.npz`: `sound` int16 [samples] as in render.py, and `scores` float16 [n, 521], the score of
each AudioSet class in each n-th 0.96 s. `by_label` turns them into scores of the 13 labels. With `--corpus`, also
`CACHE/scores/LABEL/SOURCE__NAME.npy`, such scores of each recording that `render` keeps.
"""

import argparse
import csv
import pathlib

import librosa
import numpy as np
from tqdm import tqdm

from .labels import AUDIOSET, LABELS
from .render import PEAK, RATE, load

WINDOW = 15600  # samples of YAMNet's input, 0.975 s at 16 kHz
HOP = 15360     # 0.96 s


def groups(class_map):
    """The indices of each label's AudioSet classes, from the path of YAMNet's class map (CSV: index, mid, display_name)."""
    with open(class_map) as file:
        index = {row["display_name"]: int(row["index"]) for row in csv.DictReader(file)}
    return [[index[name] for name in AUDIOSET[label]] for label in LABELS]


def by_label(scores, classes):
    """Scores [n, 13] of the labels, the best of each one's AudioSet classes, from [n, 521] and `groups`."""
    return np.stack([scores[:, group].max(1) for group in classes], 1).astype(np.float32)


class Yamnet:
    """Scores [n, 521] of the AudioSet classes by YAMNet (TFLite), from samples at 16 kHz."""

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter
        self.model = Interpreter(str(path), num_threads=1)
        self.model.allocate_tensors()
        self.input = self.model.get_input_details()[0]["index"]
        self.output = self.model.get_output_details()[0]["index"]

    def __call__(self, samples):
        if len(samples) < WINDOW:
            samples = np.pad(samples, (0, WINDOW - len(samples)))
        rows = []
        for start in range(0, len(samples) - WINDOW + 1, HOP):
            self.model.set_tensor(self.input, samples[None, start:start + WINDOW].astype(np.float32))
            self.model.invoke()
            rows.append(self.model.get_tensor(self.output)[0])
        return np.array(rows, np.float32)


def main(argv):
    parser = argparse.ArgumentParser(prog="train teach", description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with teachers/yamnet.tflite and its class map")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--music", type=pathlib.Path, nargs="*", default=[], help="folders of music")
    parser.add_argument("--corpus", action="store_true", help="score what `render` keeps, too")
    parser.add_argument("--smallest", type=int, default=500_000, help="bytes of the smallest file taken for music")
    parser.add_argument("--longest", type=float, default=240, help="seconds used of a file, from its middle")
    args = parser.parse_args(argv)
    yamnet = Yamnet(args.data / "teachers" / "yamnet.tflite")
    files = [(folder.name, p) for folder in args.music for p in sorted(folder.rglob("*"))
             if p.suffix in (".ogg", ".mp3", ".wav", ".flac", ".opus") and p.stat().st_size >= args.smallest]
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
