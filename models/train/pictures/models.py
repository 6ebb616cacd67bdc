# SPDX-License-Identifier: MPL-2.0
"""The paper's picture networks, a row each, and the tagger made of one.

A network's file has its layers by the names of the blocks (`blocks`), `normalise`, `early(x, block)` and `late(x, block)`.
"""

import collections

import torch
from torch import nn

from ..export import half
from ..labels import CLASSES, LABELS
from ..networks import inception

# make(which initial weights), (size, fit, crop fraction) of a frame, values of the embedding, the first block that is
# trained, the blocks that may be, the initial weights that there are, number of the released weights
Model = collections.namedtuple("Model", "make view embedding split blocks inits release")
MODELS = {
    "inception": Model(
        inception.initial,
        (inception.SIZE, inception.FIT, inception.CROP_FRACTION),
        inception.EMBEDDING,
        inception.SPLIT,
        ("6b", "6c", "6d", "6e", "7a", "7b", "7c"),
        inception.INITS,
        3,
    ),
}


class Head(nn.Linear):
    """Embeddings [..., D] to log-probabilities [..., 14]."""

    def __init__(self, size):
        super().__init__(size, len(CLASSES))

    def forward(self, embedding):
        return super().forward(embedding).log_softmax(-1)


class Tagger(nn.Module):
    """uint8 frames [N, H, W, 3] to `tags` [N, 13], which with "none" sum to 1, and `embedding` [N, D]."""

    def __init__(self, network, head):
        super().__init__()
        self.network, self.head = network, head

    def forward(self, frame):
        embedding = self.network(self.network.normalise(frame))
        return self.head(embedding).exp()[:, : len(LABELS)], embedding


def beginning(model, start, init):
    """The tagger that training begins with: an exported one, or a network with initial weights and a random classifier."""
    tagger = Tagger(model.make("random" if start else init), Head(model.embedding))
    if start:
        tagger.load_state_dict(half.weights(start), strict=False)
    return tagger


def late(tagger, x, split):
    """(log-probabilities [n, 14], embeddings [n, D]) of activations before the block `split`."""
    # A CPU that does not know bfloat16 takes twenty times as long with it.
    kind = torch.bfloat16 if x.is_cuda or torch.cpu._is_avx512_bf16_supported() else torch.float32
    with torch.autocast(x.device.type, kind, enabled=kind == torch.bfloat16):
        embedding = tagger.network.late(x.to(kind, memory_format=torch.channels_last), split).float()
    return tagger.head(embedding), embedding
