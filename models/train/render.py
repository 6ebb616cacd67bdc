# SPDX-License-Identifier: MPL-2.0
"""The audio corpus: rendered scores and real recordings, one instrument (or none) each.

Everything is kept as `CACHE/sound/LABEL/SOURCE__NAME.npy`: int16 [samples], mono, 24,000 Hz, peak at 95 % of
full scale, so that one corpus serves every front end. Sources that only test (`labels.TEST_SOURCES`) go to
`CACHE/test/LABEL/SOURCE__NAME.npy`, where training never looks. Files that exist are not made again.
"""

import argparse
import os
import pathlib
import re
import subprocess
import tempfile
import zlib

import librosa
import numpy as np
import scipy.signal
import soundfile
from tqdm import tqdm

from . import midi
from .labels import class_of, is_test

RATE = 24000  # of the corpus, Hz
PEAK = 0.95 * 32767
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# What a General MIDI drum note is called in the file names of drum kits.
STROKES = {
    "kick": ((35, 36), r"kick|bass|bd|\bkk"), "snare": ((37, 38, 40), r"snare|sn|rim|stick|clap"),
    "hat": ((42, 44, 46), r"hat|hh"), "tom": ((41, 43, 45, 47, 48, 50), r"tom|tm|conga|drum"),
    "cymbal": ((49, 51, 53, 55, 57, 59), r"crash|ride|cym|splash|china|bell"), "cowbell": ((54, 56), r"cow|tamb"),
}


def load(path, rate=RATE):
    """Mono float32 samples at `rate` of any file that libsndfile or ffmpeg reads."""
    try:
        samples, own = soundfile.read(path, dtype="float32", always_2d=True)
        return librosa.resample(samples.mean(1), orig_sr=own, target_sr=rate, res_type="soxr_mq")
    except soundfile.LibsndfileError:
        pass
    run = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-vn", "-ac", "1", "-ar", str(rate), "-f", "f32le", "-"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise ValueError(f"{path}: ffmpeg cannot read its sound: {run.stderr.decode().strip()[:200]}")
    return np.frombuffer(run.stdout, np.float32)


def place(cache, label, source, name):
    """Where the corpus keeps a recording: apart from what trains when its source only tests."""
    return cache / ("test" if is_test(source) else "sound") / label.lower() / f"{source}__{name}.npy"


def keep(path, samples):
    """Store samples at RATE as int16, unless they are silent."""
    peak = np.abs(samples).max(initial=0)
    if peak > 1e-5:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        with open(partial, "wb") as file:
            np.save(file, np.round(samples * (PEAK / peak)).astype(np.int16))
        partial.replace(path)


def room(samples, rng):
    """Samples in a room: a tail of noise that fades, sooner where the frequency is higher."""
    decay = rng.uniform(0.15, 1.2)  # s to -60 dB
    t = np.arange(int(decay * RATE)) / RATE
    dull = scipy.signal.sosfilt(scipy.signal.butter(1, rng.uniform(1000, 4000), fs=RATE, output="sos"), rng.normal(size=len(t)))
    tail = dull * 10 ** (-3 * t / decay) + rng.normal(size=len(t)) * 10 ** (-6 * t / decay) * rng.uniform(0, 0.5)
    tail[:int(rng.uniform(0.001, 0.02) * RATE)] = 0  # before the first reflection
    tail *= 10 ** (rng.uniform(-16, 3) / 20) / np.sqrt((tail ** 2).sum())
    tail[0] = 1
    return scipy.signal.fftconvolve(samples, tail)[:len(samples)]


def level(samples, rng):
    """Samples after a recorder's automatic level, which lifts what is soft."""
    smooth = scipy.signal.butter(1, rng.uniform(0.5, 4), fs=RATE, output="sos")
    loudness = np.sqrt(np.maximum(scipy.signal.sosfilt(smooth, samples ** 2), 0)) + 1e-3
    return samples * loudness ** -rng.uniform(0.3, 0.8)


# ffmpeg's encoder, container and bit rates in kbit/s.
CODECS = (("libmp3lame", "mp3", (16, 24, 32, 48, 64)), ("aac", "adts", (16, 24, 32, 48, 64)),
          ("libopus", "ogg", (8, 12, 16, 24, 32)), ("libvorbis", "ogg", (32, 48)))


def codec(samples, rate, rng):
    """Samples at RATE, through a low-rate codec that runs at `rate`."""
    name, form, rates = CODECS[rng.choice(len(CODECS), p=(0.35, 0.35, 0.2, 0.1))]
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/a.wav", samples.astype(np.float32), RATE)
        rate = 24000 if name == "libopus" else rate
        kbits = min(int(rng.choice(rates)), 24 if rate < 16000 else 64)
        subprocess.run(["ffmpeg", "-v", "error", "-i", f"{folder}/a.wav", "-ar", str(rate), "-c:a", name, "-b:a", f"{kbits}k",
                        "-f", form, f"{folder}/b"], check=True)
        return load(f"{folder}/b")


def degrade(samples, rng):
    """A copy as in people's videos: room, small microphone, hiss, automatic level, clipping, and a low-rate codec."""
    if rng.random() < 0.7:
        samples = room(samples, rng)
    narrow = rng.random() < 0.12  # as over a telephone
    low, high = (rng.uniform(150, 350), rng.uniform(3000, 3800)) if narrow else (rng.uniform(30, 250), rng.uniform(4500, 10000))
    samples = scipy.signal.sosfilt(scipy.signal.butter(3 if narrow else 1, (low, high), "band", fs=RATE, output="sos"), samples)
    samples = samples / (np.abs(samples).max() + 1e-9)
    if rng.random() < 0.4:
        hiss = scipy.signal.lfilter([1], [1, -rng.uniform(0, 0.98)], rng.normal(size=len(samples)))
        samples = samples + hiss * samples.std() / hiss.std() * 10 ** (rng.uniform(-45, -18) / 20)
    if rng.random() < 0.3:
        samples = level(samples, rng)
    samples = samples / (np.abs(samples).max() + 1e-9)
    kind = rng.random()
    if kind < 0.2:
        samples = np.tanh(rng.uniform(1, 3) * samples)
    elif kind < 0.35:
        samples = np.clip(rng.uniform(1.2, 4) * samples, -1, 1)
    return codec(0.8 * samples, 8000 if narrow else int(rng.choice([12000, 16000, 22050, 24000], p=[0.1, 0.2, 0.3, 0.4])), rng)


def soundfont(path, label, program, notes, controls, rng):
    """Samples of a score played by fluidsynth, or by TiMidity++ when `path` is its configuration."""
    with tempfile.TemporaryDirectory() as folder:
        midi.write(f"{folder}/a.mid", notes, controls, program, label == "Drums")
        if path.suffix == ".cfg":
            command = ["timidity", "-c", str(path), "-s", str(RATE), "-Ow1sl", "-o", f"{folder}/a.wav", f"{folder}/a.mid"]
        else:
            reverb = str(int(rng.random() < 0.6))
            command = ["fluidsynth", "-niq", "-o", "synth.dynamic-sample-loading=1", "-r", str(RATE), "-g", "0.5", "-R", reverb, "-C", "0",
                       "-F", f"{folder}/a.wav", str(path), f"{folder}/a.mid"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples, _ = soundfile.read(f"{folder}/a.wav", dtype="float32", always_2d=True)
    return samples.mean(1)


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
            keys = [p for notes, names in STROKES.values() if re.search(names, file.name.lower()) for p in notes] \
                if drums else [pitch_of(file.name)]
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
            sample = self.samples[key][rng.integers(len(self.samples[key]))]
            ratio = 2 ** ((pitch - key + rng.normal(0, 0.06)) / 12)
            length = min(int(len(sample) / ratio), len(sample) if self.drums else int((duration + 0.15) * RATE))
            part = np.interp(np.arange(length) * ratio, np.arange(len(sample)), sample).astype(np.float32)
            fade = min(length, int(0.06 * RATE))
            part[length - fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
            at = int(start * RATE)
            part = part[:len(out) - at] * 10 ** ((velocity - 127) / 40)
            out[at:at + len(part)] += part
        return out


def collage(files, rng, seconds):
    """Short sounds such as speech and effects at random times over `seconds`, some on top of one another."""
    out = np.zeros(int(seconds * RATE), np.float32)
    at, gap = 0, rng.uniform(0.3, 1.2)
    while at < len(out):
        samples = load(files[rng.integers(len(files))])[:10 * RATE]
        samples = samples[:len(out) - at] / (np.abs(samples).max(initial=1e-9)) * rng.uniform(0.3, 1)
        out[at:at + len(samples)] += samples
        at += int((len(samples) + 0.3 * RATE) * gap) + 1
    return out


def jobs(args):
    """(label, source, name, function of a generator that returns samples) of the whole corpus."""
    for label, (programs, _, _) in midi.INSTRUMENTS.items():
        for path in args.soundfonts:
            if path.stem in args.drum_soundfonts and label != "Drums":
                continue
            for program in programs:
                for take in range(max(1, round(5 * args.takes / len(programs)))):
                    yield label, path.stem, f"{program}-{take}", lambda rng, p=path, l=label, g=program: \
                        soundfont(p, l, g, *midi.score(rng, l, args.seconds), rng)
    for spec in args.samples:
        label, source, folder, pattern = spec.split(":")
        files = sorted(p for p in pathlib.Path(folder).rglob(pattern) if p.suffix in (".ogg", ".wav", ".flac", ".mp3"))
        player = []

        def played(rng, label=label, files=files, player=player):
            if not player:
                player.append(Sampler(files, label == "Drums"))
            return player[0].play(midi.score(rng, label, args.seconds)[0], rng)

        for take in range(args.sample_takes):
            yield label, source, f"played-{take}", played
    for spec in args.recordings:
        label, source, pattern = spec.split(":")
        for path in sorted(pathlib.Path("/").glob(pattern.lstrip("/"))):
            yield label, source, path.stem, lambda rng, p=path: load(p)
    for spec in args.collages:
        label, source, folder = spec.split(":")
        files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix in (".ogg", ".wav") and p.stat().st_size < 300_000)
        for take in range(args.sample_takes):
            yield label, source, f"{take}", lambda rng, f=files: collage(f, rng, args.seconds)
    for folder in sorted((args.data / "audio").iterdir()) if args.data else []:
        if class_of(folder.name) is not None or args.others:
            for path in sorted(folder.glob("*.ogg")):
                yield folder.name, path.name.split("_")[0], path.stem, lambda rng, p=path: load(p)


def main(argv):
    parser = argparse.ArgumentParser(prog="train render", description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, help="folder with audio/LABEL/SOURCE_*.ogg")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--soundfonts", type=pathlib.Path, nargs="*", default=[], help=".sf2, .sf3 or a TiMidity .cfg")
    parser.add_argument("--drum-soundfonts", nargs="*", default=[], help="stems of soundfonts that hold drums alone")
    parser.add_argument("--samples", nargs="*", default=[], help="LABEL:SOURCE:FOLDER:GLOB of recorded single notes to play scores with")
    parser.add_argument("--recordings", nargs="*", default=[], help="LABEL:SOURCE:ABSOLUTE-GLOB of recordings of one instrument")
    parser.add_argument("--collages", nargs="*", default=[], help="LABEL:SOURCE:FOLDER of short sounds to join, for the label none")
    parser.add_argument("--others", action="store_true", help="also the folders of other instruments, as accompaniment")
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
