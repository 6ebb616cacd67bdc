# SPDX-License-Identifier: MPL-2.0
"""Export of a torch module to an ONNX file that describes itself (metadata_props `instruments.*`)."""

import pathlib

import numpy as np
import onnx
import onnxruntime
import torch

from ..labels import LABELS

OPSET = 17


def describe(name, modality, embedding, licence, provenance, metrics, **more):
    """The card as a dict of strings, in the keys that the plugin reads.

    `more` holds the modality's own keys, either flat (`{"fusion.video": id}`) or nested one level
    (`frontend={"rate": 12000}` becomes `instruments.frontend.rate`); None becomes "none".
    """
    fields = {
        "version": 1,
        "name": name,
        "modality": modality,
        "labels": "\n".join(LABELS),
        "activation": "none",
        "embedding": embedding,
        "licence": licence,
        "provenance": provenance,
        "metrics": metrics,
    }
    for key, value in more.items():
        if isinstance(value, dict):
            fields.update({f"{key}.{k}": v for k, v in value.items()})
        else:
            fields[key] = value
    return {f"instruments.{k}": _text(v) for k, v in fields.items() if v != ""}


def _text(value):
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def export(module, example, outputs, path, card, dynamic=None, tolerance=1e-4):
    """Write `module` to `path` with its card, and check ONNX Runtime against torch.

    `example` maps input names to tensors, `outputs` names the outputs; axis 0 of all of them is dynamic,
    and `dynamic` ({name: {axis: symbol}}) adds more. Returns the largest absolute difference between
    torch and ONNX Runtime; raises ValueError when it is above `tolerance`.
    """
    module = module.eval()
    axes = {name: {0: "N"} for name in [*example, *outputs]}
    for name, more in (dynamic or {}).items():
        axes[name].update(more)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".onnx.partial")
    with torch.no_grad():
        torch.onnx.export(
            module,
            tuple(example.values()),
            str(partial),
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        expected = module(*example.values())
    if isinstance(expected, torch.Tensor):
        expected = (expected,)
    model = onnx.load(partial)
    # Dynamic inputs make the exporter forget lengths that are fixed.
    for port, value in zip(model.graph.output, expected):
        for axis, length in enumerate(value.shape):
            if axis not in axes[port.name]:
                port.type.tensor_type.shape.dim[axis].dim_value = length
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, card)
    model.producer_name, model.producer_version = "gst-instruments", "1"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, partial)

    session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), {k: v.numpy() for k, v in example.items()})
    error = max(float(np.abs(e.numpy() - r).max()) for e, r in zip(expected, results))
    if error > tolerance:
        raise ValueError(f"{path}: ONNX Runtime differs from torch by {error:.2e}, more than {tolerance:.0e}; the broken file is kept as {partial}")
    partial.replace(path)
    return error


def read(path):
    """The card of an ONNX file, without the `instruments.` prefix."""
    props = onnx.load(path).metadata_props
    prefix = "instruments."
    return {p.key[len(prefix) :]: p.value for p in props if p.key.startswith(prefix)}
