# SPDX-License-Identifier: MPL-2.0
"""The paper's first network (Han et al. 2016): one second of sound at a time, the mean over ten segments.

| layer | output of a patch of 128 bands x 43 frames |
| --- | --- |
| 2 convolutions 3x3, 32 filters; max pooling 3x3; dropout 0.25 | 32 x 42 x 14 |
| 2 convolutions 3x3, 64 filters; max pooling 3x3; dropout 0.25 | 64 x 14 x 4 |
| 2 convolutions 3x3, 128 filters; max pooling 3x3; dropout 0.25 | 128 x 4 x 1 |
| 2 convolutions 3x3, 256 filters; global max pooling; dropout 0.25 | 256 |
| fully connected, dropout 0.5 | 1024 (the embedding) |
| fully connected, softmax | 14 |

LeakyReLU(0.33) after every layer but the last. The batch norm after each convolution is ours: it trains in a fraction
of the steps. 1.5 million parameters.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..features.frontend import HAN, normalise
from ..labels import CLASSES
from .classifier import Classifier

WIDTHS = (32, 64, 128, 256)
EMBEDDING = 1024
PARAMETERS = 1_450_158
SLOPE = 0.33


class Han(Classifier):
    """`mel` dB [N,1,128,43] -> (logits [N,14], embedding [N,1024])."""

    frontend = HAN

    def __init__(self):
        super().__init__()
        layers = []
        inputs = 1
        for width in WIDTHS:
            for _ in range(2):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE)]
                inputs = width
            layers += [nn.AdaptiveMaxPool2d(1) if width == WIDTHS[-1] else nn.MaxPool2d(3), nn.Dropout(0.25)]
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(inputs, EMBEDDING)
        self.output = nn.Linear(EMBEDDING, len(CLASSES))
        count = sum(p.numel() for p in self.parameters())
        assert count == PARAMETERS, f"Han's network has {count} parameters instead of {PARAMETERS}"

    def forward(self, mel):
        x = self.layers(normalise(mel).contiguous(memory_format=torch.channels_last)).flatten(1).float()
        embedding = F.leaky_relu(self.hidden(x), SLOPE)
        return self.output(F.dropout(embedding, 0.5, self.training)), embedding
