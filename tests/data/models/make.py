#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Writes the models that tests/model.rs opens, beside this script. Needs the package onnx.

| file | what it is |
| --- | --- |
| audio | mel [N,1,4,8]; embedding = mean over time of each band; tags = the first three of it, doubled |
| varied, varied.int8 | video as two files of one model; the second one's card says int8 |
| any-length | audio of patches of 2 to 8 frames |
| fixed-length | a card of such patches for audio's graph, which takes 8 frames |
| short-maximum | a card whose shortest patch is longer than its longest |
| many-frames | a card of patches of 2^36 frames |
| large | pictures of 60000 by 60000 pixels |
| audio-single | the same with N fixed to 1 |
| video | frame [N,6,8,3] (6 rows, 8 columns); embedding = mean of each channel / 255; tags = embedding |
| inverse | video's result subtracted from 1 |
| slow-audio | audio's result after the same products as in slow |
| slow | video's result after hundreds of products of matrices of zeros: some tenths of a second of one core |
| endless | video's result after a loop that ends only where the picture is black |
| never | the same, but the loop never ends |
| fusion | tags = present[0] * mean over k of video [N,k,3] + present[1] * the first three of audio [N,4] |
| fusion-endless | the same after a loop that ends only where all of video is 0 |
| fusion-two | k fixed to 2: tags = video[0] + 10 * video[1] |
| third-party | audio's graph with other names and no card; third-party.onnx.modelinfo describes it |
| third-party-picture | video's result from x float32 [N,3,6,8] in planes, 0 to 1, as one of two outputs; described by its sidecar |
| third-party-mel | audio's result from a mel of frames before bands, [N,8,4,1]; described by its sidecar |
| no-ranges | third-party-picture, whose sidecar does not say what its floats are |
| bad-ranges | a sidecar with ranges of two channels |
| bad-tensor | a sidecar that describes a tensor that the graph has not |
| no-card | audio's graph without any metadata |
| version-2 | audio with instruments.version = 2 |
| no-modality, bad-modality, bad-bands, bad-fit | a key missing, or with a value that means nothing |
| other-bands | the card says 8 bands, the graph has 4 |
| other-modality | the card says video, the graph takes mel |
| other-frames | a fusion card with frames = any, the graph's k is 2 |
| no-embedding | the card names an embedding, the graph has no such output |
| labels | four labels for three tags |
| hidden-labels | as labels, but the graph does not tell its three tags before it runs |
| nan | tags = log of the mean over time: -inf for 0, NaN below |
| fails | gathers the row of a table that the mean over time names: fails for any but row 0 |
| operator | the graph uses an operator that does not exist |
| truncated | the first half of audio |
| text | a text file |
| empty | a file of no bytes |
"""

import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

HERE = pathlib.Path(__file__).parent
FLOAT, BYTE, INT = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64

COMMON = {
    "instruments.version": "1",
    "instruments.labels": "Guitar\nPiano\nDrums",
    "instruments.activation": "none",
    "instruments.licence": "CC0-1.0",
    "instruments.provenance": "made by hand, for tests",
    "instruments.metrics": "none",
}
AUDIO = COMMON | {
    "instruments.modality": "audio",
    "instruments.embedding": "test-audio/1",
    "instruments.frontend.rate": "8000",
    "instruments.frontend.fft-size": "256",
    "instruments.frontend.window-size": "256",
    "instruments.frontend.hop": "128",
    "instruments.frontend.window": "hann",
    "instruments.frontend.bands": "4",
    "instruments.frontend.fmin": "0",
    "instruments.frontend.fmax": "4000",
    "instruments.frontend.mel-scale": "slaney",
    "instruments.frontend.mel-norm": "slaney",
    "instruments.frontend.power": "2",
    "instruments.frontend.compression": "power-db",
    "instruments.frontend.amin": "1e-10",
    "instruments.frontend.reference": "1",
    "instruments.frontend.offset": "0",
    "instruments.frontend.scale": "1",
    "instruments.frontend.top-db": "80",
    "instruments.frontend.center": "true",
    "instruments.frontend.patch-frames": "8",
}
VIDEO = COMMON | {
    "instruments.modality": "video",
    "instruments.embedding": "test-video/1",
    "instruments.frame.fit": "crop",
    "instruments.frame.crop-fraction": "0.875",
}
FUSION = COMMON | {
    "instruments.modality": "fusion",
    "instruments.fusion.video": "test-video/1",
    "instruments.fusion.audio": "test-audio/1",
    "instruments.fusion.frames": "any",
}


def tensor(name, element, *shape):
    return helper.make_tensor_value_info(name, element, shape)


def constant(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def write(name, nodes, inputs, outputs, card, constants=(), valid=True):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if card:
        helper.set_model_props(model, card | {"instruments.name": name.split(".")[0]})
    if valid:
        checker.check_model(model, full_check=True)
    save(model, HERE / f"{name}.onnx")


def audio(name, card=AUDIO, batch="N", mel="mel", tags="tags", embedding="embedding", frames=8):
    """The mean over time, and its first three values doubled."""
    nodes = [
        helper.make_node("ReduceMean", [mel], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("Slice", ["mean", "zero", "three", "one"], ["first"]),
        helper.make_node("Add", ["first", "first"], [tags]),
    ]
    outputs = [tensor(tags, FLOAT, batch, 3)]
    if embedding:
        nodes.append(helper.make_node("Identity", ["mean"], [embedding]))
        outputs.append(tensor(embedding, FLOAT, batch, 4))
    constants = [constant("zero", [0]), constant("three", [3]), constant("one", [1])]
    write(name, nodes, [tensor(mel, FLOAT, batch, 1, 4, frames)], outputs, card, constants)


def video(name, card=VIDEO, height=6, width=8):
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["tags"]),
    ]
    outputs = [tensor("tags", FLOAT, "N", 3), tensor("embedding", FLOAT, "N", 3)]
    white = [constant("white", 255, np.float32)]
    write(name, nodes, [tensor("frame", BYTE, "N", height, width, 3)], outputs, card, white)


def inverse(name):
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["share"]),
        helper.make_node("Sub", ["one", "share"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["tags"]),
    ]
    outputs = [tensor("tags", FLOAT, "N", 3), tensor("embedding", FLOAT, "N", 3)]
    constants = [constant("white", 255, np.float32), constant("one", 1, np.float32)]
    write(name, nodes, [tensor("frame", BYTE, "N", 6, 8, 3)], outputs, VIDEO, constants)


def products(total):
    """Adds zero to the tensor `scores`, by way of products that are of what is read from the tensor `total`, or ONNX
    Runtime would make them when it loads the graph."""
    product = helper.make_graph(
        [helper.make_node("MatMul", ["old", "old"], ["new"]), helper.make_node("Identity", ["on"], ["on_"])],
        "product",
        [tensor("turn", INT), tensor("on", TensorProto.BOOL), tensor("old", FLOAT, 512, 512)],
        [tensor("on_", TensorProto.BOOL), tensor("new", FLOAT, 512, 512)],
    )
    nodes = [
        helper.make_node("ReduceMean", [total], ["grey"], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["zero_"]),
        helper.make_node("Expand", ["zero_", "size"], ["zeros"]),
        helper.make_node("Loop", ["turns", "", "zeros"], ["products"], body=product),
        helper.make_node("ReduceMax", ["products"], ["still_zero"], keepdims=0),
        helper.make_node("Add", ["scores", "still_zero"], ["slow_scores"]),
    ]
    return nodes, [constant("nothing", 0, np.float32), constant("size", [512, 512]), constant("turns", 150)]


def slow_audio(name):
    slow, constants = products("mel")
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("Slice", ["mean", "zero", "three", "one"], ["first"]),
        helper.make_node("Add", ["first", "first"], ["scores"]),
        *slow,
        helper.make_node("Identity", ["slow_scores"], ["tags"]),
    ]
    constants += [constant("zero", [0]), constant("three", [3]), constant("one", [1])]
    card = without(AUDIO, "embedding")
    write(name, nodes, [tensor("mel", FLOAT, "N", 1, 4, 8)], [tensor("tags", FLOAT, "N", 3)], card, constants)


def slow(name):
    products_, constants = products("pixels")
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["scores"]),
        *products_,
        helper.make_node("Identity", ["slow_scores"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["tags"]),
    ]
    constants = [constant("white", 255, np.float32), *constants]
    outputs = [tensor("tags", FLOAT, "N", 3), tensor("embedding", FLOAT, "N", 3)]
    write(name, nodes, [tensor("frame", BYTE, "N", 6, 8, 3)], outputs, VIDEO, constants)


def endless(name, on):
    """`on` compares the picture's mean with 0: the loop turns for as long as that holds."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_"]), helper.make_node("Identity", ["old"], ["new"])],
        "turn",
        [tensor("turn", INT), tensor("is_on", TensorProto.BOOL), tensor("old", FLOAT)],
        [tensor("on_", TensorProto.BOOL), tensor("new", FLOAT)],
    )
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["scores"]),
        helper.make_node("ReduceMean", ["pixels"], ["grey"], keepdims=0),
        helper.make_node(on, ["grey", "nothing"], ["on"]),
        helper.make_node("Loop", ["", "on", "nothing"], ["still_nothing"], body=turn),
        helper.make_node("Add", ["scores", "still_nothing"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["tags"]),
    ]
    constants = [constant("white", 255, np.float32), constant("nothing", 0, np.float32)]
    outputs = [tensor("tags", FLOAT, "N", 3), tensor("embedding", FLOAT, "N", 3)]
    write(name, nodes, [tensor("frame", BYTE, "N", 6, 8, 3)], outputs, VIDEO, constants)


def sidecar(name, sections):
    """A sidecar in GStreamer's format, of sections with their keys and values."""
    # REUSE-IgnoreStart
    text = "# SPDX-License-Identifier: MPL-2.0\n"
    # REUSE-IgnoreEnd
    for title, values in ({"modelinfo": {"version": "1.0"}} | sections).items():
        text += f"[{title}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
    (HERE / f"{name}.onnx.modelinfo").write_text(text)


def sidecar_card(name, card):
    keys = {key.removeprefix("instruments."): value.replace("\n", "\\n") for key, value in card.items()}
    return {"instruments": keys | {"name": name}}


def third_party_picture(name, tensors):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["features", "features"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "features"], ["scores"]),
    ]
    outputs = [tensor("features", FLOAT, "N", 3), tensor("scores", FLOAT, "N", 3)]
    write(name, nodes, [tensor("x", FLOAT, "N", 3, 6, 8)], outputs, card=None)
    sidecar(name, tensors | sidecar_card(name, VIDEO))


def third_party_mel(name):
    nodes = [
        helper.make_node("ReduceMean", ["m"], ["features"], axes=[1, 3], keepdims=0),
        helper.make_node("Slice", ["features", "zero", "three", "one"], ["first"]),
        helper.make_node("Add", ["first", "first"], ["scores"]),
    ]
    constants = [constant("zero", [0]), constant("three", [3]), constant("one", [1])]
    write(name, nodes, [tensor("m", FLOAT, "N", 8, 4, 1)], [tensor("scores", FLOAT, "N", 3)], None, constants)
    sidecar(name, sidecar_card(name, without(AUDIO, "embedding")))


def fusion(name):
    nodes = [
        helper.make_node("ReduceMean", ["video"], ["picture"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["audio", "zero", "three", "one"], ["sound"]),
        helper.make_node("Split", ["present"], ["seen", "heard"], axis=1),
        helper.make_node("Mul", ["picture", "seen"], ["a"]),
        helper.make_node("Mul", ["sound", "heard"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["tags"]),
    ]
    inputs = [tensor("video", FLOAT, "N", "k", 3), tensor("audio", FLOAT, "N", 4), tensor("present", FLOAT, "N", 2)]
    constants = [constant("zero", [0]), constant("three", [3]), constant("one", [1])]
    write(name, nodes, inputs, [tensor("tags", FLOAT, "N", 3)], FUSION, constants)


def fusion_two(name, card):
    nodes = [
        helper.make_node("Mul", ["video", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["tags"], keepdims=0),
    ]
    inputs = [tensor("video", FLOAT, "N", 2, 3), tensor("audio", FLOAT, "N", 4), tensor("present", FLOAT, "N", 2)]
    constants = [constant("weights", [[1], [10]], np.float32), constant("one", [1])]
    write(name, nodes, inputs, [tensor("tags", FLOAT, "N", 3)], card, constants)


def logarithm(name, card):
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("Slice", ["mean", "zero", "three", "one"], ["first"]),
        helper.make_node("Log", ["first"], ["tags"]),
    ]
    constants = [constant("zero", [0]), constant("three", [3]), constant("one", [1])]
    outputs = [tensor("tags", FLOAT, "N", 3)]
    write(name, nodes, [tensor("mel", FLOAT, "N", 1, 4, 8)], outputs, card, constants)


def hidden(name, card):
    """Three values, as far as the values of the input tell."""
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[1, 3], keepdims=0),
        helper.make_node("ReduceMax", ["mel"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["zeroes"]),
        helper.make_node("Add", ["zeroes", "width"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["end"], to=INT),
        helper.make_node("Slice", ["mean", "zero", "end", "one"], ["tags"]),
    ]
    constants = [
        constant("nothing", 0, np.float32), constant("width", [3], np.float32), constant("zero", [0]), constant("one", [1]),
    ]
    outputs = [tensor("tags", FLOAT, "N", "C")]
    write(name, nodes, [tensor("mel", FLOAT, "N", 1, 4, 8)], outputs, card, constants)


def gather(name, card):
    """A table of one row of three, by an index made of the input."""
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["mean"], ["row"], to=INT),
        helper.make_node("Gather", ["table", "row"], ["tags"], axis=0),
    ]
    outputs = [tensor("tags", FLOAT, "N", 3)]
    table = [constant("table", [[1, 2, 3]], np.float32)]
    write(name, nodes, [tensor("mel", FLOAT, "N", 1, 4, 8)], outputs, card, table)


def without(card, key):
    return {k: v for k, v in card.items() if k != f"instruments.{key}"}


def fusion_endless(name):
    turn = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_"]), helper.make_node("Identity", ["old"], ["new"])],
        "turn",
        [tensor("turn", INT), tensor("is_on", TensorProto.BOOL), tensor("old", FLOAT)],
        [tensor("on_", TensorProto.BOOL), tensor("new", FLOAT)],
    )
    nodes = [
        helper.make_node("ReduceMean", ["video"], ["picture"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["audio", "zero", "three", "one"], ["sound"]),
        helper.make_node("Split", ["present"], ["seen", "heard"], axis=1),
        helper.make_node("Mul", ["picture", "seen"], ["a"]),
        helper.make_node("Mul", ["sound", "heard"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["scores"]),
        helper.make_node("ReduceMax", ["video"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "nothing"], ["on"]),
        helper.make_node("Loop", ["", "on", "nothing"], ["still_nothing"], body=turn),
        helper.make_node("Add", ["scores", "still_nothing"], ["tags"]),
    ]
    constants = [
        constant("zero", [0]), constant("three", [3]), constant("one", [1]), constant("nothing", 0, np.float32),
    ]
    inputs = [tensor("video", FLOAT, "N", "K", 3), tensor("audio", FLOAT, "N", 4), tensor("present", FLOAT, "N", 2)]
    write(name, nodes, inputs, [tensor("tags", FLOAT, "N", 3)], FUSION, constants)


def changed(card, key, value):
    return card | {f"instruments.{key}": value}


def main():
    four = "Guitar\nPiano\nDrums\nViolin"
    plain = without(AUDIO, "embedding")
    audio("audio")
    audio("any-length", changed(AUDIO, "mel.min-frames", "2"), frames="T")
    audio("fixed-length", changed(AUDIO, "mel.min-frames", "2"))
    audio("short-maximum", changed(AUDIO, "mel.min-frames", "9"), frames="T")
    audio("many-frames", changed(AUDIO, "frontend.patch-frames", str(2**36)), frames="T")
    video("large", height=60000, width=60000)
    audio("audio-single", batch=1)
    video("video")
    slow("slow")
    endless("endless", "Greater")
    endless("never", "GreaterOrEqual")
    inverse("inverse")
    slow_audio("slow-audio")
    video("varied")
    video("varied.int8", changed(VIDEO, "variant", "int8"))
    fusion("fusion")
    fusion_endless("fusion-endless")
    fusion_two("fusion-two", changed(FUSION, "fusion.frames", "2"))
    audio("third-party", card=None, mel="input_1", tags="dense_3", embedding=None)
    outputs = {"features": {"id": "embedding", "dir": "output"}, "scores": {"id": "tags", "dir": "output"}}
    third_party_picture("third-party-picture", {"x": {"dir": "input", "ranges": "0.0,1.0"}} | outputs)
    third_party_mel("third-party-mel")
    third_party_picture("no-ranges", outputs)
    third_party_picture("bad-ranges", {"x": {"ranges": "0.0,1.0;0.0,1.0"}} | outputs)
    third_party_picture("bad-tensor", {"input_1": {"ranges": "0.0,1.0"}} | outputs)
    audio("no-card", card=None)
    audio("version-2", changed(AUDIO, "version", "2"))
    audio("no-modality", without(AUDIO, "modality"))
    audio("bad-modality", changed(AUDIO, "modality", "smell"))
    audio("bad-bands", changed(AUDIO, "frontend.bands", "four"))
    video("bad-fit", changed(VIDEO, "frame.fit", "squeeze"))
    audio("other-bands", changed(AUDIO, "frontend.bands", "8"))
    audio("other-modality", VIDEO)
    fusion_two("other-frames", FUSION)
    audio("no-embedding", embedding=None)
    audio("labels", changed(AUDIO, "labels", four))
    hidden("hidden-labels", changed(plain, "labels", four))
    logarithm("nan", plain)
    gather("fails", plain)
    write(
        "operator",
        [helper.make_node("Strum", ["mel"], ["tags"])],
        [tensor("mel", FLOAT, "N", 1, 4, 8)],
        [tensor("tags", FLOAT, "N", 3)],
        plain,
        valid=False,
    )
    whole = (HERE / "audio.onnx").read_bytes()
    (HERE / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (HERE / "text.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    (HERE / "empty.onnx").write_bytes(b"")


if __name__ == "__main__":
    main()
