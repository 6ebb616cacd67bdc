#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Makes the models of tests/third_party.rs, which come from elsewhere, beside it.

    python tests/data/third_party/make.py colours
    python tests/data/third_party/make.py tags TAGGRAM.npz

| file | what it is |
| --- | --- |
| colours.onnx | a picture classifier as torchvision exports it: normalised float32 [N, 3, 6, 8] |
| colours.txt | its expected logits for the picture (204, 153, 102), computed with numpy |
| musicnn.onnx, .onnx.modelinfo, .txt | what `examples/python/musicnn.py convert` writes (ISC licence) |
| musicnn.csv | scores of the original package, with TensorFlow, for tests/data/mel/music-16000.wav, a patch a line |

`colours` needs the package onnx. `tags` takes what docs/your-model.md saves of the original package.
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def colours():
    """The mean of each channel, and that through one fully connected layer."""
    weights = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["features", "weights"], ["497"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in (("input.1", ["N", 3, 6, 8]), ("497", ["N", 4]), ("features", ["N", 3]))]
    graph = helper.make_graph(nodes, "colours", ports[:1], ports[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "colours.onnx")
    normalised = (np.array((204, 153, 102)) / 255 - MEAN) / STD
    np.savetxt(HERE / "colours.txt", normalised @ weights, "%.6f")


def tags(taggram):
    with np.load(taggram) as file:
        np.savetxt(HERE / "musicnn.csv", file["taggram"], "%.6f", ",")


if __name__ == "__main__":
    {"colours": colours, "tags": tags}[sys.argv[1]](*sys.argv[2:])
