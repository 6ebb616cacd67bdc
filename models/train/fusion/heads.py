# SPDX-License-Identifier: MPL-2.0
"""What the embeddings of the default models say: log-odds of their labels, and of further instruments (the decision's voices)."""

import json
import pathlib
import urllib.parse
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..export import card
from ..export.session import session
from ..labels import AUDIOSET, LABELS
from ..networks import ced
from ..pictures import lite
from ..sound.tagger import instruments
from .parents import head

LEAST = 1e-6
# ImageNet's rows of instruments by AudioSet's names; those that AudioSet has no name for by ImageNet's. 1000 is lite's clarinet.
IMAGENET = {
    "Accordion": (401,),
    "Guitar": (402, 546),
    "Acoustic guitar": (402,),
    "Electric guitar": (546,),
    "Banjo": (420,),
    "Bassoon": (432,),
    "Cello": (486,),
    "Chime": (494,),
    "Trumpet": (513,),
    "Drum": (541,),
    "Flute": (558,),
    "French horn": (566,),
    "Gong": (577,),
    "Piano": (579, 881),
    "Harmonica": (593,),
    "Harp": (594,),
    "Maraca": (641,),
    "Marimba, xylophone": (642,),
    "Oboe": (683,),
    "Ocarina": (684,),
    "Organ": (687,),
    "Panpipe": (699,),
    "Saxophone": (776,),
    "Steelpan": (822,),
    "Trombone": (875,),
    "Violin, fiddle": (889,),
    "Clarinet": (1000,),
}
# Drumsticks: no instrument of their own, and no evidence against one.
SIMILAR = {542}


def log_odds(p):
    return torch.logit(p.clamp(LEAST, 1 - LEAST))


class Imagenet(nn.Module):
    """`embedding` [N,1280] to log-odds [N,voices] of ImageNet's instruments, each against everything that is no instrument."""

    def __init__(self, tagger):
        super().__init__()
        self.rows, self.slope, self.offset = tagger.head.rows, tagger.slope, tagger.offset
        self.voices = list(IMAGENET)
        every = sorted({row for own in IMAGENET.values() for row in own} | SIMILAR)
        pool = torch.zeros(self.rows.out_features, len(IMAGENET) + 1)
        for column, own in enumerate(IMAGENET.values()):
            pool[list(own), column] = 1
        pool[:, -1] = 1
        pool[every, -1] = 0
        self.register_buffer("pool", pool)

    def forward(self, embedding):
        log_p = lite.pooled(self.rows(embedding), self.pool)
        return self.slope * (log_p[:, :-1] - log_p[:, -1:]) + self.offset


class Labelled(nn.Module):
    """`embedding` [N,1280] to log-odds of the picture model's own 13 labels, and of ImageNet's instruments beside them."""

    def __init__(self, tagger):
        super().__init__()
        self.tagger, self.imagenet = tagger, Imagenet(tagger)
        rows = {row for own in lite.IMAGENET_ROWS.values() for row in own} | {1000}
        further = [i for i, own in enumerate(IMAGENET.values()) if not set(own) & rows]
        self.register_buffer("further", torch.tensor(further))
        self.voices = [*LABELS, *(self.imagenet.voices[i] for i in further)]

    def forward(self, embedding):
        own = self.tagger.slope * lite.against_none(self.tagger.head(embedding)) + self.tagger.offset
        return torch.cat([own, self.imagenet(embedding).index_select(1, self.further)], 1)


def pictures(path, imagenet):
    """The head of an exported picture model, with the calibration of its labels."""
    tagger, _ = lite.released(path)
    tagger.slope, tagger.offset = calibration(path, tagger)
    return (Imagenet if imagenet else Labelled)(tagger)


def calibration(path, tagger):
    """(slope, offset) of an exported picture model, from what its head and the bare rows say of random embeddings."""
    embeddings = torch.rand(64, 1280, generator=torch.Generator().manual_seed(0)) * 2
    with torch.no_grad():
        bare = lite.against_none(tagger.head(embeddings)).flatten().numpy().astype(float)
    tags = session(head(path)).run(["tags"], {"embedding": embeddings.numpy()})[0].flatten().astype(float)
    known = (tags > 1e-4) & (tags < 1 - 1e-4)
    return tuple(float(v) for v in np.polyfit(bare[known], np.log(tags[known] / (1 - tags[known])), 1))


class Sound(nn.Module):
    """CED's embedding [N, 192 + labels] to log-odds [N,voices]: of the labels, whose scores end it, and of further rows of AudioSet.

    `last`, CED-Tiny's last layer as it was published, reads these rows of the first 192 values.
    """

    def __init__(self, labels, last=None, names=()):
        super().__init__()
        taken = {name for own in AUDIOSET.values() for name in own}
        further = [name for name in instruments(list(names)) if name not in taken] if last else []
        self.voices, self.count = [*labels, *further], len(labels)
        self.norm, self.rows = None, None
        if last:
            index = [names.index(name) for name in further]
            self.norm, self.rows = nn.LayerNorm(ced.WIDTH, 1e-5), nn.Linear(ced.WIDTH, len(index))
            self.norm.load_state_dict(last[0].state_dict())
            with torch.no_grad():
                self.rows.weight.copy_(last[1].weight[index]), self.rows.bias.copy_(last[1].bias[index])

    def forward(self, embedding):
        own = log_odds(embedding[:, ced.WIDTH :])
        return own if self.rows is None else torch.cat([own, self.rows(self.norm(embedding[:, : ced.WIDTH]))], 1)


def sound(path, crates):
    """The head of an exported sound model; of one with the 13 labels, with AudioSet's further instruments."""
    labels = card.read(path)["labels"].split("\n")
    if labels != list(LABELS):
        return Sound(labels)
    _, last = ced.pretrained(crates / ced.CRATE)
    return Sound(labels, last, ced.names(crates / ced.CLASSES))


class Fusion(nn.Module):
    """`video` [N,k,1280], `audio` [N,D], `present` [N,2] to `tags` [N,L] by a Decision; a picture voice is the mean of its probabilities."""

    def __init__(self, pictures, sound, decision):
        super().__init__()
        self.pictures, self.sound, self.decision = pictures, sound, decision

    def voices(self, video, audio):
        seen = torch.sigmoid(self.pictures(video.flatten(0, 1)))
        seen = seen.reshape(video.shape[0], -1, len(self.pictures.voices)).mean(1)
        return self.sound(audio), log_odds(seen)

    def forward(self, video, audio, present):
        return self.decision(*self.voices(video, audio), present)


def probed(sound, pictures):
    """The labels of a Probe, given the voices of both models."""
    return ["present: video", "present: audio", *(f"heard: {voice}" for voice in sound), *(f"seen: {voice}" for voice in pictures)]


class Probe(nn.Module):
    """A fusion that says what it was given: `present`, and the voices of both models, above 0 for the tagger to print them."""

    ABOVE = 20.0

    def __init__(self, pictures, sound):
        super().__init__()
        self.fusion = Fusion(pictures, sound, None)
        self.labels = probed(sound.voices, pictures.voices)

    def forward(self, video, audio, present):
        return torch.cat([present, *self.fusion.voices(video, audio)], 1) + self.ABOVE


@dataclass
class Probed:
    """What a probe said of a window, or of a whole file (`clip`): `present` [2], log-odds of the voices."""

    file: str
    clip: bool
    start: float
    end: float
    present: np.ndarray
    heard: np.ndarray
    seen: np.ndarray


def read(path, sound, pictures):
    """The windows of a file of JSON lines, given the voices of both models."""
    position = {name: i for i, name in enumerate(probed(sound, pictures))}
    found = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        if result.get("source") != "fused":
            continue
        values = np.zeros(len(position))
        for tag in result["tags"]:
            values[position[tag["label"]]] = tag["score"] - Probe.ABOVE
        name = urllib.parse.unquote(result["uri"]).rsplit("/", 1)[-1]
        present, heard, seen = np.split(values, [2, 2 + len(sound)])
        found.append(Probed(name, bool(result.get("clip")), result["start"], result["end"], present.round(), heard, seen))
    return found
