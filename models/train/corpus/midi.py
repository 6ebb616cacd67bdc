# SPDX-License-Identifier: MPL-2.0
"""Scores for the rendered training corpus: made-up music in the manner of each instrument.

A score is a list of notes `(start, duration, pitch, velocity)` in seconds, MIDI pitch and velocity, and a list
of controller events `(time, controller, value)`; controller 128 is the pitch bend, 0 to 16383.
"""

import struct

# Label: (General MIDI programs with weights, lowest and highest pitch, styles with weights).
INSTRUMENTS = {
    "Guitar": ({24: 3, 25: 3, 26: 1, 27: 2, 28: 1, 29: 1, 30: 2, 31: 0.5}, (40, 80), {"chords": 3, "arpeggio": 4, "melody": 3, "isolated": 1}),
    "Piano": ({0: 4, 1: 3, 2: 1, 3: 1, 4: 0.7, 5: 0.7}, (30, 96), {"hands": 5, "chords": 2, "arpeggio": 2, "melody": 2, "isolated": 1}),
    "Drums": ({0: 4, 8: 2, 16: 2, 24: 1, 25: 1, 32: 2, 40: 1}, (35, 57), {"drums": 1}),
    "Violin": ({40: 5, 110: 1, 44: 0.5}, (55, 98), {"melody": 5, "long": 3, "double": 2, "isolated": 1}),
    "Accordion": ({21: 3, 23: 2}, (48, 88), {"hands": 4, "melody": 3, "chords": 3, "long": 1, "isolated": 1}),
    "Saxophone": ({64: 1, 65: 3, 66: 3, 67: 1}, (45, 84), {"melody": 6, "long": 3, "isolated": 1}),
    "Flute": ({73: 5, 72: 1}, (60, 96), {"melody": 6, "long": 3, "isolated": 1}),
    "Organ": ({16: 2, 17: 1.5, 18: 1.5, 19: 4, 20: 0.7}, (36, 92), {"hands": 4, "chords": 4, "melody": 2, "long": 1, "isolated": 1}),
    "Cello": ({42: 1}, (36, 76), {"melody": 5, "long": 4, "double": 1, "isolated": 1}),
    "Trumpet": ({56: 4, 59: 1}, (52, 84), {"melody": 6, "long": 3, "isolated": 1}),
    "Clarinet": ({71: 1}, (50, 90), {"melody": 6, "long": 3, "isolated": 1}),
    "Harmonica": ({22: 1}, (58, 91), {"melody": 5, "chords": 2, "double": 2, "long": 2, "isolated": 1}),
    "Banjo": ({105: 1}, (48, 84), {"arpeggio": 7, "melody": 2, "chords": 2, "isolated": 1}),
}
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10), (0, 2, 3, 5, 7, 9, 10))
BLOWN_OR_BOWED = {"Violin", "Cello", "Saxophone", "Flute", "Trumpet", "Clarinet", "Harmonica", "Accordion"}


def pick(rng, weights):
    """A key of `{key: weight}` at random."""
    keys = list(weights)
    p = [weights[k] for k in keys]
    total = sum(p)
    return keys[rng.choice(len(keys), p=[w / total for w in p])]


def score(rng, label, seconds):
    """About `seconds` of music for a label: several passages of different style, key and tempo."""
    return band(rng, (label,), seconds)[0]


def band(rng, labels, seconds):
    """A score for each of several labels that play together, in one key and tempo at a time."""
    parts, now = [([], [(0.0, 11, 127)]) for _ in labels], 0.2
    while now < seconds:
        key = length = None
        for label, (notes, controls) in zip(labels, parts):
            _, (low, high), styles = INSTRUMENTS[label]
            style = pick(rng, styles)
            passage = _Passage(rng, low, high, key)
            key, length = passage.key, length or rng.uniform(4, 12)
            part = passage.make(style, length)
            notes += [(now + s, d, p, v) for s, d, p, v in part]
            if label in BLOWN_OR_BOWED:
                controls += [(now + t, c, v) for t, c, v in passage.expression(part, label)]
        now += length + (rng.uniform(0.3, 2) if rng.random() < 0.3 else 0)
    return parts


class _Passage:
    def __init__(self, rng, low, high, key=None):
        self.rng = rng
        self.key = key or (60 / rng.uniform(60, 170), rng.integers(12), SCALES[rng.integers(len(SCALES))])
        self.beat, root, steps = self.key
        self.scale = [p for p in range(low, high + 1) if (p - root) % 12 in steps]
        # Most music stays within part of the instrument's range.
        span = int(rng.integers(8, 16))
        start = int(rng.integers(0, max(1, len(self.scale) - span)))
        self.near = self.scale[start : start + span]
        self.loudness = rng.uniform(45, 115)
        self.detach = rng.uniform(0.5, 1.08)

    def velocity(self):
        return int(min(127, max(20, self.loudness + self.rng.normal(0, 8))))

    def make(self, style, length):
        return [n for n in getattr(self, style)(length) if n[0] < length]

    def melody(self, length, scale=None):
        scale, rng, t, notes = scale or self.near, self.rng, 0.0, []
        i = int(rng.integers(len(scale)))
        values = rng.choice([0.25, 0.5, 1, 1.5, 2], size=4)
        while t < length:
            duration = float(rng.choice(values)) * self.beat
            if rng.random() < 0.08:
                t += duration
                continue
            notes.append((t, duration * self.detach, scale[i], self.velocity()))
            i += int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]))
            i = min(max(i, 0), len(scale) - 1)
            t += duration
        return notes

    def long(self, length):
        t, notes = 0.0, []
        while t < length:
            duration = self.rng.uniform(1, 4)
            notes.append((t, duration, int(self.rng.choice(self.near)), self.velocity()))
            t += duration * self.rng.uniform(0.9, 1.1)
        return notes

    def double(self, length):
        notes = []
        for t, d, p, v in self.melody(length):
            notes.append((t, d, p, v))
            if self.rng.random() < 0.6:
                notes.append((t, d, p + int(self.rng.choice([3, 4, 5, 7, 12])), v))
        return notes

    def isolated(self, length):
        t, notes = 0.0, []
        while t < length:
            duration = float(self.rng.choice([0.2, 0.5, 1, 2, 3]))
            notes.append((t, duration, int(self.rng.choice(self.scale)), self.velocity()))
            t += duration + self.rng.uniform(0.2, 1.5)
        return notes

    def _chord(self, scale, size):
        i = int(self.rng.integers(max(1, len(scale) - 2 * size)))
        return scale[i : i + 2 * size : 2]

    def chords(self, length):
        rng, t, notes = self.rng, 0.0, []
        strum = rng.choice([0.0, 0.012, 0.03])
        pattern = rng.choice([0.5, 1, 1, 2, 4], size=4)
        chord, k = self._chord(self.scale, 4), 0
        while t < length:
            if k % 4 == 0:
                chord = self._chord(self.scale, int(rng.integers(3, 6)))
            duration = float(pattern[k % 4]) * self.beat
            order = chord if rng.random() < 0.7 else chord[::-1]
            notes += [(t + j * strum, duration * self.detach, p, self.velocity()) for j, p in enumerate(order)]
            t, k = t + duration, k + 1
        return notes

    def arpeggio(self, length):
        rng, t, notes = self.rng, 0.0, []
        step = self.beat * float(rng.choice([0.25, 0.25, 0.5]))
        ring = float(rng.choice([1, 2, 4]))
        order = rng.permutation(int(rng.integers(3, 7)))
        while t < length:
            chord = self._chord(self.scale, len(order))
            for _ in range(int(rng.integers(1, 4))):
                for j in order:
                    notes.append((t, step * ring, chord[j % len(chord)], self.velocity()))
                    t += step
        return notes

    def hands(self, length):
        """A melody over chords or broken chords, as on keyboards."""
        middle = len(self.scale) // 2
        left, right = self.scale[: middle + 2], self.scale[middle - 2 :]
        upper = self.melody(length, right[: int(self.rng.integers(6, len(right) + 1))])
        whole, self.scale = self.scale, left
        lower = self.chords(length) if self.rng.random() < 0.5 else self.arpeggio(length)
        self.scale = whole
        return upper + [(t, d, p, max(20, int(v * 0.8))) for t, d, p, v in lower]

    def drums(self, length):
        """A groove of kick, snare and hats or ride, with fills; or a solo; or single strokes."""
        rng, step, t, notes = self.rng, self.beat / 4, 0.0, []
        kind = rng.choice(["groove", "groove", "groove", "solo", "single"])
        pieces = [35, 36, 38, 40, 41, 43, 45, 47, 48, 50, 42, 44, 46, 49, 51, 53, 55, 57, 37, 39, 54, 56]
        if kind == "single":
            while t < length:
                notes.append((t, 0.3, int(rng.choice(pieces)), self.velocity()))
                t += float(rng.choice([0.25, 0.5, 1, 1.5]))
            return notes
        if kind == "solo":
            kit = rng.choice(pieces, size=6)
            while t < length:
                notes.append((t, 0.2, int(rng.choice(kit)), self.velocity()))
                t += step * float(rng.choice([0.5, 1, 1, 1, 2]))
            return notes
        kick = [rng.random() < p for p in [1, 0.1, 0.3, 0.2, 0.2, 0.1, 0.5, 0.2, 0.7, 0.1, 0.5, 0.2, 0.2, 0.1, 0.3, 0.2]]
        snare = [rng.random() < p for p in [0, 0.05, 0.05, 0.1, 1, 0.05, 0.05, 0.2, 0, 0.15, 0.05, 0.05, 1, 0.05, 0.1, 0.2]]
        every, cymbal = int(rng.choice([1, 2, 2, 4])), int(rng.choice([42, 42, 46, 51, 53]))
        swing = step * (0.3 if rng.random() < 0.3 else 0)
        bar = 0
        while t < length:
            fill = bar % 4 == 3 and rng.random() < 0.6
            for i in range(16):
                at = t + i * step + (swing if i % 2 else 0)
                if fill and i >= 8:
                    notes.append((at, 0.2, int(rng.choice([38, 41, 43, 45, 47, 48, 50])), self.velocity()))
                    continue
                if kick[i]:
                    notes.append((at, 0.2, 36, self.velocity()))
                if snare[i]:
                    notes.append((at, 0.2, 38, self.velocity()))
                if i % every == 0:
                    notes.append((at, 0.2, cymbal, int(self.velocity() * 0.8)))
            if bar % 4 == 0:
                notes.append((t, 1, int(rng.choice([49, 57])), self.velocity()))
            t, bar = t + 16 * step, bar + 1
        return notes

    def expression(self, notes, label):
        """Swells, vibrato by the modulation wheel, and slides into notes."""
        rng, events = self.rng, []
        swells, vibrato, slides = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.25
        for start, duration, *_ in notes:
            if duration > 0.5 and swells:
                low = rng.uniform(50, 100)
                for j in range(8):
                    level = low + (127 - low) * min(1, 2 * j / 7 if j < 4 else 2 - 2 * j / 9)
                    events.append((start + duration * j / 8, 11, int(level)))
            elif swells:
                events.append((start, 11, 120))
            if vibrato and duration > 0.4 and label not in ("Accordion", "Clarinet"):
                events.append((start, 1, 0))
                events.append((start + 0.3 * duration, 1, int(rng.uniform(20, 100))))
            if slides and duration > 0.2 and label != "Accordion" and rng.random() < 0.4:
                for j in range(6):
                    events.append((start + 0.02 * j, 128, int(8192 - 4096 * (1 - j / 5))))
        return events


def write(path, notes, controls, program, drums=False):
    """A type 0 MIDI file at 480 ticks a quarter, 120 quarters a minute."""
    channel = 9 if drums else 0
    events = [(0, 0, bytes([0xC0 | channel, program]))]
    for start, duration, pitch, velocity in notes:
        on, off = round(start * 960), round((start + max(0.03, duration)) * 960)
        events.append((on, 2, bytes([0x90 | channel, pitch, velocity])))
        events.append((max(off, on + 1), 1, bytes([0x80 | channel, pitch, 0])))
    for time, controller, value in controls:
        if controller == 128:
            data = bytes([0xE0 | channel, value & 127, value >> 7])
        else:
            data = bytes([0xB0 | channel, controller, value])
        events.append((round(time * 960), 0, data))
    track, now = b"", 0
    for tick, _, data in sorted(events):
        track += _variable(tick - now) + data
        now = tick
    track += b"\x00\xff\x2f\x00"
    with open(path, "wb") as file:
        file.write(b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track)


def _variable(n):
    out = bytes([n & 127])
    while n := n >> 7:
        out = bytes([128 | n & 127]) + out
    return out
