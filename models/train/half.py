# SPDX-License-Identifier: MPL-2.0
"""Weights stored as float16, half the file; the graph casts them to float32, which ONNX Runtime does once, at load."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

# Smaller tensors (biases, shapes) stay as they are.
LEAST = 1024


@torch.no_grad()
def round_weights(module):
    """Round the weights that `store` will store, so that the module computes what the file will."""
    for p in module.parameters():
        if p.numel() >= LEAST:
            p.copy_(p.half().float())


def store(path):
    """Rewrite an ONNX file in place; its results do not change when its weights were rounded before."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        values = numpy_helper.to_array(tensor)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
