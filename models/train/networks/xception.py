# SPDX-License-Identifier: MPL-2.0
"""The paper's Xception for sound, on the Choi network's front end.

| layer | output of a patch of 96 bands x 1366 frames |
| --- | --- |
| convolution 48x3, 64 filters, stride 2 | 64 x 48 x 683 |
| convolution 3x3, 64 filters | 64 x 48 x 683 |
| 2 separable 3x24, 128 filters; max pooling 3x3 / 2 | 128 x 24 x 342 |
| 2 separable 3x3, 256 filters; max pooling 3x3 / 2 | 256 x 12 x 171 |
| 2 separable 3x3, 728 filters; max pooling 3x3 / 2 | 728 x 6 x 86 |
| 4 x 3 separable 3x3, 728 filters | 728 x 6 x 86 |
| 2 separable 3x3, 728 and 1024 filters; max pooling 3x3 / 2 | 1024 x 3 x 43 |
| global average pooling | 1024 (the embedding) |
| fully connected, softmax | 14 |

A separable convolution is a depthwise one (bands x frames as given) and a 1x1 one. Batch norm follows every
convolution, ELU stands before every separable one and after the others. A residual connection goes round each block, through a
1x1 convolution of stride 2 where the block pools. 9.6 million parameters with the batch norms folded.

Everything before the average is convolutions, so that training runs on patches of a few seconds.
"""

import numba
import torch
import torch.nn.functional as F
from torch import nn

from ..features.frontend import CHOI, normalise
from ..labels import CLASSES
from .classifier import Classifier

EMBEDDING = 1024
PARAMETERS = 9_640_566


@numba.njit(fastmath=True)
def correlate(x, gradient, taps):
    """Adds to the taps [height, width, channels] the sums of all products of a padded input and the gradient, both [patches, bands, frames, channels]."""
    for n in range(gradient.shape[0]):
        for band in range(gradient.shape[1]):
            for i in range(taps.shape[0]):
                for frame in range(gradient.shape[2]):
                    for j in range(taps.shape[1]):
                        for c in range(taps.shape[2]):
                            taps[i, j, c] += gradient[n, band, frame, c] * x[n, band + i, frame + j, c]


class Depthwise(torch.autograd.Function):
    """Depthwise convolution of a padded input. PyTorch's own gradient of the wide ones takes half of the training time on a CPU."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        channels, _, height, width = weight.shape
        to_input = F.conv2d(gradient, weight.flip(2, 3), padding=(height - 1, width - 1), groups=channels)
        taps = torch.zeros(height, width, channels)
        correlate(*(t.float().permute(0, 2, 3, 1).contiguous().numpy() for t in (x, gradient)), taps.numpy())
        return to_input, taps.permute(2, 0, 1)[:, None].to(weight.dtype)


class Separable(nn.Module):
    """ELU, depthwise convolution, 1x1 convolution, batch norm."""

    def __init__(self, inputs, outputs, kernel=(3, 3)):
        super().__init__()
        height, width = kernel
        self.pad = ((width - 1) // 2, width // 2, (height - 1) // 2, height // 2)
        self.depthwise = nn.Conv2d(inputs, inputs, kernel, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.pad(F.elu(x), self.pad)
        wide = self.training and x.device.type == "cpu" and self.depthwise.kernel_size[1] > 3
        x = Depthwise.apply(x, self.depthwise.weight.to(x.dtype)) if wide else self.depthwise(x)
        return self.norm(self.pointwise(x))


class Block(nn.Module):
    """Separable convolutions with a residual connection; with `pool`, max pooling 3x3 of stride 2 at the end."""

    def __init__(self, widths, kernel=(3, 3), pool=True):
        super().__init__()
        self.layers = nn.Sequential(*(Separable(i, o, kernel) for i, o in zip(widths, widths[1:])))
        self.shortcut = nn.Sequential(nn.Conv2d(widths[0], widths[-1], 1, 2, bias=False), nn.BatchNorm2d(widths[-1])) if pool else None

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.shortcut is None else self.shortcut(x) + F.max_pool2d(y, 3, 2, 1)


class Xception(Classifier):
    """`mel` dB [N,1,96,frames] -> (logits [N,14], embedding [N,1024])."""

    frontend = CHOI

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, (48, 3), 2, padding=(23, 1), bias=False),
            nn.BatchNorm2d(64),
            nn.ELU(),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
        )
        self.blocks = nn.Sequential(
            Block((64, 128, 128), (3, 24)),
            Block((128, 256, 256)),
            Block((256, 728, 728)),
            *(Block((728,) * 4, pool=False) for _ in range(4)),
            Block((728, 728, EMBEDDING)),
        )
        self.output = nn.Linear(EMBEDDING, len(CLASSES))
        norms = sum(m.num_features for m in self.modules() if isinstance(m, nn.BatchNorm2d))
        count = sum(p.numel() for p in self.parameters()) - norms  # folded, a batch norm is one bias a filter
        assert count == PARAMETERS, f"Xception has {count} parameters instead of {PARAMETERS}"

    def forward(self, mel):
        x = self.stem(normalise(mel).contiguous(memory_format=torch.channels_last))
        embedding = F.elu(self.blocks(x)).mean((2, 3)).float()
        return self.output(F.dropout(embedding, 0.5, self.training)), embedding
