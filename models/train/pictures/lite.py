# SPDX-License-Identifier: MPL-2.0
"""The picture model: EfficientNet-Lite, its 1000 ImageNet rows pooled into the 13 labels and "none".

Each label is weighed against "none" alone, so that several can be sure at once; before any training that is a working tagger.
"""

import copy

import torch
from torch import nn

from ..export import half
from ..labels import CLASSES, LABELS, NONE
from ..networks import efficientnet

NAME = "efficientnet-lite-yt8m13"
# ImageNet's own rows of each label; every row that is not named here counts as "none".
IMAGENET_ROWS = {
    "Guitar": (402, 546),  # acoustic, electric
    "Piano": (579, 881),  # grand, upright
    "Drums": (541, 542),  # drum, drumstick
    "Violin": (889,),
    "Accordion": (401,),
    "Saxophone": (776,),
    "Flute": (558,),
    "Organ": (687,),
    "Cello": (486,),
    "Trumpet": (513,),  # cornet
    "Harmonica": (593,),
    "Banjo": (420,),
}
# ImageNet has no clarinet: its row is added at the end, a copy of the oboe's to start with.
OBOE = 683


class Head(nn.Module):
    """Embeddings [..., 1280] to log-probabilities [..., 14]: a softmax over 1001 rows, summed by class."""

    def __init__(self, weight, bias):
        super().__init__()
        self.rows = nn.Linear(weight.shape[1], len(weight) + 1)
        with torch.no_grad():
            self.rows.weight.copy_(torch.cat([weight, weight[OBOE : OBOE + 1]]))
            self.rows.bias.copy_(torch.cat([bias, bias[OBOE : OBOE + 1]]))
        pool = torch.zeros(len(weight) + 1, len(CLASSES))
        for label, rows in IMAGENET_ROWS.items():
            pool[list(rows), LABELS.index(label)] = 1
        pool[-1, LABELS.index("Clarinet")] = 1
        pool[:, CLASSES.index(NONE)] = 1 - pool.sum(1)
        self.register_buffer("pool", pool)

    def forward(self, embedding):
        return pooled(self.rows(embedding), self.pool)


def pooled(rows, pool):
    """Log-probabilities [..., 14] of the rows' [..., 1001]."""
    return torch.log(rows.softmax(-1) @ pool + 1e-12)


def against_none(log_p):
    """Logits [..., 13] of each label against "none" alone."""
    return log_p[..., : len(LABELS)] - log_p[..., len(LABELS) :]


class Tagger(nn.Module):
    """uint8 frames [N, H, W, 3] to `tags` [N, 13], each between 0 and 1, and `embedding` [N, 1280].

    `slope` and `offset` calibrate: fitted on pictures whose fold did not train.
    """

    def __init__(self, network, head, slope=1.0, offset=0.0):
        super().__init__()
        self.network, self.head, self.slope, self.offset = network, head, slope, offset

    def forward(self, frame):
        embedding = self.network(self.network.normalise(frame))
        return torch.sigmoid(self.slope * against_none(self.head(embedding)) + self.offset), embedding


def pretrained(variant):
    network, weight, bias = efficientnet.imagenet(variant)
    return Tagger(network, Head(weight, bias)).eval()


def released(path):
    """(tagger, variant) with the weights of an exported file."""
    stored = half.weights(path)
    for variant in efficientnet.VARIANTS:
        tagger = pretrained(variant)
        shapes = {name: p.shape for name, p in tagger.named_parameters()}
        if all(name in stored and stored[name].shape == shape for name, shape in shapes.items()):
            tagger.load_state_dict({name: stored[name] for name in shapes}, strict=False)
            return tagger, variant
    raise ValueError(f"{path} is no EfficientNet-Lite tagger: its weights fit none of the variants " + ", ".join(map(str, efficientnet.VARIANTS)))


def trained_parameters(tagger, split):
    """What training may change: the 1x1 convolutions from block `split` on, and the rows."""
    blocks = tagger.network.blocks[split:]
    layers = [layer for b in blocks for layer in (b.expand, b.project)] + [tagger.network.head, tagger.head]
    return [p for layer in layers for p in layer.parameters()]


def interpolate(original, tuned, weight):
    """WiSE-FT: (1 - weight) * original + weight * tuned."""
    mixed = copy.deepcopy(original)
    with torch.no_grad():
        for m, t in zip(mixed.parameters(), tuned.parameters()):
            m.lerp_(t, weight)
    return mixed.eval()
