# SPDX-License-Identifier: MPL-2.0
"""Recordings of the corpus: read from any file, kept as int16 at 24,000 Hz with their peak at 95 % of full scale."""

import os
import subprocess

import librosa
import numpy as np
import soundfile

from .sources import is_test

RATE = 24000  # of the corpus, Hz
PEAK = 0.95 * 32767


def load(path, rate=RATE, longest=None):
    """Mono float32 samples at `rate` of any file that libsndfile or ffmpeg reads: all, or at most `longest` seconds of its middle."""
    try:
        with soundfile.SoundFile(path) as file:
            length = min(file.frames, int(longest * file.samplerate)) if longest else file.frames
            file.seek((file.frames - length) // 2)
            samples = file.read(length, dtype="float32", always_2d=True)
            return librosa.resample(samples.mean(1), orig_sr=file.samplerate, target_sr=rate, res_type="soxr_mq")
    except soundfile.LibsndfileError:
        pass
    run = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-vn", "-ac", "1", "-ar", str(rate), "-f", "f32le", "-"], capture_output=True)
    if run.returncode:
        raise ValueError(f"{path}: ffmpeg cannot read its sound: {run.stderr.decode().strip()[:200]}")
    samples = np.frombuffer(run.stdout, np.float32)
    spare = max(0, len(samples) - int(longest * rate)) // 2 if longest else 0
    return samples[spare : len(samples) - spare]


def place(cache, label, source, name):
    """Where the corpus keeps a recording: what tests, and bands (labels joined by +), apart from the rest."""
    folder = "test" if is_test(source) else "bands" if "+" in label else "sound"
    return cache / folder / label.lower() / f"{source}__{name}.npy"


def sounding(samples):
    """The share of 0.1 s frames that are at most 40 dB below the loudest one."""
    size = RATE // 10
    padded = np.pad(samples, (0, -len(samples) % size))
    power = (padded.reshape(-1, size) ** 2).mean(1)
    return np.mean(power >= 1e-4 * power.max())


def keep(path, samples):
    """Store samples at RATE as int16, unless they are silent but for a click."""
    peak = np.abs(samples).max(initial=0)
    if peak > 1e-5 and sounding(samples) > 0.02:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        with open(partial, "wb") as file:
            np.save(file, np.round(samples * (PEAK / peak)).astype(np.int16))
        partial.replace(path)


def collage(files, rng, seconds):
    """Short sounds such as speech and effects at random times over `seconds`, some on top of one another."""
    out = np.zeros(int(seconds * RATE), np.float32)
    at, gap = 0, rng.uniform(0.3, 1.2)
    while at < len(out):
        samples = load(files[rng.integers(len(files))])[: 10 * RATE]
        samples = samples[: len(out) - at] / (np.abs(samples).max(initial=1e-9)) * rng.uniform(0.3, 1)
        out[at : at + len(samples)] += samples
        at += int((len(samples) + 0.3 * RATE) * gap) + 1
    return out
