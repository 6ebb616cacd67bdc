# SPDX-License-Identifier: MPL-2.0
"""Somebody else's model for the plugin: MusiCNN, MagnaTagATune's 50 tags, from the wheel of PyPI's `musicnn`.

    pip download musicnn==0.1.0 --no-deps
    PYTHONPATH=models python examples/python/musicnn.py convert musicnn-0.1.0-py3-none-any.whl --out musicnn

`convert` reads the TensorFlow checkpoint in the wheel without TensorFlow, and writes FOLDER/musicnn.onnx, which knows
nothing of the plugin, its description musicnn.onnx.modelinfo and musicnn.txt with the labels. `compare` compares the
plugin's scores with the original package's.
"""

import argparse
import ast
import json
import os
import pathlib
import zipfile

import numpy as np
import onnx

# ONNX Runtime sends telemetry unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from train.corpus.tfrecord import fields, varint
from train.export import card

BANDS, FRAMES = 96, 187
EPSILON = 1e-3  # of TensorFlow's batch norm
# Which of the graph's outputs are what the plugin calls so.
OUTPUTS = {"logits": "tags", "penultimate": "embedding"}
MODELINFO = {
    "version": 1,
    "name": "musicnn",
    "modality": "audio",
    "activation": "sigmoid",
    "embedding": "musicnn-mtt/1",
    "licence": "ISC",
    "provenance": "MusiCNN by Jordi Pons, trained on MagnaTagATune, from PyPI's musicnn 0.1.0",
    "frontend.rate": 16000,
    "frontend.fft-size": 512,
    "frontend.window-size": 512,
    "frontend.hop": 256,
    "frontend.window": "hann",
    "frontend.bands": BANDS,
    "frontend.fmin": 0,
    "frontend.fmax": 8000,
    "frontend.mel-scale": "slaney",
    "frontend.mel-norm": "slaney",
    "frontend.power": 2,
    "frontend.compression": "log10",
    "frontend.reference": 1,
    "frontend.amin": 1e-10,
    "frontend.offset": 1,
    "frontend.scale": 10000,
    "frontend.top-db": "none",
    "frontend.center": "true",
    "frontend.patch-frames": FRAMES,
}


def message(data):
    """{field number: values in their order} of a protocol buffer."""
    result = {}
    for number, value in fields(data):
        result.setdefault(number, []).append(value)
    return result


def block(data, handle):
    """The keys and values of one block of a table in LevelDB's format, where a key shares its beginning with the last."""
    offset, at = varint(handle, 0)
    size, _ = varint(handle, at)
    if data[offset + size] != 0:
        raise ValueError(f"the checkpoint's index has a block of compression {data[offset + size]}; only plain ones can be read")
    content = data[offset : offset + size]
    restarts = int.from_bytes(content[-4:], "little")
    key, at = b"", 0
    while at < size - 4 * (restarts + 1):
        shared, at = varint(content, at)
        more, at = varint(content, at)
        length, at = varint(content, at)
        key = key[:shared] + content[at : at + more]
        yield key, content[at + more : at + more + length]
        at += more + length


def checkpoint(index, data):
    """{name: float32 array} of a TensorFlow checkpoint (tensor bundle) of one shard, given its two files' bytes.

    The index is a LevelDB table from names to BundleEntryProto (1: type, 2: shape, 4: offset, 5: size); its last 48
    bytes point to the block that points to the others.
    """
    footer = index[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)  # the meta index
    tensors = {}
    for _, handle in block(index, footer[at:]):
        for name, entry in block(index, handle):
            entry = message(entry)
            if not name or entry[1] != [1]:  # the header, and what is not float32
                continue
            shape = [message(axis)[1][0] for axis in message(entry.get(2, [b""])[0]).get(2, [])]
            start, size = entry.get(4, [0])[0], entry[5][0]
            tensors[name.decode()] = np.frombuffer(data[start : start + size], "<f4").reshape(shape)
    return tensors


def read(wheel):
    """The checkpoint's tensors, and the 50 labels."""
    with zipfile.ZipFile(wheel) as file:
        tensors = checkpoint(*(file.read(f"musicnn/MTT_musicnn/{name}") for name in (".index", ".data-00000-of-00001")))
        configuration = ast.parse(file.read("musicnn/configuration.py"))
    for node in configuration.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "MTT_LABELS":
            return tensors, ast.literal_eval(node.value)
    raise ValueError(f"{wheel}: musicnn/configuration.py has no MTT_LABELS; use musicnn 0.1.0")


class Norm(nn.Module):
    """TensorFlow's batch norm over axis 1, as one scale and offset."""

    def __init__(self, tensors, number, dims):
        super().__init__()
        name = "batch_normalization" + (f"_{number}" if number else "")
        gamma, beta, mean, variance = (tensors[f"{name}/{k}"] for k in ("gamma", "beta", "moving_mean", "moving_variance"))
        scale = gamma / np.sqrt(variance + EPSILON)
        shape = (1, -1) + (1,) * dims
        self.register_buffer("scale", torch.from_numpy(scale.reshape(shape)))
        self.register_buffer("offset", torch.from_numpy((beta - mean * scale).reshape(shape)))

    def forward(self, x):
        return x * self.scale + self.offset


class Block(nn.Module):
    """Convolution, ReLU, batch norm; the order of TensorFlow's variables is that of their making."""

    def __init__(self, tensors, number):
        super().__init__()
        name = "conv2d" + (f"_{number}" if number else "")
        kernel = tensors[f"{name}/kernel"]  # [time, frequency, inputs, outputs]
        self.weight = nn.Parameter(torch.from_numpy(kernel.transpose(3, 2, 1, 0).copy()))
        self.bias = nn.Parameter(torch.from_numpy(tensors[f"{name}/bias"].copy()))
        self.norm = Norm(tensors, number + 1, 2)

    def forward(self, x):
        """[N, inputs, frequencies, frames] to [N, outputs, 1, frames]: `same` along time, the maximum over frequency."""
        spare = self.weight.shape[3] - 1
        x = F.conv2d(F.pad(x, (spare // 2, spare - spare // 2)), self.weight, self.bias)
        return self.norm(F.relu(x)).amax(2, keepdim=True)


class Dense(nn.Linear):
    def __init__(self, tensors, name):
        kernel = tensors[f"{name}/kernel"]
        super().__init__(*kernel.shape)
        self.weight.data = torch.from_numpy(kernel.T.copy())
        self.bias.data = torch.from_numpy(tensors[f"{name}/bias"].copy())


class Musicnn(nn.Module):
    """`mel` [N, 187, 96] to logits [N, 50] and the penultimate layer [N, 200]."""

    def __init__(self, tensors):
        super().__init__()
        self.input_norm = Norm(tensors, 0, 2)
        self.front = nn.ModuleList(Block(tensors, i) for i in range(5))  # two timbral, three temporal
        self.middle = nn.ModuleList(Block(tensors, i) for i in range(5, 8))
        self.pool_norm = Norm(tensors, 9, 0)
        self.dense = Dense(tensors, "dense")
        self.dense_norm = Norm(tensors, 10, 0)
        self.output = Dense(tensors, "dense_1")

    def forward(self, mel):
        x = self.input_norm(mel.transpose(1, 2)[:, None])
        front = torch.cat([part(x) for part in self.front], 1)
        # The middle's kernels span all channels, as if they were frequencies.
        layers = [front, self.middle[0](front.transpose(1, 2))]
        for part in self.middle[1:]:
            layers.append(part(layers[-1].transpose(1, 2)) + layers[-1])
        features = torch.cat(layers, 1)[:, :, 0]
        pooled = torch.stack([features.amax(2), features.mean(2)], 2).flatten(1)
        embedding = self.dense_norm(F.relu(self.dense(self.pool_norm(pooled))))
        return self.output(embedding), embedding


def convert(args):
    tensors, labels = read(args.wheel)
    model = Musicnn(tensors).eval()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "musicnn.onnx"
    mel = torch.rand(2, FRAMES, BANDS, generator=torch.Generator().manual_seed(0)) * 5
    names = {"input_names": ["mel"], "output_names": list(OUTPUTS)}
    torch.onnx.export(
        model, (mel,), str(path), dynamic_axes={n: {0: "N"} for ns in names.values() for n in ns}, opset_version=card.OPSET, dynamo=False, **names
    )
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        error = max(np.abs(ours - theirs.numpy()).max() for ours, theirs in zip(session.run(None, {"mel": mel.numpy()}), model(mel)))
    (args.out / "musicnn.txt").write_text("\n".join(labels) + "\n")
    lines = ["[modelinfo]", "version=1.0", ""]
    for name, part in OUTPUTS.items():
        lines += [f"[{name}]", f"id={part}", ""]
    lines += ["[instruments]", *(f"{key}={value}" for key, value in MODELINFO.items())]
    path.with_suffix(".onnx.modelinfo").write_text("\n".join(lines) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {len(labels)} labels; ONNX Runtime differs from torch by {error:.1e}")


def compare(args):
    """Scores of the plugin (`tagtext`'s JSON lines with all tags) against the original package's, patch by patch."""
    with np.load(args.reference) as file:
        taggram, labels = file["taggram"], file["labels"].tolist()
    with open(args.tags) as file:
        results = [{tag["label"]: tag["score"] for tag in json.loads(line)["tags"]} for line in file]
    if len(results) != len(taggram):
        raise SystemExit(
            f"{args.tags} has {len(results)} patches, {args.reference} {len(taggram)}; give melspec partial=drop and the reference's patch interval"
        )
    difference = np.abs(taggram - [[scores[label] for label in labels] for scores in results])
    print(f"{len(results)} patches of {len(labels)} scores: largest difference {difference.max():.1e}, mean {difference.mean():.1e}")


def main():
    parser = argparse.ArgumentParser(prog="musicnn.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("convert", help="write the ONNX file, its description and its labels")
    command.add_argument("wheel", type=pathlib.Path)
    command.add_argument("--out", type=pathlib.Path, default=pathlib.Path("musicnn"), help="the folder to write to")
    command.set_defaults(run=convert)
    command = commands.add_parser("compare", help="compare the plugin's scores with the original package's")
    command.add_argument("tags", type=pathlib.Path, help="tagtext's JSON lines, with threshold=0 max-tags=0")
    command.add_argument("reference", type=pathlib.Path, help="an .npz of `taggram` [patches, 50] and `labels`")
    command.set_defaults(run=compare)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
