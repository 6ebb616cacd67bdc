# SPDX-License-Identifier: MPL-2.0
"""Mel patches of a recording as a model's card describes them, by librosa, and the paper's segmentations."""

import librosa
import numpy as np


def settings(card):
    """The card's `frontend.*` as numbers, booleans, text, and None for "none" (but not where "none" is a choice)."""
    found = {}
    for key, value in card.items():
        if key.startswith("frontend."):
            key = key.removeprefix("frontend.")
            if value in ("true", "false"):
                value = value == "true"
            elif key == "top-db" and value == "none":
                value = None
            elif key not in ("window", "mel-scale", "mel-norm", "compression", "pad-mode"):
                value = float(value)
            found[key] = value
    for key in ("rate", "fft-size", "window-size", "hop", "bands", "patch-frames"):
        found[key] = int(found[key])
    return found


def mel(samples, f):
    """Mel spectrogram [bands, frames] of samples at the front end's rate, before compression."""
    stft = librosa.stft(
        samples,
        n_fft=f["fft-size"],
        hop_length=f["hop"],
        win_length=f["window-size"],
        window=f["window"],
        center=f["center"],
        pad_mode=f.get("pad-mode", "constant"),
    )
    filters = librosa.filters.mel(
        sr=f["rate"],
        n_fft=f["fft-size"],
        n_mels=f["bands"],
        fmin=f["fmin"],
        fmax=f["fmax"],
        htk=f["mel-scale"] == "htk",
        norm=None if f["mel-norm"] == "none" else f["mel-norm"],
    )
    return filters @ np.abs(stft) ** f["power"]


def compress(power, f):
    kind = f["compression"]
    if kind == "none":
        return power
    if kind == "ln":
        return np.log(f["offset"] + f["scale"] * power)
    if kind == "log10":
        return np.log10(f["offset"] + f["scale"] * power)
    db = (20 if kind == "amplitude-db" else 10) * np.log10(np.maximum(f["amin"], power) / f["reference"])
    return db if f["top-db"] is None else np.maximum(db, db.max() - f["top-db"])


def patch(power, f, partial):
    """A model's input [1, bands, patch-frames]: what is short repeats, or silence follows it (`partial` repeat, zero)."""
    frames = f["patch-frames"]
    if partial == "zero":
        full = np.zeros((f["bands"], frames), np.float32)
        full[:, : power.shape[1]] = power[:, :frames]
        power = full
    else:
        power = np.tile(power, (1, -(-frames // power.shape[1])))[:, :frames]
    return compress(power, f).astype(np.float32)[None]


def length(f):
    """Samples that give exactly one patch."""
    return (f["patch-frames"] - 1) * f["hop"] + (0 if f["center"] else f["fft-size"])


def middle(spare, part, parts):
    return spare * (2 * part + 1) // (2 * parts)


def excerpt(samples, f, segmentation):
    """The samples of one patch: `central` (CC), or `uniform` (UC: the middles of ten equal parts, joined); all when there are fewer."""
    size, spare = length(f), len(samples) - length(f)
    if spare <= 0:
        return samples
    parts, pieces = (10 if segmentation == "uniform" else 1), []
    for part in range(parts):
        before = middle(spare, part, parts)
        pieces.append(samples[before + part * size // parts : before + (part + 1) * size // parts])
    return np.concatenate(pieces)


def patches(samples, f, segmentation="sliding", partial="repeat", window=10.0, stride=5.0):
    """([n, 1, bands, patch-frames], [(start, end)] in seconds) of a recording; empty where it is shorter than a window."""
    if len(samples) < f["window-size"]:
        return np.zeros((0, 1, f["bands"], f["patch-frames"]), np.float32), []
    seconds = len(samples) / f["rate"]
    if segmentation in ("central", "uniform"):
        return patch(mel(excerpt(samples, f, segmentation), f), f, partial)[None], [(0.0, seconds)]
    power, hop = mel(samples, f), f["hop"]
    if segmentation == "ten":  # ten patches, spread evenly (Han)
        spare = len(samples) - length(f)
        firsts = [middle(spare, part, 10) // hop for part in range(10)] if spare > 0 else [0]
        made = [patch(power[:, first : first + f["patch-frames"]], f, partial) for first in firsts]
        return np.stack(made), [(first * hop / f["rate"], length(f) / f["rate"] + first * hop / f["rate"]) for first in firsts]
    reach = -(-f["fft-size"] // 2) if f["center"] else f["fft-size"]
    content = min(max(1, round(window * f["rate"] / hop)), f["patch-frames"])
    interval = stride * f["rate"]
    # A patch each stride, as soon as its frames are complete, and one for the rest if that is half a stride or more.
    ends, count = [], 1
    while (end := (int(count * interval) - reach) // hop + 1) < 1 or (end - 1) * hop + reach <= len(samples):
        ends += [end] if end >= 1 else []
        count += 1
    if not ends or len(samples) - (count - 1) * interval >= interval / 2:
        ends.append(power.shape[1])
    made, spans = [], []
    for end in ends:
        first = max(0, end - content)
        # Mirrored padding makes each patch a signal of its own.
        own = mel(samples[first * hop : (end - 1) * hop], f) if f.get("pad-mode") == "reflect" else power[:, first:end]
        made.append(patch(own, f, partial))
        spans.append((first * hop / f["rate"], min(((end - 1) * hop + reach) / f["rate"], seconds)))
    return np.stack(made), spans
