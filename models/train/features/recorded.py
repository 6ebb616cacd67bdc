# SPDX-License-Identifier: MPL-2.0
"""Recordings as in people's videos: a room, a small microphone, noise, clipping, another sound behind."""

import numpy as np
import scipy.signal

RATE = 16000


def room(samples, rng):
    """A tail of noise that fades, sooner where the frequency is higher."""
    decay = rng.uniform(0.15, 1.0)  # s to -60 dB
    t = np.arange(int(decay * RATE)) / RATE
    noise = rng.normal(size=len(t))
    tail = scipy.signal.lfilter([1], [1, -rng.uniform(0.3, 0.8)], noise) * 10 ** (-3 * t / decay) + noise * 10 ** (-6 * t / decay) * rng.uniform(0, 0.5)
    tail[: int(rng.uniform(0.001, 0.02) * RATE)] = 0  # before the first reflection
    tail *= 10 ** (rng.uniform(-16, 0) / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return scipy.signal.fftconvolve(samples, tail)[: len(samples)]


def microphone(samples, rng):
    """A first-order band of what a telephone or a camera records; in one of ten the band of a call."""
    narrow = rng.random() < 0.1
    low, high = (rng.uniform(150, 350), rng.uniform(3000, 3800)) if narrow else (rng.uniform(30, 250), rng.uniform(3000, 7600))
    return scipy.signal.sosfilt(scipy.signal.butter(2 if narrow else 1, (low, high), "band", fs=RATE, output="sos"), samples)


def noise(length, rng):
    """Noise from white to brown, or hum of the mains."""
    if rng.random() < 0.2:
        t = np.arange(length) / RATE
        first = rng.choice([50, 60])
        return sum(rng.uniform(0, 1) / k * np.sin(2 * np.pi * (first * k * t + rng.random())) for k in (1, 2, 3, 4, 5))
    return scipy.signal.lfilter([1], [1, -rng.uniform(0, 0.99)], rng.normal(size=length))


def mixed(samples, other, decibels):
    """Samples with another sound so many dB below them, repeated or cut to their length."""
    other = np.resize(other, len(samples))
    return samples + other * (samples.std() / (other.std() + 1e-9) * 10 ** (decibels / 20))


def degrade(samples, rng):
    samples = np.asarray(samples, np.float64)
    if rng.random() < 0.6:
        samples = room(samples, rng)
    if rng.random() < 0.7:
        samples = microphone(samples, rng)
    if rng.random() < 0.5:
        samples = mixed(samples, noise(len(samples), rng), rng.uniform(-45, -12))
    samples = samples / (np.abs(samples).max() + 1e-9)
    if rng.random() < 0.25:
        samples = np.tanh(rng.uniform(1, 4) * samples)
    return (samples * 10 ** (rng.uniform(-30, -0.5) / 20)).astype(np.float32)
