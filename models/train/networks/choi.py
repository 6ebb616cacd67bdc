# SPDX-License-Identifier: MPL-2.0
"""The paper's Choi network: what is trained (`Choi`) and what is exported (`ChoiExport`).

Both are the same function of a full patch. Training shares the first fully connected layer over time,
so that it can run on patches of any multiple of 96 frames; export lays it out as the paper's 1920 -> 1024.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..features.frontend import CHOI, normalise
from ..labels import CLASSES, LABELS
from .classifier import Classifier

PADDING = 37  # zeros on both sides of the time axis, 1366 -> 1440 frames
WIDTHS = (64, 128, 128, 128)
POOLS = (2, 3, 4, 4)  # of both axes: 96 bands -> 1, 96 frames -> 1 step
STEPS = 15  # 1440 / 96
EMBEDDING = 1024
PARAMETERS = 2_351_310  # exported, batch norms folded


class PositiveNorm(nn.BatchNorm2d):
    """A batch norm of positive scales."""

    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight.abs(), self.bias, self.training, self.momentum, self.eps)


class Block(nn.Module):
    """Convolution 3x3, batch norm, ELU, max pooling.

    The pooling runs first, which is exact because the batch norm's scale is kept positive and ELU rises
    monotonically, and saves most of their cost.
    """

    def __init__(self, inputs, outputs, pool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = PositiveNorm(outputs)
        self.pool = pool

    def forward(self, x):
        return F.elu(self.norm(F.max_pool2d(self.conv(x), self.pool)))

    def folded(self):
        """Weight and bias of one convolution that does the batch norm too."""
        norm = self.norm
        scale = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)
        return self.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class Choi(Classifier):
    """For training: `mel` dB [N,1,96,96 n] -> (logits [N,14], embedding [N,1024])."""

    frontend = CHOI

    def __init__(self):
        super().__init__()
        # Over the frequency axis, one scale and offset a band, as in Choi's published network.
        self.norm = nn.BatchNorm1d(CHOI["bands"])
        widths = (1,) + WIDTHS
        self.blocks = nn.Sequential(*(Block(i, o, p) for i, o, p in zip(widths, WIDTHS, POOLS)))
        self.hidden = nn.Linear(WIDTHS[-1], EMBEDDING)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(EMBEDDING, len(CLASSES))

    def begin_others(self, stored):
        # Over the paper's 1920 inputs the weights of a step are repeated.
        first = {"hidden.weight": stored["hidden.weight"][:, ::STEPS] * STEPS}
        return [*super().begin_others(stored | first), (self.norm, stored["scale"][:, 0], stored["offset"][:, 0])]

    def steps(self, mel):
        """Features [N,128,n] of the n steps of 96 frames."""
        x = self.norm(normalise(mel)[:, 0])[:, None].contiguous(memory_format=torch.channels_last)
        return self.blocks(x)[:, :, 0].float()

    def head(self, features):
        embedding = F.elu(self.hidden(features))
        return self.output(self.drop(embedding)), embedding

    def forward(self, mel):
        return self.head(self.steps(mel).mean(2))

    def exported(self):
        return ChoiExport(self)


class ChoiExport(nn.Module):
    """For inference: `mel` dB [N,1,96,1366] -> (`tags` [N,13] probabilities, `embedding` [N,1024])."""

    def __init__(self, choi):
        super().__init__()
        choi = choi.eval()
        norm = choi.norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.scale = nn.Parameter(scale[:, None].detach().clone())
        self.offset = nn.Parameter((norm.bias - norm.running_mean * scale)[:, None].detach().clone())
        self.convs = nn.ModuleList()
        for block in choi.blocks:
            weight, bias = block.folded()
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.weight.data, conv.bias.data = weight.detach().clone(), bias.detach().clone()
            self.convs.append(conv)
        self.hidden = nn.Linear(WIDTHS[-1] * STEPS, EMBEDDING)
        # Flattening [N,128,15] puts the 15 steps of a channel side by side: the mean over them.
        self.hidden.weight.data = (choi.hidden.weight.detach() / STEPS).repeat_interleave(STEPS, dim=1)
        self.hidden.bias.data = choi.hidden.bias.detach().clone()
        self.output = choi.output
        count = sum(p.numel() for p in self.parameters())
        assert count == PARAMETERS, f"Choi's network has {count} parameters instead of {PARAMETERS}"

    def forward(self, mel):
        x = F.pad(normalise(mel), (PADDING, PADDING)) * self.scale + self.offset
        for conv, pool in zip(self.convs, POOLS):
            x = F.elu(F.max_pool2d(conv(x), pool))
        embedding = F.elu(self.hidden(x.flatten(1)))
        tags = torch.softmax(self.output(embedding), dim=1)[:, : len(LABELS)]
        return tags, embedding
