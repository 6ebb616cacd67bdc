# SPDX-License-Identifier: MPL-2.0
"""Copies of recordings as in people's videos: room, small microphone, hiss, automatic level, clipping, and a low-rate codec."""

import subprocess
import tempfile

import numpy as np
import scipy.signal
import soundfile

from .recordings import RATE, load

# ffmpeg's encoder, container and bit rates in kbit/s.
CODECS = (
    ("libmp3lame", "mp3", (16, 24, 32, 48, 64)),
    ("aac", "adts", (16, 24, 32, 48, 64)),
    ("libopus", "ogg", (8, 12, 16, 24, 32)),
    ("libvorbis", "ogg", (32, 48)),
)


def room(samples, rng):
    """Samples in a room: a tail of noise that fades, sooner where the frequency is higher."""
    decay = rng.uniform(0.15, 1.2)  # s to -60 dB
    t = np.arange(int(decay * RATE)) / RATE
    dull = scipy.signal.sosfilt(scipy.signal.butter(1, rng.uniform(1000, 4000), fs=RATE, output="sos"), rng.normal(size=len(t)))
    tail = dull * 10 ** (-3 * t / decay) + rng.normal(size=len(t)) * 10 ** (-6 * t / decay) * rng.uniform(0, 0.5)
    tail[: int(rng.uniform(0.001, 0.02) * RATE)] = 0  # before the first reflection
    tail *= 10 ** (rng.uniform(-16, 3) / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return scipy.signal.fftconvolve(samples, tail)[: len(samples)]


def level(samples, rng):
    """Samples after a recorder's automatic level, which lifts what is soft."""
    smooth = scipy.signal.butter(1, rng.uniform(0.5, 4), fs=RATE, output="sos")
    loudness = np.sqrt(np.maximum(scipy.signal.sosfilt(smooth, samples**2), 0)) + 1e-3
    return samples * loudness ** -rng.uniform(0.3, 0.8)


def codec(samples, rate, rng):
    """Samples at RATE, through a low-rate codec that runs at `rate`."""
    name, form, rates = CODECS[rng.choice(len(CODECS), p=(0.35, 0.35, 0.2, 0.1))]
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/a.wav", samples.astype(np.float32), RATE)
        rate = 24000 if name == "libopus" else rate
        kbits = min(int(rng.choice(rates)), 24 if rate < 16000 else 64)
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", f"{folder}/a.wav", "-ar", str(rate), "-c:a", name, "-b:a", f"{kbits}k", "-f", form, f"{folder}/b"], check=True
        )
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
