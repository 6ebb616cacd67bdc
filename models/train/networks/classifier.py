# SPDX-License-Identifier: MPL-2.0
"""What the paper's sound networks have in common: `mel` in, logits of the 14 classes by a last layer `output`, and the embedding in front of it."""

import torch
from torch import nn

from ..labels import LABELS


class Classifier(nn.Module):
    @torch.no_grad()
    def rescale(self, temperature):
        """Divide the logits by a temperature, for good."""
        for p in self.output.parameters():
            p /= temperature

    def exported(self):
        return Softmax(self)


class Softmax(nn.Module):
    """What is exported: `mel` -> (`tags` [N,13], `embedding`)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, mel):
        logits, embedding = self.network(mel)
        return torch.softmax(logits, 1)[:, : len(LABELS)], embedding
