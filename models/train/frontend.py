# SPDX-License-Identifier: MPL-2.0
"""Front ends: from samples to mel patches, as librosa computes them.

A front end is a dict with the keys of a model card's `instruments.frontend.*`, so that training and the
plugin read the same numbers.
"""

import functools

import librosa
import numpy as np
import scipy.fft

# The paper's front end of the Choi network: 10*log10 of the squared power mel spectrogram, floor 1e-10,
# top 80 dB; written as 20*log10 of the power mel spectrogram with floor 1e-5.
CHOI = {
    "rate": 12000,
    "fft-size": 512,
    "window-size": 512,
    "hop": 256,
    "window": "hann",
    "bands": 96,
    "fmin": 0,
    "fmax": 6000,
    "mel-scale": "slaney",
    "mel-norm": "slaney",
    "power": 2,
    "compression": "amplitude-db",
    "reference": 1,
    "amin": 1e-5,
    "offset": 0,
    "scale": 1,
    "top-db": 80,
    "center": True,
    "patch-frames": 1366,
}


@functools.cache
def _filters(rate, fft_size, bands, fmin, fmax, scale, norm):
    return librosa.filters.mel(
        sr=rate, n_fft=fft_size, n_mels=bands, fmin=fmin, fmax=fmax, htk=scale == "htk",
        norm="slaney" if norm == "slaney" else None,
    )


def mel_power(samples, frontend=CHOI):
    """Mel power spectrogram, float32 [bands, frames], of mono float samples at the front end's rate.

    Frames are centred (zero padding): frames = 1 + len(samples) // hop.
    """
    size, hop = frontend["fft-size"], frontend["hop"]
    padded = np.pad(np.asarray(samples, np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    filters = _filters(frontend["rate"], size, frontend["bands"], frontend["fmin"], frontend["fmax"],
                       frontend["mel-scale"], frontend["mel-norm"])
    mel = np.empty((frontend["bands"], len(frames)), np.float32)
    for start in range(0, len(frames), 4096):
        spectrum = scipy.fft.rfft(frames[start:start + 4096] * window, axis=1)
        mel[:, start:start + 4096] = filters @ (spectrum.real ** 2 + spectrum.imag ** 2).T
    return mel


def compress(mel, frontend=CHOI):
    """`amplitude-db` compression of one patch of mel power: dB, clamped to `top-db` below its maximum."""
    db = 20 * np.log10(np.maximum(frontend["amin"], mel) / frontend["reference"])
    if frontend["top-db"] is not None:
        db = np.maximum(db, db.max() - frontend["top-db"])
    return db.astype(np.float32)


def tile(mel, frames=CHOI["patch-frames"]):
    """A patch of exactly `frames` columns: shorter content repeats along time, longer is cut at its end."""
    repeats = -(-frames // mel.shape[1])
    return np.tile(mel, (1, repeats))[:, :frames]
