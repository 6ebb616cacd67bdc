# SPDX-License-Identifier: MPL-2.0
"""The decision of the default fusions: what the sound and the pictures say of a label, to one calibrated score.

Both models give log-odds of *voices*: of their labels, and of further instruments that their embeddings tell apart although no label
is named after them (a ukulele beside the guitar). Absolute evidence says whether there is anything, relative evidence which instrument:
quiet sound has low odds for everything and its order is still right. So a label's log-odds are a sum of few numbers, with weights that
all labels share (`Weights`):

| both | sound alone | pictures alone | what |
| --- | --- | --- | --- |
| share | share | share | logarithm of the label's part of what is heard and seen (the geometric mean of both parts, normalised again) |
| more | odds | odds | log-odds by the model that is surer |
| less | | | log-odds by the other one |
| seen | | seen | logarithm of all that is seen: the more there is, the more a label has to be among it |
| rival | rival | | log-odds of the loudest voice of the label's family that is no label of both models |

A label never competes with its own kind (the guitar with the acoustic guitar). What only one model knows rests on that one.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..families import kin, related

# Log-odds beyond these say no more.
MOST = 9.0
# A rival counts from here on, and no more than this.
RIVAL = (-4.0, 3.0)
BOTH, SOUND, PICTURES = "both", "sound", "pictures"
TERMS = {BOTH: ("share", "more", "less", "seen", "rival"), SOUND: ("share", "odds", "rival"), PICTURES: ("share", "odds", "seen")}


@dataclass(frozen=True)
class Weights:
    """Of each case of TERMS: a factor for each of its terms, and last the constant."""

    both: tuple
    sound: tuple
    pictures: tuple


def matrix(rows, columns, relation):
    return torch.tensor([[float(relation(r, c)) for c in columns] for r in rows])


class Side(nn.Module):
    """One model's voices [N,V] (log-odds) as log-odds and shares of labels [N,L], given the labels that compete."""

    def __init__(self, labels, voices, competing):
        super().__init__()
        position = {name: i for i, name in enumerate(voices)}
        self.register_buffer("index", torch.tensor([position.get(name, 0) for name in labels]))
        self.register_buffer("known", torch.tensor([float(name in position) for name in labels]))
        # What is a part of the whole that a label's share is of: the labels that compete, but not those of its kind.
        self.register_buffer("others", matrix(competing, labels, lambda c, label: not kin(c, label)))
        self.register_buffer("competing", torch.tensor([position[name] for name in competing]))
        self.register_buffer("rest", matrix(labels, voices, lambda label, voice: voice not in competing and not kin(label, voice)))

    def forward(self, voices):
        """(log-odds, logarithm of the share, logarithm of the whole, logarithm of the share of the likeliest other voice), each [N,L]."""
        p = torch.sigmoid(voices)
        own = p.index_select(1, self.index)
        rest = (p[:, None] * self.rest).amax(2)
        whole = own + p.index_select(1, self.competing) @ self.others + rest
        return voices.index_select(1, self.index), torch.log(own / whole), torch.log(whole), torch.log((rest / whole).clamp(min=1e-6))


class Decision(nn.Module):
    """`heard` [N,Va] and `seen` [N,Vv] (log-odds of voices), `present` [N,2] (video, audio) to `tags` [N,L]."""

    def __init__(self, labels, hears, sees, weights):
        super().__init__()
        self.labels = list(labels)
        common = [name for name in labels if name in hears and name in sees]
        self.sound, self.pictures = Side(labels, hears, common), Side(labels, sees, common)
        self.sound_alone = Side(labels, hears, [name for name in labels if name in hears])
        self.pictures_alone = Side(labels, sees, [name for name in labels if name in sees])
        self.register_buffer("common", torch.tensor([float(name in common) for name in labels]))
        self.register_buffer("others", matrix(common, labels, lambda c, label: not kin(c, label)))
        self.register_buffer("commons", torch.tensor([self.labels.index(name) for name in common]))
        self.register_buffer("rivals", matrix(labels, hears, lambda label, voice: voice not in common and related(label, voice)))
        for case in TERMS:
            self.register_buffer(f"of_{case}", torch.tensor(getattr(weights, case), dtype=torch.float32))

    def rival(self, heard):
        far = (1 - self.rivals) * -1e3
        return (heard[:, None] * self.rivals + far).amax(2).clamp(*RIVAL)

    def terms(self, heard, seen):
        """{case: its terms [N,L,T]}."""
        heard, seen = heard.clamp(-MOST, MOST), seen.clamp(-MOST, MOST)
        rival = self.rival(heard)
        by_sound, sound, _, sound_rest = self.sound(heard)
        by_pictures, pictures, whole, pictures_rest = self.pictures(seen)
        mean = torch.exp((sound + pictures) / 2)
        total = mean + mean.index_select(1, self.commons) @ self.others + torch.exp((sound_rest + pictures_rest) / 2)
        both = (torch.log(mean / total), torch.maximum(by_sound, by_pictures), torch.minimum(by_sound, by_pictures), whole, rival)
        odds, share, _, _ = self.sound_alone(heard)
        alone = (share, odds, rival)
        odds, share, whole, _ = self.pictures_alone(seen)
        return {BOTH: torch.stack(both, -1), SOUND: torch.stack(alone, -1), PICTURES: torch.stack((share, odds, whole), -1)}

    def forward(self, heard, seen, present):
        scores = {}
        for case, terms in self.terms(heard, seen).items():
            weights = getattr(self, f"of_{case}")
            scores[case] = torch.sigmoid(terms @ weights[:-1] + weights[-1])
        sees, hears = present[:, :1] * self.pictures.known, present[:, 1:] * self.sound.known
        return sees * hears * scores[BOTH] + hears * (1 - sees) * scores[SOUND] + sees * (1 - hears) * scores[PICTURES]
