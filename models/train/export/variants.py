# SPDX-License-Identifier: MPL-2.0
"""Variants of an exported model beside it: `NAME.int8.onnx` for CPUs, `NAME.fp16.onnx` for GPUs, with the same card.

The int8 variant has 8-bit convolutions and matrices (QDQ, a scale for each output channel), its ranges measured on real
material; it is kept only if it is faster on this CPU and loses at most one point of Hit@1. In both the classifier behind
the embedding stays in float32, inputs and outputs are those of the model.

    python -m train export.variants make MODEL.onnx --calibration CACHE/sound --test CACHE/test --out FOLDER
    python -m train export.variants measure *.onnx
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from ..features import inputs
from ..scores import scores
from . import card, half
from .session import session

# An int8 variant may lose so many points of Hit@1.
MOST_LOST = 1.0
METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}


def plain(path, folder):
    """The model in float32 as a file in `folder`: stored weights unpacked, constants computed, shapes known."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "unpacked.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    quant_pre_process(folder / "unpacked.onnx", folder / "plain.onnx", skip_optimization=True, skip_symbolic_shape=True)
    return folder / "plain.onnx"


def behind(graph, output):
    """Names of the node that makes `output` and of all that use it, directly or not."""
    reached, names = {output}, []
    for node in graph.node:
        if output in node.output or reached.intersection(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


class Reader(CalibrationDataReader):
    """The calibration inputs, one at a time."""

    def __init__(self, name, inputs):
        self.items = iter([{name: x[None]} for x in inputs])

    def get_next(self):
        return next(self.items, None)


def int8(source, target, name, inputs, method, floats, kinds):
    """Write the QDQ variant of the float32 file `source`; `floats` names nodes that stay in float32."""
    graph = onnx.load(source).graph
    known = {n.name for n in graph.node}
    for wrong in set(floats) - known:
        raise SystemExit(f"--float {wrong}: the model has no such node; its convolutions are " + ", ".join(n.name for n in graph.node if n.op_type == "Conv"))
    quantize_static(
        source,
        target,
        Reader(name, inputs),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[method],
        op_types_to_quantize=kinds,
        nodes_to_exclude=sorted({*floats, *behind(graph, "embedding")}),
    )
    half.store(target)


def fp16(source, target, bits):
    """Write the float16 variant of the float32 file `source`; inputs, outputs and the classifier stay as they are.

    Its weights are stored in `bits` bits.
    """
    model = onnx.load(source)
    model = OnnxModel(convert_float_to_float16(model, keep_io_types=True, node_block_list=behind(model.graph, "embedding")))
    # The converter wraps every float32 node in casts: between two of them values would go through float16.
    makers = {output: node for node in model.model.graph.node for output in node.output}
    for node in model.get_nodes_by_op_type("Cast"):
        before = makers.get(node.input[0])
        if before is not None and before.op_type == "Cast" and _to(before) == TensorProto.FLOAT16 and _to(node) == TensorProto.FLOAT:
            model.replace_input_of_all_nodes(node.output[0], before.input[0])
    model.prune_graph()
    model.topological_sort()
    onnx.save(model.model, target)
    half.store(target, bits)


def _to(cast):
    return next(a.i for a in cast.attribute if a.name == "to")


def describe(base, path, variant):
    """Give the variant the card of the model it was made from."""
    model = onnx.load(path)
    props = {p.key: p.value for p in onnx.load(base, load_external_data=False).metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props | {"instruments.variant": variant})
    model.producer_name, model.producer_version = "gst-instruments", "1"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def answers(path, inputs):
    """(tags [n, C], embeddings [n, D]) of inputs [n, ...], one at a time."""
    run = session(path)
    name = run.get_inputs()[0].name
    results = [run.run(["tags", "embedding"], {name: x[None]}) for x in inputs]
    return tuple(np.concatenate(part) for part in zip(*results))


def milliseconds(path, seconds=3.0):
    """CPU time of one item, the median of repeated runs: what one thread takes on an idle machine."""
    run = session(path)
    given = run.get_inputs()
    rng = np.random.default_rng(0)
    feed = {}
    for i in given:
        shape = [d if isinstance(d, int) else 1 for d in i.shape]
        feed[i.name] = rng.integers(0, 256, shape, np.uint8) if "uint8" in i.type else rng.normal(-30, 20, shape).astype(np.float32)
    times = []
    run.run(None, feed)
    while len(times) < 5 or sum(times) < seconds:
        start = time.process_time()
        run.run(None, feed)
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def report(path, inputs, classes, reference=None):
    """Print and return (Hit@1, milliseconds, embeddings) of a file on the test inputs."""
    tags, embeddings = answers(path, inputs)
    figures = scores(tags, classes)
    took = milliseconds(path)
    line = f"{path.name:36}{path.stat().st_size / 1e6:7.1f} MB{took:8.1f} ms" + "".join(f"  {k} {v:5.1f}" for k, v in figures.items())
    if reference is not None:
        same = (embeddings * reference).sum(1) / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(reference, axis=1)
        line += f"  cosine of the embeddings {same.mean():.4f}, least {same.min():.4f}"
    print(line, flush=True)
    return figures["hit@1"], took, embeddings


def make(args):
    described = card.read(args.model)
    given = session(args.model).get_inputs()[0]
    size = given.shape[1]

    def read(chosen):
        return [inputs.one(path, described, size) for path, _ in chosen]

    calibration = read(inputs.files(args.calibration, args.each, args.seed))
    tests = inputs.files(args.test, args.most, args.seed)
    tests, classes = read(tests), [c for _, c in tests]
    print(f"{len(calibration)} items calibrate, {len(tests)} test")
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = plain(args.model, pathlib.Path(folder))
        hit, took, reference = report(args.model, tests, classes)
        for variant in args.variants:
            target = args.out / f"{args.model.stem}.{variant}.onnx"
            if variant == "fp16":
                fp16(source, target, args.bits)
            else:
                int8(source, target, given.name, calibration, args.method, args.float, args.kinds)
            describe(args.model, target, variant)
            hit_now, took_now, _ = report(target, tests, classes, reference)
            if variant == "int8" and (hit_now < hit - MOST_LOST or took_now >= took):
                target.rename(target.with_suffix(".rejected"))
                print(f"int8 is not kept: Hit@1 {hit_now:.1f} instead of {hit:.1f}, {took_now:.1f} instead of {took:.1f} ms")


def main(argv):
    parser = argparse.ArgumentParser(prog="train export.variants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    make_parser = commands.add_parser("make", help="make and judge the variants of a model")
    make_parser.add_argument("model", type=pathlib.Path)
    make_parser.add_argument(
        "--calibration", nargs="+", required=True, help="folders of <label>/*.jpg or <label>/*.npy (int16 at 24 kHz), as the model's modality wants"
    )
    make_parser.add_argument("--test", nargs="+", required=True, help="such folders of other material")
    make_parser.add_argument("--out", type=pathlib.Path, required=True)
    make_parser.add_argument("--variants", nargs="+", choices=("int8", "fp16"), default=["int8", "fp16"])
    make_parser.add_argument("--each", type=int, default=8, help="calibration items of a label")
    make_parser.add_argument("--most", type=int, help="test items of a label at most")
    make_parser.add_argument("--method", choices=METHODS, default="minmax", help="how ranges are found")
    make_parser.add_argument("--kinds", nargs="+", help="operators that become int8; all that can by default")
    make_parser.add_argument("--float", nargs="*", default=[], help="names of nodes that stay in float32")
    make_parser.add_argument("--bits", type=int, choices=(16, 8), default=8, help="that a weight takes in the fp16 file")
    make_parser.add_argument("--seed", type=int, default=0)
    make_parser.set_defaults(run=make)
    measure_parser = commands.add_parser("measure", help="CPU time of one item, one thread")
    measure_parser.add_argument("models", type=pathlib.Path, nargs="+")
    measure_parser.set_defaults(
        run=lambda args: [print(f"{p.name:36}{p.stat().st_size / 1e6:7.1f} MB{milliseconds(p):8.1f} ms", flush=True) for p in args.models]
    )
    args = parser.parse_args(argv)
    args.run(args)
