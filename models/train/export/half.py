# SPDX-License-Identifier: MPL-2.0
"""Weights stored in fewer bits; the graph turns them back into its own type, which ONNX Runtime does once, at load.

`store(path)` keeps float16, half the file; `store(path, bits=8)` a byte and `bits=4` half a byte a weight, with a scale
for each output channel (bits=8) or each 32 weights of it (bits=4). Speed and memory are those of the model as it was.
"""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

# Smaller tensors (biases, shapes) stay as they are.
LEAST = 1024
# Matrices smaller than this, such as classifiers, take 16 bits also where others take fewer.
LEAST_IN_STEPS = 32768
# weights that share a scale where 4 bits are stored
GROUP = 32


@torch.no_grad()
def round_weights(module):
    """Round the weights that `store` will store as float16, so that the module computes what the file will."""
    for p in module.parameters():
        if p.numel() >= LEAST:
            p.copy_(p.half().float())


def weights(path):
    """{name: float32 tensor} of what an ONNX file keeps as float32 or, by `store`, in 16 or 8 bits."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    for name in [name for name in stored if name.endswith(".int8")]:
        whole = name.removesuffix(".int8")
        stored[whole] = stored.pop(name) * stored.pop(f"{whole}.scale")
    return {name.removesuffix(".half"): torch.from_numpy(values.astype(np.float32)) for name, values in stored.items()}


def store(path, bits=16):
    """Rewrite an ONNX file in place with its large float32 and float16 weights in 16, 8 or 4 bits.

    With 16, results do not change when the weights were rounded before. With 8 and 4, large matrices and kernels are stored so
    and what is smaller as float16.
    """
    model = onnx.load(path)
    graph = model.graph
    columns = {n.input[1] for n in graph.node if n.op_type == "MatMul" or n.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in n.attribute)}
    nodes, added = [], []
    for tensor in graph.initializer:
        kind = tensor.data_type
        if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16) or np.prod(tensor.dims) < LEAST:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor).astype(np.float32)
        if bits == 16 or values.ndim == 1 or values.size < LEAST_IN_STEPS:
            if kind == TensorProto.FLOAT16:
                continue
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
            continue
        parts, unpack = (_bytes if bits == 8 else _nibbles)(name, values, 1 if name in columns else 0)
        if kind == TensorProto.FLOAT16:
            unpack[-1].output[0] = f"{name}.float"
            unpack.append(helper.make_node("Cast", [f"{name}.float"], [name], to=kind))
        tensor.CopyFrom(parts[0])
        added += parts[1:]
        nodes += unpack
    graph.initializer.extend(added)
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _bytes(name, values, axis):
    """(tensors, nodes) of int8 weights with one scale for each channel along `axis`."""
    scale = np.abs(values).max(tuple(i for i in range(values.ndim) if i != axis), keepdims=True) / 127
    scale[scale == 0] = 1
    steps = np.rint(values / scale).astype(np.int8)
    return [numpy_helper.from_array(steps, f"{name}.int8"), numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale")], [
        helper.make_node("Cast", [f"{name}.int8"], [f"{name}.steps"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.steps", f"{name}.scale"], [name]),
    ]


def _nibbles(name, values, axis):
    """(tensors, nodes) of weights of 16 steps, two a byte, with a float16 scale for every GROUP of a channel."""
    rows = np.moveaxis(values, axis, 0)
    channels, count = len(rows), rows[0].size
    flat = rows.reshape(channels, count)
    flat = np.pad(flat, ((0, 0), (0, -count % GROUP))).reshape(channels, -1, GROUP)
    scale = _scale_of_nibbles(flat)
    steps = (np.clip(np.rint(flat / scale.astype(np.float32)), -8, 7) + 8).astype(np.uint8)
    low, high = np.split(steps, 2, axis=-1)
    # [channels, groups, GROUP], without what was padded, and in the weights' own shape
    shapes = {"shape": (channels, flat.shape[1] * GROUP), "starts": (0,), "ends": (count,), "axes": (1,), "rows": rows.shape}
    tensors = [
        numpy_helper.from_array(low | high << 4, f"{name}.int4"),
        numpy_helper.from_array(scale, f"{name}.scale"),
        numpy_helper.from_array(np.uint8(4), f"{name}.four"),
        numpy_helper.from_array(np.float32(8), f"{name}.eight"),
    ]
    tensors += [numpy_helper.from_array(np.array(v, np.int64), f"{name}.{k}") for k, v in shapes.items()]
    order = list(range(1, values.ndim))
    order.insert(axis, 0)

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, [f"{name}.{i}" for i in inputs], [f"{name}.{output}" if output else name], **attributes)

    return tensors, [
        node("BitShift", ["int4", "four"], "high", direction="RIGHT"),
        node("BitShift", ["high", "four"], "top", direction="LEFT"),
        node("Sub", ["int4", "top"], "low"),
        node("Concat", ["low", "high"], "both", axis=2),
        node("Cast", ["both"], "unsigned", to=TensorProto.FLOAT),
        node("Sub", ["unsigned", "eight"], "steps"),
        node("Cast", ["scale"], "scales", to=TensorProto.FLOAT),
        node("Mul", ["steps", "scales"], "groups"),
        node("Reshape", ["groups", "shape"], "flat"),
        node("Slice", ["flat", "starts", "ends", "axes"], "weights"),
        node("Reshape", ["weights", "rows"], "channels"),
        node("Transpose", ["channels"], "", perm=order),
    ]


def _scale_of_nibbles(groups):
    """The float16 scale of each group [..., GROUP] with the least squared error, of some near its largest weight."""
    largest = np.abs(groups).max(-1, keepdims=True)
    largest[largest == 0] = 1
    best, least = None, None
    for divisor in (6.0, 6.5, 7.0, 7.5, 8.0):
        scale = (largest / divisor).astype(np.float16)
        step = scale.astype(np.float32)
        error = np.square(np.clip(np.rint(groups / step), -8, 7) * step - groups).sum(-1, keepdims=True)
        if best is None:
            best, least = scale, error
        else:
            best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best
