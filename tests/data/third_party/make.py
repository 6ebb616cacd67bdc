#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Makes the models of tests/third_party.rs, which come from elsewhere, beside it.

    python tests/data/third_party/make.py colours
    python tests/data/third_party/make.py tags TAGGRAM.npz

| file | what it is |
| --- | --- |
| colours.onnx | a picture classifier as torchvision exports it (normalised float32 [N, 3, 6, 8]), behind `wrap` |
| colours.txt | its expected logits for the picture (204, 153, 102), computed with numpy |
| musicnn.onnx, .onnx.modelinfo, .txt | what `python -m train musicnn convert` writes (ISC licence, LICENSE.musicnn) |
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


def wrap(path, out, mean, std):
    """Makes a model of normalised float32 pictures [N, 3, height, width] one of uint8 pictures [N, height, width, 3]."""
    model = onnx.load(path)
    graph, picture = model.graph, model.graph.input[0]
    n, _, height, width = (axis.dim_param or axis.dim_value for axis in picture.type.tensor_type.shape.dim)
    constants = {"mean": np.float32(mean) * 255, "std": np.float32(std) * 255}
    graph.initializer.extend(numpy_helper.from_array(value, f"frame.{name}") for name, value in constants.items())
    nodes = [
        helper.make_node("Cast", ["frame"], ["frame.float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["frame.float", "frame.mean"], ["frame.centred"]),
        helper.make_node("Div", ["frame.centred", "frame.std"], ["frame.normalised"]),
        helper.make_node("Transpose", ["frame.normalised"], [picture.name], perm=[0, 3, 1, 2]),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("frame", TensorProto.UINT8, [n, height, width, 3]))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, out)


def colours():
    """The mean of each normalised channel through one fully connected layer."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["497"]),
    ]
    graph = helper.make_graph(
        nodes, "colours", [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["N", 3, 6, 8])],
        [helper.make_tensor_value_info("497", TensorProto.FLOAT, ["N", 4])], [numpy_helper.from_array(weights, "weights")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), HERE / "colours.onnx")
    wrap(HERE / "colours.onnx", HERE / "colours.onnx", MEAN, STD)
    normalised = (np.array((204, 153, 102)) / 255 - MEAN) / STD
    np.savetxt(HERE / "colours.txt", normalised @ weights, "%.6f")


def tags(taggram):
    with np.load(taggram) as file:
        np.savetxt(HERE / "musicnn.csv", file["taggram"], "%.6f", ",")


if __name__ == "__main__":
    {"colours": colours, "tags": tags}[sys.argv[1]](*sys.argv[2:])
