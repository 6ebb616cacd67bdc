# SPDX-License-Identifier: MPL-2.0
"""CED-Tiny as a tagger: one probability a label, read from AudioSet's rows of its last layer."""

import torch
from torch import nn

from ..networks import ced

# Blocks that stay as they are and run once.
SPLIT = 8
# AudioSet's musical instruments stand together in its list. Left out: families ("Brass instrument") and ways to play.
FIRST, LAST = "Plucked string instrument", "Singing bowl"
NO_INSTRUMENTS = {
    "Plucked string instrument",
    "Keyboard (musical)",
    "Percussion",
    "Mallet percussion",
    "Orchestra",
    "Brass instrument",
    "Bowed string instrument",
    "String section",
    "Wind instrument, woodwind instrument",
    "Tapping (guitar technique)",
    "Strum",
    "Rimshot",
    "Drum roll",
    "Pizzicato",
}


def instruments(names):
    """AudioSet's musical instruments, each read from its own row."""
    found = names[names.index(FIRST) : names.index(LAST) + 1]
    return {name: (name,) for name in found if name not in NO_INSTRUMENTS}


class Head(nn.Module):
    """Embeddings [..., 192] to logits [..., labels]: the log-sum-exp of each label's rows, scaled and shifted."""

    def __init__(self, last, names, labels):
        super().__init__()
        chosen = list(dict.fromkeys(name for own in labels.values() for name in own))
        index = [names.index(name) for name in chosen]
        self.norm, self.rows = nn.LayerNorm(ced.WIDTH, 1e-5), nn.Linear(ced.WIDTH, len(chosen))
        self.norm.load_state_dict(last[0].state_dict())
        self.rows.weight.data, self.rows.bias.data = last[1].weight.data[index].clone(), last[1].bias.data[index].clone()
        self.register_buffer("member", torch.tensor([[float(name in own) for own in labels.values()] for name in chosen]))
        self.scale, self.offset = nn.Parameter(torch.ones(len(labels))), nn.Parameter(torch.zeros(len(labels)))

    def forward(self, embedding):
        logits = self.rows(self.norm(embedding))
        if self.member.shape[0] > self.member.shape[1]:
            # CED's logits lie between -25 and 10, so that exp neither overflows nor vanishes.
            logits = (logits.exp() @ self.member).log()
        return logits * self.scale + self.offset


class Tagger(nn.Module):
    """`mel` [N,1,64,frames] -> (`tags` [N,labels], `embedding` [N, 192 + labels]).

    The embedding ends with the tags: the mean of embeddings over a window then holds the mean of its scores, where the head
    on the mean of two instruments' features would hear neither.
    """

    def __init__(self, network, head):
        super().__init__()
        self.network, self.head = network, head

    def forward(self, mel):
        features = self.network(mel)
        embedding = torch.cat([features, torch.sigmoid(self.head(features))], 1)
        return embedding[:, ced.WIDTH :], embedding
