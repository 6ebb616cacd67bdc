# SPDX-License-Identifier: MPL-2.0
"""Writes MODEL.onnx.modelinfo beside models: their tensors as GStreamer's own inference elements read them.

    python -m train export.modelinfo [MODEL.onnx …]    # all of the zoo unless given

The names, types and shapes are the graph's, the ids those of the model's card.
"""

import argparse
import pathlib

import onnx

ZOO = pathlib.Path(__file__).parents[2]
TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}
# What GStreamer's classifiertensordecoder takes as it is: the graphs compute probabilities.
SCORES = "classification-generic-softmaxed-out"
# REUSE-IgnoreStart
LICENCE = "# SPDX-License-Identifier: MPL-2.0"
# REUSE-IgnoreEnd


def sections(model):
    """The sections of the file, in order, each a name with its keys."""
    card = {prop.key.removeprefix("instruments."): prop.value for prop in model.metadata_props}
    ids = {
        "mel": "mel",
        "tags": SCORES,
        "embedding": card.get("embedding"),
        "video": card.get("fusion.video"),
        "audio": card.get("fusion.audio"),
    }
    yield "modelinfo", {"version": "1.0", "group-id": SCORES}
    for direction, ports in ("input", model.graph.input), ("output", model.graph.output):
        for port in ports:
            tensor = port.type.tensor_type
            keys = {
                "id": ids.get(port.name) or port.name,
                "dir": direction,
                "type": TYPES[tensor.elem_type],
                "dims": ",".join(str(axis.dim_value or -1) for axis in tensor.shape.dim),
            }
            if keys["type"] == "uint8":
                keys["ranges"] = "0.0,255.0"
            yield port.name, keys


def main(arguments):
    parser = argparse.ArgumentParser(prog="train export.modelinfo", description=__doc__)
    parser.add_argument("models", nargs="*", type=pathlib.Path, default=sorted(ZOO.glob("*.onnx")))
    for path in parser.parse_args(arguments).models:
        parts = [LICENCE]
        for name, keys in sections(onnx.load(path, load_external_data=False)):
            parts += [f"[{name}]", *(f"{key}={value}" for key, value in keys.items())]
        path.with_name(f"{path.name}.modelinfo").write_text("\n".join(parts) + "\n")
