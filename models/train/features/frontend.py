# SPDX-License-Identifier: MPL-2.0
"""Front ends: from samples to mel patches, as librosa computes them.

A front end is a dict with the keys of a model card's `instruments.frontend.*`, so that training and the
plugin read the same numbers.
"""

import functools
import json
import pathlib

import librosa
import numpy as np
import torch

PRESETS = json.loads((pathlib.Path(__file__).parents[3] / "src/mel/presets.json").read_text())
"""The plugin's presets; a test of the plugin compares its own with this file."""

# The paper's front end of the Choi network and of Xception: 10*log10 of the squared power mel spectrogram, floor
# 1e-10, top 80 dB; written as 20*log10 of the power mel spectrogram with floor 1e-5. 1366 frames are 29.12 s.
CHOI = PRESETS["choi"]

# Han et al. 2016: patches of 1.0 s.
HAN = PRESETS["han"]

# YAMNet's, with patches of 9.6 s instead of its 0.96 s.
YAMNET = PRESETS["yamnet"] | {"patch-frames": 960}


@functools.cache
def _filters(rate, fft_size, bands, fmin, fmax, scale, norm):
    return torch.from_numpy(
        librosa.filters.mel(
            sr=rate,
            n_fft=fft_size,
            n_mels=bands,
            fmin=fmin,
            fmax=fmax,
            htk=scale == "htk",
            norm="slaney" if norm == "slaney" else None,
        )
    )


def mel(samples, frontend, rate=None):
    """Mel spectrogram of |STFT| ** power, float32 [bands, frames], of mono float samples.

    The samples are at `rate`, by default the front end's. At another one the window and the hop keep their
    lengths in seconds (to a sample), which gives nearly what resampling would, and saves it: 12 kHz and 16 kHz
    at `rate` 24000 have the very same bins. Frames are centred, padded by `pad-mode`, where the front end says so, then
    frames = 1 + len(samples) // hop.
    """
    ratio = (rate or frontend["rate"]) / frontend["rate"]
    size, window, hop = (round(frontend[key] * ratio) for key in ("fft-size", "window-size", "hop"))
    samples = torch.from_numpy(np.array(samples, np.float32))
    if not frontend["center"]:
        samples = torch.nn.functional.pad(samples, (0, max(0, size - len(samples))))
    spectrum = (
        torch.stft(
            samples, size, hop, window, torch.hann_window(window), center=frontend["center"], pad_mode=frontend.get("pad-mode", "constant"), return_complex=True
        ).abs()
        / ratio
    )
    filters = _filters(rate or frontend["rate"], size, *(frontend[k] for k in ("bands", "fmin", "fmax", "mel-scale", "mel-norm")))
    return (filters @ spectrum ** frontend["power"]).numpy()


def compress(mel, frontend):
    """What the front end makes of one patch of a mel spectrogram, float32."""
    kind = frontend["compression"]
    if kind in ("ln", "log10"):
        return getattr(np, "log" if kind == "ln" else kind)(frontend["offset"] + frontend["scale"] * mel).astype(np.float32)
    db = {"power-db": 10, "amplitude-db": 20}[kind] * np.log10(np.maximum(frontend["amin"], mel) / frontend["reference"])
    if frontend["top-db"] is not None:
        db = np.maximum(db, db.max() - frontend["top-db"])
    return db.astype(np.float32)


def tile(mel, frames):
    """A patch of exactly `frames` columns: shorter content repeats along time, longer is cut at its end."""
    repeats = -(-frames // mel.shape[1])
    return np.tile(mel, (1, repeats))[:, :frames]


def segments(samples, frontend, how):
    """The patches [n, bands, frames] of a whole recording, as `melspec` cuts them.

    `central`: its middle, one patch. `uniform`: the middles of ten equal parts, joined to one patch. `spread`: ten patches
    spread evenly over it. `all`: patches one after another. A recording that is shorter than a patch repeats.
    """
    hop, frames = frontend["hop"], frontend["patch-frames"]
    length = (frames - 1) * hop + (0 if frontend["center"] else frontend["fft-size"])  # of a patch, in samples
    if how == "uniform" and len(samples) > length:
        part = length // 10
        middles = [int(len(samples) * (k + 0.5) / 10) - part // 2 for k in range(10)]
        pieces = [np.concatenate([samples[m : m + part] for m in middles])]
    elif how == "spread":
        spare = max(0, len(samples) - length)
        starts = [spare * (2 * k + 1) // 20 // hop * hop for k in range(10)] if spare else [0]
        pieces = [samples[s : s + length] for s in starts]
    elif how == "all":
        count = max(1, round(len(samples) / (frames * hop)))
        pieces = [samples[s : s + length] for s in frames * hop * np.arange(count)]
    else:
        spare = max(0, len(samples) - length) // 2
        pieces = [samples[spare : spare + length]]
    return np.stack([compress(tile(mel(p, frontend), frames), frontend) for p in pieces])


def normalise(mel):
    """dB [N,1,bands,frames] to 1 at the patch's maximum and 0 at 80 dB below it: independent of level."""
    peak = mel.amax(dim=(1, 2, 3), keepdim=True)
    return torch.clamp((mel - peak) / CHOI["top-db"] + 1, min=0)
