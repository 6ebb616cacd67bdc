# SPDX-License-Identifier: MPL-2.0
"""Training patches: crops of the corpus, changed as people's recordings change music.

Everything happens on mel power, so that mixing is addition and a filter is a factor a band. One corpus of
waveforms serves every front end.
"""

import os
from typing import NamedTuple

import numpy as np
import scipy.signal
import torch

from ..corpus.audioset import opinions
from ..corpus.music import SCORE_SECONDS
from ..corpus.recordings import RATE
from ..labels import CLASSES, LABELS, class_of
from .frontend import compress, mel

SCORES = 527  # CED's classes
NONE_INDEX = len(LABELS)
NOTE_SECONDS = 6  # shorter recordings are taken for single notes
NOTES = ("phil", "phil8", "sfz")  # sources of single notes
VIDEOS = ("clips", "sop")
NOTES_SHARE = 0.3  # of what is drawn of the real recordings, where a label has others too
TRUST = 0.6  # in the label of a real recording, the rest in the teacher's opinion of it


def decibel(rng, low, high):
    """A power factor, uniform in dB."""
    return 10 ** (rng.uniform(low, high) / 10)


class Recording(NamedTuple):
    """Float16 square roots of mel power over their maximum [bands, frames]; the teacher's scores [n, 527] and opinions [n, 14], where it was asked."""

    roots: np.ndarray
    scores: np.ndarray | None = None
    opinions: np.ndarray | None = None


class Corpus:
    """What `corpus.render` and `corpus.music` made, by label and source, as mel spectrograms of one front end.

    The real recordings are those of `folds`, without the videos' if told so; rendered ones and unlabelled music, which are in no fold,
    are there if `names` has the teacher's classes.
    """

    def __init__(self, cache, frontend, folds, names=None, videos=True):
        self.frontend = frontend
        self.real, self.rendered = {}, {}  # label: {source: [Recording]}
        self.others = []  # other instruments, accompaniment only
        self.taught = []  # unlabelled music
        self.windows = {}  # class: [(index, row)] of the unlabelled music in which the teacher hears it most
        peaks = []
        for folder, found in (("real", self.real), ("sound", self.rendered)):
            for path in sorted((cache / folder).glob("*/*.np[yz]")):
                scores = None
                if folder == "real":
                    with np.load(path) as file:
                        if int(file["fold"]) not in folds:
                            continue
                        scores = file["scores"]
                elif names is None:
                    continue
                label, source = class_of(path.parent.name), path.stem.split("__")[0]
                if source in VIDEOS and not videos:
                    continue
                roots, peak = self._roots(cache, path)
                peaks.append(peak)
                if label is None:
                    self.others.append(Recording(roots))
                else:
                    recording = Recording(roots, scores, opinions(scores, names)) if names and scores is not None else Recording(roots)
                    found.setdefault(label, {}).setdefault(source, []).append(recording)
        self.peak = float(np.median(peaks))  # of the mel spectrogram of a recording at full scale
        for path in sorted((cache / "taught").glob("*.npz")) if names else []:
            with np.load(path) as file:
                scores = file["scores"]
            heard = opinions(scores, names)
            for row, best in enumerate(heard.argmax(1)):
                if best != NONE_INDEX:
                    self.windows.setdefault(int(best), []).append((len(self.taught), row))
            self.taught.append(Recording(self._roots(cache, path)[0], scores, heard))

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
        for label, name in enumerate(CLASSES):
            sources = self.real.get(label, {}) | self.rendered.get(label, {})
            minutes = {s: sum(r.roots.shape[1] for r in own) / self.frames(60) for s, own in sources.items()}
            print(f"{name:10} {len(self.windows.get(label, [])):6} taught windows;", ", ".join(f"{s} {m:.1f}" for s, m in minutes.items()), "min", flush=True)


class Patches(torch.utils.data.IterableDataset):
    """Endless (patch [1, bands, frames] as the front end gives it, soft target [14], the teacher's scores [527]) triples.

    The scores are NaN where the teacher was not asked.
    """

    def __init__(self, corpus, frames, seed, real=0.6, taught=0.3, none=0.05, strength=1.0):
        self.corpus, self.size, self.seed = corpus, frames, seed
        self.real, self.taught, self.none, self.strength = real, taught, none, strength
        self.bands = corpus.frontend["bands"]
        self.labels = [i for i in range(NONE_INDEX) if i in corpus.real or i in corpus.rendered]

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
        power, recording = self.content(rng, self.choose(rng, label))
        if recording.opinions is not None:
            target = target * TRUST + recording.opinions.mean(0) * (1 - TRUST)
            scores = recording.scores.astype(np.float32).mean(0)
        return power, target, scores

    def choose(self, rng, label):
        """All recordings of one source of a label: real notes, real music by the root of what there is, or one family of rendered samples."""
        real, rendered = self.corpus.real.get(label), self.corpus.rendered.get(label)
        sources = real if real and (not rendered or rng.random() < self.real) else rendered
        notes = [s for s in sources if s in NOTES]
        music = [s for s in sources if s not in NOTES]
        names = notes if notes and (not music or rng.random() < NOTES_SHARE) else music
        weights = np.sqrt([len(sources[s]) for s in names]) if sources is real else np.ones(len(names))
        return sources[names[rng.choice(len(names), p=weights / weights.sum())]]

    def content(self, rng, recordings):
        """(power [bands, frames], the recording): a stretch of music, notes one after another, or something short that repeats."""
        length, frames = self.size, self.corpus.frames
        recording = recordings[rng.integers(len(recordings))]
        mel = recording.roots
        music = mel.shape[1] > frames(NOTE_SECONDS)
        if rng.random() < 0.25:  # the plugin repeats what is shorter than a patch
            short = int(length * rng.uniform(0.15, 0.8)) if music else min(length, mel.shape[1])
            return self.fill(self.crop(rng, mel, short)), recording
        if music:
            if rng.random() < 0.15:  # the paper's uniform crop joins distant parts
                cuts = np.sort(rng.integers(1, length, int(rng.integers(1, 4))))
                parts = np.diff(np.concatenate([[0], cuts, [length]]))
                return self.fill(np.concatenate([self.crop(rng, mel, int(n)) for n in parts], 1)), recording
            return self.fill(self.crop(rng, mel, length)), recording
        power = np.zeros((self.bands, length), np.float32)
        at = int(rng.integers(-frames(0.4), min(frames(1.2), length // 3)))
        gap = rng.uniform(0.3, 1.3)
        while at < length:
            note = self.crop(rng, recordings[rng.integers(len(recordings))].roots, 2 * length)
            start, end = max(at, 0), min(at + note.shape[1], length)
            if end > start:
                power[:, start:end] += note[:, start - at : end - at] * decibel(rng, -8, 0)
            at += max(frames(0.2), int(note.shape[1] * gap))
        return power, Recording(mel)

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
        music = self.corpus.taught[index]
        first, last = (min(self.corpus.frames(n * SCORE_SECONDS), music.roots.shape[1]) for n in (row, row + 1))
        start = first + int(rng.integers(max(1, last - first - self.size)))
        power = music.roots[:, start : start + self.size].astype(np.float32) ** 2
        return self.fill(power), music.opinions[row], music.scores[row].astype(np.float32)

    def nothing(self, rng):
        """Noise, hum, or speech and effects; never music."""
        none = self.corpus.real.get(NONE_INDEX, {}) | self.corpus.rendered.get(NONE_INDEX, {})
        if none and rng.random() < 0.75:
            own = none[list(none)[rng.integers(len(none))]]
            return self.fill(self.crop(rng, own[rng.integers(len(own))].roots, self.size)) + 1e-9
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
            if rng.random() < 0.2 * s:
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
            own = self.corpus.taught
        elif kind < 0.45 and self.corpus.others:
            own = self.corpus.others
        else:
            choices = [i for i in self.labels if i != label]
            own = self.choose(rng, choices[rng.integers(len(choices))])
        return self.fill(self.crop(rng, own[rng.integers(len(own))].roots, self.size))

    def finish(self, rng, power):
        """The front end's output for a recording of random level."""
        frontend = self.corpus.frontend
        roots = np.sqrt(power / (power.max() + 1e-12)) * self.corpus.peak * 10 ** (rng.uniform(-36, 3) / 20)
        return compress(roots ** frontend["power"], frontend)[None]
