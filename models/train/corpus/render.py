# SPDX-License-Identifier: MPL-2.0
"""The audio corpus: rendered scores and sounds of packages, one instrument (or none) each.

Everything is kept as `CACHE/sound/LABEL/SOURCE__NAME.npy`: int16 [samples], mono, 24,000 Hz, peak at 95 % of
full scale, so that one corpus serves every front end. Sources that only test (`sources.TEST`) go to
`CACHE/test/LABEL/SOURCE__NAME.npy`, where training never looks, and pieces of several instruments to
`CACHE/bands/LABEL+LABEL/SOURCE__NAME.npy`. Files that exist are not made again.

    python -m train corpus.render --sounds SOUNDS --data DATA --cache CACHE

SOUNDS is what `corpus.packages` made. Requires fluidsynth, timidity and ffmpeg.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile
import zlib

import librosa
import numpy as np
import soundfile
from tqdm import tqdm

from ..labels import LABELS
from . import midi, sources
from .degrade import degrade
from .recordings import RATE, collage, keep, load, place

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Labels that get twice as many scores.
WEAK = ("Harmonica", "Accordion", "Violin", "Saxophone", "Clarinet")
# What a General MIDI drum note is called in the file names of drum kits.
STROKES = {
    "kick": ((35, 36), r"kick|bass|bd|\bkk"),
    "snare": ((37, 38, 40), r"snare|sn|rim|stick|clap"),
    "hat": ((42, 44, 46), r"hat|hh"),
    "tom": ((41, 43, 45, 47, 48, 50), r"tom|tm|conga|drum"),
    "cymbal": ((49, 51, 53, 55, 57, 59), r"crash|ride|cym|splash|china|bell"),
    "cowbell": ((54, 56), r"cow|tamb"),
}


def soundfont(path, program, notes, controls, rng, drums=False):
    """Samples of a score played by fluidsynth, or by TiMidity++ when `path` is its configuration.

    `drums` plays on the drum channel, where a General MIDI soundfont has its kits.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi.write(f"{folder}/a.mid", notes, controls, program, drums)
        if path.suffix == ".cfg":
            command = ["timidity", "-c", str(path), "-s", str(RATE), "-Ow1sl", "-o", f"{folder}/a.wav", f"{folder}/a.mid"]
        else:
            reverb = str(int(rng.random() < 0.6))
            command = [
                "fluidsynth",
                "-niq",
                "-o",
                "synth.dynamic-sample-loading=1",
                "-r",
                str(RATE),
                "-g",
                "0.5",
                "-R",
                reverb,
                "-C",
                "0",
                "-F",
                f"{folder}/a.wav",
                str(path),
                f"{folder}/a.mid",
            ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples, _ = soundfile.read(f"{folder}/a.wav", dtype="float32", always_2d=True)
    return samples.mean(1)


def band(path, labels, seconds, rng):
    """Samples of several instruments of a soundfont that play together; none when it lacks one of them."""
    total = np.zeros(0)
    for label, (notes, controls) in zip(labels, midi.band(rng, labels, seconds)):
        samples = soundfont(path, midi.pick(rng, midi.INSTRUMENTS[label][0]), notes, controls, rng, label == "Drums")
        if samples.std() < 1e-4:
            return samples[:0]
        samples = samples * 10 ** (rng.uniform(-8, 0) / 20) / samples.std()
        length = max(len(samples), len(total))
        total = np.pad(total, (0, length - len(total))) + np.pad(samples, (0, length - len(samples)))
    return total


def pitch_of(name):
    """MIDI pitch of a sample from its file name (`..._As3_...`, `A#3v10`, `042-F#.wav`), or None."""
    if match := re.match(r"(\d{3})-", name):
        return int(match[1])
    if match := re.search(r"(?:^|_)([A-G])(s|#)?(\d)(?:_|v|\.)", name):
        return SEMITONES[match[1]] + (match[2] is not None) + 12 * (int(match[3]) + 1)
    return None


class Sampler:
    """Plays scores with single recorded notes: the nearest pitch, resampled, cut at the note's end."""

    def __init__(self, files, drums=False):
        self.drums = drums
        self.samples = {}
        for file in files:
            keys = [p for notes, names in STROKES.values() if re.search(names, file.name.lower()) for p in notes] if drums else [pitch_of(file.name)]
            if not keys or keys[0] is None:
                continue
            samples, _ = librosa.effects.trim(load(file), top_db=50)
            if len(samples):
                for key in keys[:6]:
                    self.samples.setdefault(key, []).append(samples / (np.abs(samples).max() + 1e-9))
        self.keys = np.array(sorted(self.samples))

    def play(self, notes, rng):
        end = max(s + d for s, d, *_ in notes) + 1
        out = np.zeros(int(end * RATE) + RATE, np.float32)
        for start, duration, pitch, velocity in notes:
            key = self.keys[np.argmin(np.abs(self.keys - pitch))]
            if self.drums and key != pitch:
                continue
            if abs(key - pitch) > 4:
                pitch += 12 * round((key - pitch) / 12)
            ratio = 2 ** ((pitch - key + rng.normal(0, 0.06)) / 12)
            choice = self.samples[key]
            # Recordings of a note that last as long as the score says, or else the longest.
            lasting = [s for s in choice if self.drums or len(s) >= ratio * duration * RATE] or [max(choice, key=len)]
            sample = lasting[rng.integers(len(lasting))]
            length = min(int(len(sample) / ratio), len(sample) if self.drums else int((duration + 0.15) * RATE))
            part = np.interp(np.arange(length) * ratio, np.arange(len(sample)), sample).astype(np.float32)
            fade = min(length, int(0.06 * RATE))
            part[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            at = int(start * RATE)
            part = part[: len(out) - at] * (velocity / 127) ** 2
            out[at : at + len(part)] += part
        return out


def _scores(source, label, path, args):
    """Scores of a label played by a soundfont; one with a label of its own holds one drum kit, as its first program."""
    alone = bool(source.labels)
    programs = [0] if alone else midi.INSTRUMENTS[label][0]
    takes = max(1, round(5 * args.takes * (2 if label in WEAK else 1) / (1 if alone else len(programs))))
    drums = label == "Drums" and not alone
    for program in programs:
        for take in range(takes):
            yield label, source.name, f"{program}-{take}", lambda rng, g=program: soundfont(path, g, *midi.score(rng, label, args.seconds), rng, drums)


def _played(source, label, takes, args):
    """Scores of a label played with recorded notes."""
    files = [p for p in source.paths(args.sounds, args.data, label) if p.suffix in (".ogg", ".wav", ".flac", ".mp3")]
    player = []

    def played(rng):
        if not player:
            player.append(Sampler(files, label == "Drums"))
        return player[0].play(midi.score(rng, label, args.seconds)[0], rng)

    for take in range(takes):
        yield label, source.name, f"played-{take}", played


def jobs(args):
    """(label, source, name, function of a generator that returns samples) of the whole corpus."""
    table = sources.read(*sources.RENDERED)
    table = {name: source for name, source in table.items() if not args.only or name in args.only}
    complete = []
    for source in table.values():
        paths = source.paths(args.sounds, args.data)
        if not paths:
            raise ValueError(f"{source.name}: no file of {args.sounds or args.data} matches {sources.FILE.name}: run `python -m train corpus.packages` first")
        if source.kind == "soundfont" and not source.labels:
            complete.append(paths[0])
        for label in source.labels or LABELS:
            takes = args.sample_takes * (2 if label in WEAK else 1)
            if source.kind == "soundfont":
                yield from _scores(source, label, paths[0], args)
            elif source.kind == "notes":
                yield from _played(source, label, takes, args)
            elif source.kind == "recordings":
                for path in source.paths(args.sounds, args.data, label):
                    yield label, source.name, path.stem, lambda rng, p=path: load(p)
            else:
                files = [p for p in paths if p.suffix in (".ogg", ".wav") and p.stat().st_size < 500_000]
                for take in range(takes):
                    yield label, source.name, f"{take}", lambda rng, f=files: collage(f, rng, args.seconds)
    for number in range(args.bands if complete else 0):
        rng = np.random.default_rng([args.seed, number])
        labels = tuple(rng.choice(list(midi.INSTRUMENTS), size=rng.integers(2, 5), replace=False))
        path = complete[number % len(complete)]
        yield "+".join(labels), path.stem, f"band-{number}", lambda rng, p=path, own=labels: band(p, own, args.seconds, rng)


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.render", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=pathlib.Path, help="the packages of `corpus.packages`")
    parser.add_argument("--data", type=pathlib.Path, help="folder with audio/LABEL/SOURCE_*.ogg: notes to play scores with")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="sources to render (all)")
    parser.add_argument("--bands", type=int, default=60, help="pieces of two to four instruments that play together")
    parser.add_argument("--takes", type=int, default=2, help="scores a program of a soundfont, where a label has five; more where it has fewer")
    parser.add_argument("--sample-takes", type=int, default=8, help="scores a set of recorded notes")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--degraded", type=float, default=0.6, help="share of the pieces that also get a copy as in people's videos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="0/1", help="K/N: make the K-th of N parts")
    args = parser.parse_args(argv)

    part, parts = map(int, args.part.split("/"))
    todo = list(jobs(args))
    np.random.default_rng(args.seed).shuffle(todo)
    for label, source, name, make in tqdm(todo[part::parts], mininterval=5):
        path = place(args.cache, label, source, name)
        if path.exists():
            continue
        rng = np.random.default_rng([args.seed, zlib.crc32(str(path.relative_to(args.cache)).encode())])
        samples = make(rng)
        if len(samples) > 20 * RATE and rng.random() < args.degraded:
            keep(path.with_name(f"{source}__{name}__degraded.npy"), degrade(samples, rng))
        if len(samples):
            keep(path, samples)
