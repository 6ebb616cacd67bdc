# SPDX-License-Identifier: MPL-2.0
"""Training patches: crops of the corpus, changed as people's recordings change music.

Everything happens on mel power, so that mixing is addition and a filter is a factor a band.
"""

import zlib

import numpy as np
import scipy.signal
import torch

from .choi import RANGE
from .frontend import CHOI
from .labels import CLASSES, LABELS, class_of

BANDS = CHOI["bands"]
FRAMES_A_SCORE = 0.96 * CHOI["rate"] / CHOI["hop"]
NONE_INDEX = len(LABELS)
NOTE_FRAMES = 6 * CHOI["rate"] // CHOI["hop"]  # shorter recordings are taken for single notes


def decibel(rng, low, high):
    """A power factor, uniform in dB."""
    return 10 ** (rng.uniform(low, high) / 10)


def is_held_out(source, name, held_out):
    """Whether training leaves a recording out: `SOURCE` stands for all of a source, `SOURCE-half` for every other one."""
    return source in held_out or f"{source}-half" in held_out and zlib.crc32(name.encode()) % 2 == 0


class Corpus:
    """What `render` and `teach` made, by label and source, held in memory as float16."""

    def __init__(self, cache, held_out=()):
        self.recordings = {}  # label: {source: [mel]}
        self.others = []      # other instruments, accompaniment only
        for folder in sorted((cache / "mels").iterdir()):
            label = class_of(folder.name)
            for path in sorted(folder.glob("*.npy")):
                source, name = path.stem.split("__")[:2]
                if is_held_out(source, name, held_out):
                    continue
                mel = np.load(path)
                if label is None:
                    self.others.append(mel)
                else:
                    self.recordings.setdefault(label, {}).setdefault(source, []).append(mel)
        self.taught = []      # (mel, scores) of unlabelled music
        self.windows = {}     # label: [(index, frame, confidence)]
        for i, path in enumerate(sorted((cache / "taught").glob("*__*.npz"))):
            with np.load(path) as file:
                mel, scores = file["mel"], file["scores"].astype(np.float32)
            self.taught.append((mel, scores))
            for n in range(0, len(scores) - 4, 2):
                mean = scores[n:n + 4].mean(0)
                best = int(mean.argmax())
                if mean[best] > 0.2:
                    self.windows.setdefault(best, []).append((i, int(n * FRAMES_A_SCORE), mean))

    def summary(self):
        for label, sources in sorted(self.recordings.items()):
            minutes = {s: sum(m.shape[1] for m in mels) * CHOI["hop"] / CHOI["rate"] / 60 for s, mels in sources.items()}
            taught = len(self.windows.get(label, []))
            print(f"{CLASSES[label]:10} {taught:6} taught windows;", ", ".join(f"{s} {m:.1f}" for s, m in minutes.items()), "min")


class Patches(torch.utils.data.IterableDataset):
    """Endless (normalised patch [1, 96, frames], soft target [14]) pairs."""

    def __init__(self, corpus, frames, seed, real=0.4, taught=0.15, none=0.05, strength=1.0):
        self.corpus, self.frames, self.seed = corpus, frames, seed
        self.real, self.taught, self.none, self.strength = real, taught, none, strength
        self.labels = [i for i in range(NONE_INDEX) if i in corpus.recordings]

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            power, target = self.draw(rng)
            yield self.normalise(rng, self.augment(rng, power, target)), target

    def draw(self, rng):
        target = np.zeros(len(CLASSES), np.float32)
        kind = rng.random()
        if kind < self.none:
            target[NONE_INDEX] = 1
            return self.nothing(rng), target
        if kind < self.none + self.taught and self.corpus.windows:
            return self.opinion(rng, target)
        label = self.labels[rng.integers(len(self.labels))]
        target[label] = 1
        return self.content(rng, self.choose(rng, label)), target

    def choose(self, rng, label):
        """All recordings of one source of a label: real notes, real music, or one family of rendered samples."""
        sources = self.corpus.recordings[label]
        notes = [s for s in sources if s in ("phil", "phil8", "fsd")]
        names = notes if notes and rng.random() < self.real else [s for s in sources if s not in notes] or notes
        return sources[names[rng.integers(len(names))]]

    def content(self, rng, mels):
        """Power [96, frames]: a stretch of music, notes one after another, or something short that repeats."""
        length = self.frames
        mel = mels[rng.integers(len(mels))]
        if rng.random() < 0.25:  # the plugin repeats what is shorter than a patch
            length = int(rng.uniform(30, 0.8 * self.frames)) if mel.shape[1] > NOTE_FRAMES else min(self.frames, mel.shape[1])
            piece = self.crop(rng, mel, length)
            return np.tile(piece, (1, -(-self.frames // piece.shape[1])))[:, :self.frames]
        if mel.shape[1] > NOTE_FRAMES:
            if rng.random() < 0.15:  # the paper's uniform crop joins distant parts
                cut = int(rng.integers(20, length - 20))
                return np.concatenate([self.crop(rng, mel, cut), self.crop(rng, mel, length - cut)], 1)
            return self.crop(rng, mel, length)
        power = np.zeros((BANDS, length), np.float32)
        at = int(rng.integers(-20, 60))
        gap = rng.uniform(0.3, 1.3)
        while at < length:
            note = self.crop(rng, mels[rng.integers(len(mels))], 2 * length)
            start, end = max(at, 0), min(at + note.shape[1], length)
            if end > start:
                power[:, start:end] += note[:, start - at:end - at] * decibel(rng, -8, 0)
            at += max(8, int(note.shape[1] * gap))
        return power

    @staticmethod
    def crop(rng, mel, length):
        start = int(rng.integers(max(1, mel.shape[1] - length + 1)))
        return mel[:, start:start + length].astype(np.float32) ** 2

    def opinion(self, rng, target):
        """Unlabelled music with the teacher's opinion of it."""
        labels = list(self.corpus.windows)
        # The square root of the counts: rare labels are seen more often, but not as often as that few windows would be learnt by heart.
        weights = np.sqrt([len(self.corpus.windows[k]) for k in labels])
        windows = self.corpus.windows[labels[rng.choice(len(labels), p=weights / weights.sum())]]
        index, frame, mean = windows[rng.integers(len(windows))]
        mel = self.corpus.taught[index][0]
        frame = max(0, min(frame, mel.shape[1] - self.frames))
        piece = mel[:, frame:frame + self.frames].astype(np.float32) ** 2
        piece = np.tile(piece, (1, -(-self.frames // piece.shape[1])))[:, :self.frames]
        target[:NONE_INDEX] = mean / mean.sum()
        return piece, target

    def nothing(self, rng):
        """Noise, hum, or speech and effects; never music."""
        none = self.corpus.recordings.get(NONE_INDEX)
        if none and rng.random() < 0.75:
            source = list(none)[rng.integers(len(none))]
            power = self.crop(rng, none[source][rng.integers(len(none[source]))], self.frames)
            if power.shape[1] < self.frames:
                power = np.tile(power, (1, -(-self.frames // power.shape[1])))[:, :self.frames]
            return power + 1e-9
        power = self.noise(rng)
        if rng.random() < 0.3:
            hum = np.zeros((BANDS, 1), np.float32)
            hum[rng.integers(1, 6, size=4), 0] = rng.random(4)
            power += hum * decibel(rng, 0, 25) * power.mean()
        return power

    def noise(self, rng):
        """Stationary noise of a smooth random spectrum, mean power 1, some of it slowly swelling."""
        shape = 10 ** (self.curve(rng, 6, 5) / 10 + rng.uniform(-4, 1) * np.linspace(0, 1, BANDS))
        power = shape[:, None] * rng.standard_exponential((BANDS, self.frames), dtype=np.float32)
        if rng.random() < 0.3:
            power *= np.interp(np.arange(self.frames), np.linspace(0, self.frames, 6), 10 ** rng.normal(0, 0.4, 6))
        return (power / power.mean()).astype(np.float32)

    @staticmethod
    def curve(rng, knots, deviation):
        """Smooth random dB a band."""
        return np.interp(np.arange(BANDS), np.linspace(0, BANDS - 1, knots), rng.normal(0, deviation, knots))

    def augment(self, rng, power, target):
        s = self.strength
        mean = power.mean() + 1e-12
        if rng.random() < 0.5 * s:  # tuning and tempo
            shift = rng.uniform(-1.5, 1.5)
            rows = np.clip(np.arange(BANDS) - shift, 0, BANDS - 1)
            low = rows.astype(int)
            part = (rows - low)[:, None].astype(np.float32)
            power = power[low] * (1 - part) + power[np.minimum(low + 1, BANDS - 1)] * part
        if rng.random() < 0.3 * s:
            factor = rng.uniform(0.85, 1.15)
            power = power[:, np.minimum((np.arange(self.frames) * factor).astype(int) % self.frames, self.frames - 1)]
        if rng.random() < 0.3 * s:  # room: an exponential tail in every band
            decay = 10 ** (-6 / (rng.uniform(0.2, 1.5) * CHOI["rate"] / CHOI["hop"]))
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
        power = power * (10 ** ((self.curve(rng, 8, 2.5 * s) + rng.normal(0, 3 * s) * np.linspace(-1, 1, BANDS)) / 10))[:, None]
        if rng.random() < 0.4 * s:
            power = power + self.noise(rng) * decibel(rng, -45, -12) * power.mean()
        if rng.random() < 0.2 * s:  # a codec's or a loudspeaker's band limits
            power[int(rng.uniform(70, 96)):] *= 1e-6
        if rng.random() < 0.15 * s:
            power[:int(rng.uniform(1, 9))] *= decibel(rng, -30, -6)
        for _ in range(2):
            if rng.random() < 0.25 * s:
                band = int(rng.integers(BANDS - 8))
                power[band:band + int(rng.integers(1, 8))] *= 1e-3
            if rng.random() < 0.25 * s:
                frame = int(rng.integers(self.frames - 16))
                power[:, frame:frame + int(rng.integers(2, 16))] *= 1e-3
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
        power = self.crop(rng, mel, self.frames)
        return np.tile(power, (1, -(-self.frames // power.shape[1])))[:, :self.frames]

    def normalise(self, rng, power):
        """As `choi.normalise` of the front end's dB, for a recording of random level."""
        db = 20 * np.log10(power + 1e-12)
        peak = db.max()
        floor = 20 * np.log10(CHOI["amin"]) - rng.uniform(-40, 40)  # as far below the peak as the level says
        return np.maximum(np.maximum(db - peak, floor) / RANGE + 1, 0).astype(np.float32)[None]
