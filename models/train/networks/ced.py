# SPDX-License-Identifier: MPL-2.0
"""CED-Tiny (Dinkel et al., 2023) in torch, from its mel input on, with the weights of the crate `soundevents`.

mel dB [N,1,64,frames], 16 to 1008 frames
batch norm over the bands
patches of 16x16 bands x frames, + learnt time and frequency positions   [N, 4 frames//16, 192]
12 transformer blocks of 3 heads
layer norm, mean over the patches: the embedding                          [N, 192]
layer norm, linear                                                        [N, 527] logits of AudioSet's classes
"""

import csv
import functools

import librosa
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

# In the folder of the unpacked crates.
CRATE, CLASSES = "soundevents-0.5.0/models/tiny.onnx", "soundevents-dataset-0.2.0/assets/class_labels_indices.csv"
WIDTH, HEADS, BLOCKS, PATCH, TIMES = 192, 3, 12, 16, 63
FRONTEND = {
    "rate": 16000,
    "fft-size": 512,
    "window-size": 512,
    "hop": 160,
    "window": "hann",
    "bands": 64,
    "fmin": 0,
    "fmax": 8000,
    "mel-scale": "htk",
    "mel-norm": "none",
    "power": 2,
    "compression": "power-db",
    "reference": 1,
    "amin": 1e-10,
    "offset": 0,
    "scale": 1,
    "top-db": None,
    "center": True,
    "pad-mode": "reflect",
    "patch-frames": PATCH * TIMES,
}


def mel(samples, window=None, filters=None):
    """Mel spectrogram in dB, float32 [64, 1 + len(samples) // 160], of samples at 16 kHz: what `melspec preset=ced` computes."""
    samples = torch.as_tensor(np.asarray(samples, np.float32))
    samples = F.pad(samples, (0, max(0, 512 - len(samples))))
    window = torch.hann_window(512) if window is None else window
    power = torch.stft(samples, 512, 160, 512, window, center=True, pad_mode="reflect", return_complex=True).abs() ** 2
    return (10 * torch.log10(((_filters() if filters is None else filters) @ power).clamp(min=1e-10))).numpy()


@functools.cache
def _filters():
    return torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=512, n_mels=64, fmin=0, fmax=8000, htk=True, norm=None))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, 1e-6), nn.LayerNorm(WIDTH, 1e-6)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5).softmax(-1) @ v
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Ced(nn.Module):
    """`mel` [N,1,64,frames] to the embedding [N,192]."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(64)), nn.Parameter(torch.zeros(64))
        self.patch = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.times, self.bands = nn.Parameter(torch.zeros(1, WIDTH, 1, TIMES)), nn.Parameter(torch.zeros(1, WIDTH, 4, 1))
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH, 1e-6)

    def early(self, mel, count):
        """The patches [N, 4 frames//16, 192] after `count` blocks."""
        x = self.patch(mel * self.scale[:, None] + self.shift[:, None])
        x = (x + self.times[..., : x.shape[3]] + self.bands).flatten(2).transpose(1, 2)
        for block in self.blocks[:count]:
            x = block(x)
        return x

    def late(self, x, count):
        for block in self.blocks[count:]:
            x = block(x)
        return self.norm(x).mean(1)

    def forward(self, mel):
        return self.late(self.early(mel, 0), 0)


def rows():
    """The last layer: layer norm, linear."""
    return nn.Sequential(nn.LayerNorm(WIDTH, 1e-5), nn.Linear(WIDTH, 527))


def names(path):
    """The 527 classes of `class_labels_indices.csv`."""
    with open(path, encoding="utf-8") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


@functools.cache
def _stored(path):
    """(the graph, {name: float32 tensor}) of the crate's file, int8 constants turned back into float32."""
    graph = onnx.load(path).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            q, scale, zero = (stored[name] for name in node.input)
            stored[node.output[0]] = (q.astype(np.float32) - zero) * scale
    return graph, {k: torch.from_numpy(np.array(v, np.float32)) for k, v in stored.items()}


def rounded(path):
    """The crate's 8-bit window and filter bank."""
    graph, stored = _stored(path)
    window = next(n.input[2] for n in graph.node if n.op_type == "STFT")
    return stored[window], stored["mel_transform.mel_scale.fb_dq"].T


@torch.no_grad()
def pretrained(path):
    """(Ced, rows()) of the crate's `tiny.onnx`."""
    graph, stored = _stored(path)

    def of(name):
        return stored.get(name, stored.get(f"{name}_dq"))

    def norm(layer, name):
        layer.weight.copy_(of(f"{name}.weight")), layer.bias.copy_(of(f"{name}.bias"))

    ced, last = Ced(), rows()
    e = "model.encoder."
    ced.scale.copy_(of(f"{e}init_bn.weight") / (of(f"{e}init_bn.running_var") + 1e-5).sqrt())
    ced.shift.copy_(of(f"{e}init_bn.bias") - of(f"{e}init_bn.running_mean") * ced.scale)
    ced.patch.weight.copy_(of(f"{e}patch_embed.proj.weight")), ced.patch.bias.copy_(of(f"{e}patch_embed.proj.bias"))
    ced.times.copy_(of(f"{e}time_pos_embed")), ced.bands.copy_(of("alias"))
    # The weights of the linear layers have lost their names: they are the second inputs of the products, in order.
    products = iter([n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1].startswith("val_") and n.input[1] in stored])
    for i, block in enumerate(ced.blocks):
        b = f"{e}blocks.{i}."
        norm(block.norm1, f"{b}norm1"), norm(block.norm2, f"{b}norm2")
        for layer, name in ((block.qkv, "attn.qkv"), (block.proj, "attn.proj"), (block.fc1, "mlp.fc1"), (block.fc2, "mlp.fc2")):
            layer.weight.copy_(stored[next(products)].T), layer.bias.copy_(of(f"{b}{name}.bias"))
    norm(ced.norm, f"{e}norm")
    norm(last[0], "model.outputlayer.0"), norm(last[1], "model.outputlayer.1")
    return ced.eval(), last.eval()


class Teacher:
    """Samples at 16 kHz to the scores [n, 527] of their parts of so many seconds, by CED-Tiny as it was published."""

    def __init__(self, crates):
        self.names = names(crates / CLASSES)
        self.network, self.last = pretrained(crates / CRATE)

    @torch.no_grad()
    def __call__(self, samples, seconds):
        size, shortest = round(16000 * seconds), 2 * PATCH * FRONTEND["hop"]
        parts = [samples[i : i + size] for i in range(0, max(1, len(samples)), size)]
        # What is left at the end joins the part before, where it is short.
        if len(parts) > 1 and len(parts[-1]) < size / 4:
            parts[-2:] = [np.concatenate(parts[-2:])]
        found = []
        for part in parts:
            spectrum = mel(np.resize(part, max(len(part), shortest)))
            spectrum = torch.from_numpy(spectrum[:, : spectrum.shape[1] // PATCH * PATCH])[None, None]
            found.append(torch.sigmoid(self.last(self.network(spectrum)))[0].numpy())
        return np.stack(found)
