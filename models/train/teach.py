# SPDX-License-Identifier: MPL-2.0
"""Unlabelled real music for training, with YAMNet's opinion of it as its label.

Kept as `CACHE/taught/NAME.npz`: `mel` float16 [96, frames] as in render.py, and `scores` float16 [n, 13], the
score of each label in each n-th 0.96 s (the best of the AudioSet classes that belong to it).
"""

import argparse
import csv
import pathlib

import librosa
import numpy as np
from tqdm import tqdm

from .frontend import CHOI, mel_power
from .labels import LABELS
from .render import RATE, load

WINDOW = 15600  # samples of YAMNet's input, 0.975 s at 16 kHz
HOP = 15360     # 0.96 s

# AudioSet's display names of each label.
AUDIOSET = {
    "Guitar": ("Guitar", "Electric guitar", "Acoustic guitar", "Steel guitar, slide guitar", "Strum", "Tapping (guitar technique)"),
    "Piano": ("Piano", "Electric piano"),
    "Drums": ("Drum kit", "Drum", "Snare drum", "Drum roll", "Bass drum", "Cymbal", "Hi-hat", "Rimshot"),
    "Violin": ("Violin, fiddle",),
    "Accordion": ("Accordion",),
    "Saxophone": ("Saxophone",),
    "Flute": ("Flute",),
    "Organ": ("Organ", "Electronic organ", "Hammond organ"),
    "Cello": ("Cello",),
    "Trumpet": ("Trumpet",),
    "Clarinet": ("Clarinet",),
    "Harmonica": ("Harmonica",),
    "Banjo": ("Banjo",),
}


class Yamnet:
    """Scores of the 13 labels by YAMNet (TFLite), from samples at 16 kHz."""

    def __init__(self, folder):
        from ai_edge_litert.interpreter import Interpreter
        with open(folder / "yamnet_class_map.csv") as file:
            index = {row["display_name"]: int(row["index"]) for row in csv.DictReader(file)}
        self.groups = [[index[name] for name in AUDIOSET[label]] for label in LABELS]
        self.model = Interpreter(str(folder / "yamnet.tflite"), num_threads=1)
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
            scores = self.model.get_tensor(self.output)[0]
            rows.append([scores[group].max() for group in self.groups])
        return np.array(rows, np.float32)


def main(argv):
    parser = argparse.ArgumentParser(prog="train teach", description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with teachers/yamnet.tflite and its class map")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--music", type=pathlib.Path, nargs="+", required=True, help="folders of music")
    parser.add_argument("--smallest", type=int, default=500_000, help="bytes of the smallest file taken for music")
    parser.add_argument("--longest", type=float, default=240, help="seconds used of a file, from its middle")
    args = parser.parse_args(argv)
    yamnet = Yamnet(args.data / "teachers")
    files = [p for folder in args.music for p in sorted(folder.rglob("*"))
             if p.suffix in (".ogg", ".mp3", ".wav", ".flac", ".opus") and p.stat().st_size >= args.smallest]
    folder = args.cache / "taught"
    folder.mkdir(parents=True, exist_ok=True)
    for path in tqdm(files, mininterval=5):
        out = folder / f"{path.parent.name}__{path.stem}.npz"
        if out.exists():
            continue
        try:
            samples = load(path)
        except ValueError as error:
            tqdm.write(str(error))
            continue
        spare = max(0, len(samples) - int(args.longest * RATE)) // 2
        samples = samples[spare:len(samples) - spare]
        scores = yamnet(librosa.resample(samples, orig_sr=RATE, target_sr=16000, res_type="soxr_mq"))
        mel = np.sqrt(mel_power(librosa.resample(samples, orig_sr=RATE, target_sr=CHOI["rate"], res_type="soxr_mq")))
        if mel.max() > 0:
            partial = out.with_suffix(".tmp.npz")
            np.savez(partial, mel=(mel / mel.max()).astype(np.float16), scores=scores.astype(np.float16))
            partial.replace(out)
