# SPDX-License-Identifier: MPL-2.0
"""Training patches: crops of the corpus, changed as people's recordings change music.

Everything happens on mel power, so that mixing is addition and a filter is a factor a band. One corpus of
waveforms serves every front end.
"""

import os

import numpy as np
import scipy.signal
import torch

from ..corpus.audioset import zero_shot
from ..corpus.recordings import RATE
from ..labels import CLASSES, LABELS, class_of
from .frontend import compress, mel

SCORES = 521  # YAMNet's classes
SCORE_SECONDS = 0.96  # between two rows of its scores
NONE_INDEX = len(LABELS)
NOTE_SECONDS = 6  # shorter recordings are taken for single notes
NOTES = ("phil", "phil8")  # sources of single notes


def decibel(rng, low, high):
    """A power factor, uniform in dB."""
    return 10 ** (rng.uniform(low, high) / 10)


class Corpus:
    """What `corpus.render` and `corpus.music` made, by label and source, as mel spectrograms of one front end.

    Held in memory as float16 square roots of mel power over their maximum. `left_out` sources are not loaded; with
    `only`, no others are. The unlabelled music needs `audioset.groups`.
    """

    def __init__(self, cache, frontend, left_out=(), only=None, member=None, folder="sound"):
        self.frontend = frontend
        self.recordings = {}  # label: {source: [mel]}
        self.others = []  # other instruments, accompaniment only
        peaks = []
        for place in sorted((cache / folder).iterdir()):
            label = class_of(place.name)
            for path in sorted(place.glob("*.npy")):
                source = path.stem.split("__")[0]
                if source in left_out or only is not None and source not in only:
                    continue
                roots, peak = self._roots(cache, path)
                peaks.append(peak)
                if label is None:
                    self.others.append(roots)
                else:
                    self.recordings.setdefault(label, {}).setdefault(source, []).append(roots)
        self.peak = float(np.median(peaks))  # of the mel spectrogram of a recording at full scale
        self.taught = []  # (mel, YAMNet's scores [n, 521], the classes' probabilities from them [n, 14]) of unlabelled music
        self.windows = {}  # class: [(index, score)] of the unlabelled music in which the teacher hears it most
        for path in sorted((cache / "taught").glob("*.npz")) if member is not None else []:
            with np.load(path) as file:
                scores = file["scores"]
            roots = self._roots(cache, path)[0]
            tags = zero_shot(scores, member)
            for n in range(0, len(tags) - 4, 2):
                best = int(tags[n : n + 4].mean(0).argmax())
                self.windows.setdefault(best, []).append((len(self.taught), n))
            self.taught.append((roots, scores, tags))

    def _roots(self, cache, path):
        """(roots, mel spectrogram's peak) of a recording, made once and kept in `CACHE/mels-RATE`."""
        kept = cache / f"mels-{self.frontend['rate']}" / path.parent.name / f"{path.stem}.npz"
        if not kept.exists():
            sound = np.load(path)
            sound = sound["sound"] if path.suffix == ".npz" else sound
            roots = mel(sound.astype(np.float32) / 32768, self.frontend, RATE) ** (1 / self.frontend["power"])
            peak = roots.max()
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(f".{os.getpid()}.tmp.npz")
            np.savez(partial, roots=(roots / peak).astype(np.float16), peak=peak)
            partial.replace(kept)
        with np.load(kept) as file:
            return file["roots"], file["peak"]

    def frames(self, seconds):
        return int(seconds * self.frontend["rate"] / self.frontend["hop"])

    def summary(self):
        for label, sources in sorted(self.recordings.items()):
            minutes = {s: sum(m.shape[1] for m in mels) / self.frames(60) for s, mels in sources.items()}
            taught = len(self.windows.get(label, []))
            print(f"{CLASSES[label]:10} {taught:6} taught windows;", ", ".join(f"{s} {m:.1f}" for s, m in minutes.items()), "min", flush=True)


class Patches(torch.utils.data.IterableDataset):
    """Endless (patch [1, bands, frames] as the front end gives it, soft target [14], YAMNet's scores [521]) triples.

    The scores are NaN where YAMNet was not asked.
    """

    def __init__(self, corpus, frames, seed, real=0.4, taught=0.3, none=0.05, strength=1.0):
        self.corpus, self.size, self.seed = corpus, frames, seed
        self.real, self.taught, self.none, self.strength = real, taught, none, strength
        self.bands = corpus.frontend["bands"]
        self.labels = [i for i in range(NONE_INDEX) if i in corpus.recordings]

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        while True:
            yield self.item(rng)

    def item(self, rng):
        power, target, scores = self.draw(rng)
        return self.finish(rng, self.augment(rng, power, target)), target, scores

    def draw(self, rng):
        target, scores = np.zeros(len(CLASSES), np.float32), np.full(SCORES, np.nan, np.float32)
        kind = rng.random()
        if kind < self.none:
            target[NONE_INDEX] = 1
            return self.nothing(rng), target, scores
        if kind < self.none + self.taught and self.corpus.windows:
            return self.opinion(rng)
        label = self.labels[rng.integers(len(self.labels))]
        target[label] = 1
        return self.content(rng, self.choose(rng, label)), target, scores

    def choose(self, rng, label):
        """All recordings of one source of a label: real notes, real music, or one family of rendered samples."""
        sources = self.corpus.recordings[label]
        notes = [s for s in sources if s in NOTES]
        names = notes if notes and rng.random() < self.real else [s for s in sources if s not in notes] or notes
        return sources[names[rng.integers(len(names))]]

    def content(self, rng, mels):
        """Power [bands, frames]: a stretch of music, notes one after another, or something short that repeats."""
        length, frames = self.size, self.corpus.frames
        mel = mels[rng.integers(len(mels))]
        music = mel.shape[1] > frames(NOTE_SECONDS)
        if rng.random() < 0.25:  # the plugin repeats what is shorter than a patch
            short = int(length * rng.uniform(0.15, 0.8)) if music else min(length, mel.shape[1])
            return self.fill(self.crop(rng, mel, short))
        if music:
            if rng.random() < 0.15:  # the paper's uniform crop joins distant parts
                cuts = np.sort(rng.integers(1, length, int(rng.integers(1, 4))))
                parts = np.diff(np.concatenate([[0], cuts, [length]]))
                return self.fill(np.concatenate([self.crop(rng, mel, int(n)) for n in parts], 1))
            return self.fill(self.crop(rng, mel, length))
        power = np.zeros((self.bands, length), np.float32)
        at = int(rng.integers(-frames(0.4), min(frames(1.2), length // 3)))
        gap = rng.uniform(0.3, 1.3)
        while at < length:
            note = self.crop(rng, mels[rng.integers(len(mels))], 2 * length)
            start, end = max(at, 0), min(at + note.shape[1], length)
            if end > start:
                power[:, start:end] += note[:, start - at : end - at] * decibel(rng, -8, 0)
            at += max(frames(0.2), int(note.shape[1] * gap))
        return power

    def fill(self, power):
        """Repeats what is shorter than a patch."""
        return np.tile(power, (1, -(-self.size // power.shape[1])))[:, : self.size]

    @staticmethod
    def crop(rng, mel, length):
        """Power of a random stretch, another one where it is silent."""
        for _ in range(3):
            start = int(rng.integers(max(1, mel.shape[1] - length + 1)))
            piece = mel[:, start : start + length]
            if piece.max(initial=0) > 0.03:
                break
        return piece.astype(np.float32) ** 2

    def opinion(self, rng):
        """Unlabelled music, with the teacher's opinion of it."""
        classes = list(self.corpus.windows)
        # The square root of the counts: rare labels are seen more often, but not as often as that few windows would be learnt by heart.
        weights = np.sqrt([len(self.corpus.windows[k]) for k in classes])
        windows = self.corpus.windows[classes[rng.choice(len(classes), p=weights / weights.sum())]]
        index, row = windows[rng.integers(len(windows))]
        roots, scores, tags = self.corpus.taught[index]
        rows = slice(row, row + max(1, round(self.size / self.corpus.frames(SCORE_SECONDS))))
        start = min(self.corpus.frames(row * SCORE_SECONDS), max(0, roots.shape[1] - self.size))
        power = roots[:, start : start + self.size].astype(np.float32) ** 2
        return self.fill(power), tags[rows].mean(0), scores[rows].astype(np.float32).mean(0)

    def nothing(self, rng):
        """Noise, hum, or speech and effects; never music."""
        none = self.corpus.recordings.get(NONE_INDEX)
        if none and rng.random() < 0.75:
            source = list(none)[rng.integers(len(none))]
            return self.fill(self.crop(rng, none[source][rng.integers(len(none[source]))], self.size)) + 1e-9
        power = self.noise(rng)
        if rng.random() < 0.3:
            hum = np.zeros((self.bands, 1), np.float32)
            hum[rng.integers(0, 6, size=4), 0] = rng.random(4)
            power += hum * decibel(rng, 0, 25) * power.mean()
        return power

    def noise(self, rng):
        """Stationary noise of a smooth random spectrum, mean power 1, some of it slowly swelling."""
        shape = 10 ** (self.curve(rng, 6, 5) / 10 + rng.uniform(-4, 1) * np.linspace(0, 1, self.bands))
        power = shape[:, None] * rng.standard_exponential((self.bands, self.size), dtype=np.float32)
        if rng.random() < 0.3:
            power *= np.interp(np.arange(self.size), np.linspace(0, self.size, 6), 10 ** rng.normal(0, 0.4, 6))
        return (power / power.mean()).astype(np.float32)

    def curve(self, rng, knots, deviation):
        """Smooth random dB a band."""
        return np.interp(np.arange(self.bands), np.linspace(0, self.bands - 1, knots), rng.normal(0, deviation, knots))

    def augment(self, rng, power, target):
        s = self.strength
        mean = power.mean() + 1e-12
        if rng.random() < 0.5 * s:  # tuning and tempo
            shift = rng.uniform(-1.5, 1.5) * self.bands / 96
            rows = np.clip(np.arange(self.bands) - shift, 0, self.bands - 1)
            low = rows.astype(int)
            part = (rows - low)[:, None].astype(np.float32)
            power = power[low] * (1 - part) + power[np.minimum(low + 1, self.bands - 1)] * part
        if rng.random() < 0.3 * s:
            factor = rng.uniform(0.85, 1.15)
            power = power[:, np.minimum((np.arange(self.size) * factor).astype(int) % self.size, self.size - 1)]
        if rng.random() < 0.3 * s:  # room: an exponential tail in every band
            decay = 10 ** (-6 / (rng.uniform(0.2, 1.5) * self.corpus.frames(1)))
            wet = scipy.signal.lfilter([1], [1, -decay], power).astype(np.float32)
            power = power + wet * decibel(rng, -14, 0) * mean / (wet.mean() + 1e-12)
        if target[NONE_INDEX] < 1:
            if rng.random() < 0.3 * s:
                other = self.accompaniment(rng, int(target.argmax()))
                power = power + other * decibel(rng, -24, -8) * mean / (other.mean() + 1e-12)
            none = self.corpus.recordings.get(NONE_INDEX)
            if none and rng.random() < 0.2 * s:
                other = self.nothing(rng)
                power = power + other * decibel(rng, -25, -3) * mean / (other.mean() + 1e-12)
        power = power * (10 ** ((self.curve(rng, 8, 2.5 * s) + rng.normal(0, 3 * s) * np.linspace(-1, 1, self.bands)) / 10))[:, None]
        if rng.random() < 0.4 * s:
            power = power + self.noise(rng) * decibel(rng, -45, -12) * power.mean()
        if rng.random() < 0.2 * s:  # a codec's or a loudspeaker's band limits
            power[int(self.bands * rng.uniform(0.73, 1)) :] *= 1e-6
        if rng.random() < 0.15 * s:
            power[: max(1, int(self.bands * rng.uniform(0.01, 0.09)))] *= decibel(rng, -30, -6)
        for _ in range(2):
            if rng.random() < 0.25 * s:
                band = int(rng.integers(self.bands))
                power[band : band + int(rng.integers(1, self.bands // 12))] *= 1e-3
            if rng.random() < 0.25 * s:
                frame = int(rng.integers(self.size))
                power[:, frame : frame + int(rng.integers(2, max(3, self.size // 12)))] *= 1e-3
        return power

    def accompaniment(self, rng, label):
        kind = rng.random()
        if kind < 0.35 and self.corpus.taught:
            mel = self.corpus.taught[rng.integers(len(self.corpus.taught))][0]
        elif kind < 0.45 and self.corpus.others:
            mel = self.corpus.others[rng.integers(len(self.corpus.others))]
        else:
            choices = [i for i in self.labels if i != label]
            mels = self.choose(rng, choices[rng.integers(len(choices))])
            mel = mels[rng.integers(len(mels))]
        return self.fill(self.crop(rng, mel, self.size))

    def finish(self, rng, power):
        """The front end's output for a recording of random level."""
        frontend = self.corpus.frontend
        roots = np.sqrt(power / (power.max() + 1e-12)) * self.corpus.peak * 10 ** (rng.uniform(-36, 3) / 20)
        return compress(roots ** frontend["power"], frontend)[None]
