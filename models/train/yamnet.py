# SPDX-License-Identifier: MPL-2.0
"""The sound model: YAMNet's layers and its 521 AudioSet classes, which are pooled into the 13 labels and "none".

YAMNet is a MobileNet v1 on 0.96 s of sound; the weights are those of its TFLite file (Apache-2.0), batch norms folded, a ReLU
after each convolution:

| layer | filters, stride | output of 96 frames x 64 bands |
| --- | --- | --- |
| convolution 3x3 | 32, 2 | 48x32 |
| 13 x (depthwise 3x3, convolution 1x1) | 64; 128, 2; 128; 256, 2; 256; 512, 2; 5 x 512; 1024, 2; 1024 | 3x2 |
| mean over time and bands | 1024 | |
| fully connected | 521 | |

The tagger hears ten such windows side by side. The embedding is their mean, weighted by how much of any instrument each one
has: most of a recording of notes is silence or the end of a note. It goes through the 521 rows, and each label takes the
log-sum-exp of its own ones.
"""

import csv

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import half
from .classifier import Softmax
from .frontend import YAMNET
from .labels import CLASSES, LABELS
from .teach import AUDIOSET

# (filters, stride) of the depthwise separable layers.
LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
WINDOW = 96  # frames
EMBEDDING = 1024
PARAMETERS = 3_195_456  # of the convolutions
SPLIT = 10  # the first layer that is trained
# AudioSet classes that say that there is music, which family or which style: they speak for no label and not for "none".
GENERAL = ("Music", "Musical instrument", "Plucked string instrument", "Keyboard (musical)", "Percussion", "Orchestra", "Brass instrument",
           "Bowed string instrument", "String section", "Wind instrument, woodwind instrument", "Pizzicato")
STYLES = ("Pop music", "Scary music")  # the first and the last one in the class map


def same(x, stride):
    """TensorFlow's "same" padding of a 3x3 filter for even sizes: with stride 2 only on the right and at the bottom."""
    return F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class Separable(nn.Module):
    """Depthwise 3x3 and 1x1 convolution, each with bias (the batch norm's) and ReLU."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return F.relu(self.pointwise(F.relu(self.depthwise(same(x, self.stride)))))


class Yamnet(nn.Module):
    """`mel` [N,1,64,96 n] to the means [N,n,1024] of the n windows."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, 2)
        widths = [32] + [filters for filters, _ in LAYERS]
        self.layers = nn.ModuleList(Separable(i, o, s) for i, (o, s) in zip(widths, LAYERS))
        count = sum(p.numel() for p in self.parameters())
        assert count == PARAMETERS, f"YAMNet has {count} parameters instead of {PARAMETERS}"

    def early(self, mel):
        """The stem and the layers before SPLIT, of each window by itself: [N n,512,6,4]. YAMNet's first axis is time."""
        bands, frames = map(int, mel.shape[2:])  # constants of the exported graph
        x = mel.reshape(-1, bands, frames // WINDOW, WINDOW).permute(0, 2, 3, 1).reshape(-1, 1, WINDOW, bands)
        x = F.relu(self.stem(same(x, 2)))
        for layer in self.layers[:SPLIT]:
            x = layer(x)
        return x

    def late(self, x):
        for layer in self.layers[SPLIT:]:
            x = layer(x)
        return x.mean((2, 3))

    def forward(self, mel):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.training):
            x = self.early(mel)
        return self.late(x).reshape(-1, int(mel.shape[3]) // WINDOW, EMBEDDING)


def groups(class_map):
    """Which AudioSet classes speak for which of the 14 classes: float32 [521,14] of 0 and 1, from the path of YAMNet's class map."""
    with open(class_map) as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    member = torch.zeros(len(names), len(CLASSES))
    for label, own in AUDIOSET.items():
        member[[names.index(name) for name in own], LABELS.index(label)] = 1
    member[:, -1] = 1 - member.sum(1)
    member[[names.index(name) for name in GENERAL], -1] = 0
    member[names.index(STYLES[0]):names.index(STYLES[1]) + 1, -1] = 0
    return member


def pool(logits, member):
    """Log-odds [...,14] of the classes: the log-sum-exp of their rows of AudioSet logits [...,521]."""
    # Exactly 0 where a class has no such row is kept from the logarithm; 1e-20 is far below any odds that matter.
    peak = logits.amax(-1, keepdim=True).detach()
    return torch.log((logits - peak).exp() @ member + 1e-20) + peak


def zero_shot(scores, member):
    """Probabilities [n,14] of YAMNet's scores [n,521]."""
    scores = torch.as_tensor(np.asarray(scores, np.float32)).clamp(1e-6, 1 - 1e-6)
    return pool(torch.logit(scores), member).softmax(-1).numpy()


class Tagger(nn.Module):
    """`mel` [N,1,64,96 n] -> (logits [N,14], embedding [N,1024])."""

    frontend = YAMNET

    def __init__(self, teachers):
        """`teachers`: folder with `yamnet.tflite` and `yamnet_class_map.csv`."""
        super().__init__()
        self.network, weight, bias = pretrained(teachers / "yamnet.tflite")
        self.rows = nn.Linear(EMBEDDING, len(bias))
        self.rows.weight.data, self.rows.bias.data = weight, bias
        self.register_buffer("member", groups(teachers / "yamnet_class_map.csv"))
        self.scale, self.offset = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(len(CLASSES)))
        self.focus = nn.Parameter(torch.ones(1))
        self.temperature = 1.0
        self.requires_grad_(False)
        for part in (self.network.layers[SPLIT:], self.rows):
            part.requires_grad_(True)
        for p in (self.scale, self.offset, self.focus):
            p.requires_grad_(True)

    def head(self, embedding):
        """Logits [...,14] of embeddings [...,1024]."""
        return pool(self.rows(embedding), self.member) * self.scale + self.offset

    def forward(self, mel):
        windows = self.network(mel).float()
        sure = torch.logsumexp(self.head(windows)[..., :len(LABELS)], -1)
        embedding = (torch.softmax(self.focus * sure, 1)[:, :, None] * windows).sum(1)
        return self.head(embedding) / self.temperature, embedding

    def rescale(self, temperature):
        """Divide the logits by a temperature, for good."""
        self.temperature *= temperature

    def exported(self):
        return Softmax(self)


def released(path, teachers):
    """The Tagger with the weights of an exported file, without its temperature."""
    stored, tagger = half.weights(path), Tagger(teachers)
    tagger.load_state_dict({name: stored[f"network.{name}"] for name in tagger.state_dict()})
    return tagger.eval()


def _value(interpreter, detail):
    """A constant tensor as float32, dequantised."""
    value = interpreter.get_tensor(detail["index"])
    if value.dtype != np.int8:
        return value
    quantization = detail["quantization_parameters"]
    shape = [1] * value.ndim
    shape[quantization["quantized_dimension"]] = -1
    return ((value - quantization["zero_points"].reshape(shape)) * quantization["scales"].reshape(shape)).astype(np.float32)


@torch.no_grad()
def pretrained(path):
    """(Yamnet, weight [521,1024], bias [521]) of a TFLite file."""
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    # The constants in the order of the layers; a depthwise filter's name tells little.
    biases, rows, stem, depthwise, pointwise = {}, {}, None, [], []
    for detail in sorted(interpreter.get_tensor_details(), key=lambda d: d["index"]):
        name, shape = detail["name"], tuple(detail["shape"])
        if name.endswith("bn/FusedBatchNormV3") and len(shape) == 1:
            layer, kind = name.split("/")[1:3]
            biases[int(layer.removeprefix("layer")), kind] = _value(interpreter, detail)
        elif name.startswith("yamnet_frames/dense/") and shape in ((521, EMBEDDING), (521,)):
            rows[len(shape)] = _value(interpreter, detail)
        elif name.endswith("layer1/conv/Conv2D") and shape == (32, 3, 3, 1):
            stem = _value(interpreter, detail)
        elif name.endswith("/pointwise_conv/Conv2D") and shape[1:3] == (1, 1) and ";" not in name:
            pointwise.append(_value(interpreter, detail))
        elif shape[:3] == (1, 3, 3) and not name.endswith("_dequantize"):
            depthwise.append(_value(interpreter, detail))
    network = Yamnet()
    convs = [(network.stem, stem, "conv", 1)]
    for i, layer in enumerate(network.layers):
        convs += [(layer.depthwise, depthwise[i].transpose(3, 0, 1, 2), "depthwise_conv", i + 2),
                  (layer.pointwise, pointwise[i], "pointwise_conv", i + 2)]
    for conv, weight, kind, number in convs:
        weight = torch.from_numpy(np.ascontiguousarray(weight))
        conv.weight.copy_(weight if kind == "depthwise_conv" else weight.permute(0, 3, 1, 2))
        conv.bias.copy_(torch.from_numpy(biases[number, kind]))
    return network.eval(), torch.from_numpy(rows[2]), torch.from_numpy(rows[1])
