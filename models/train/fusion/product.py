# SPDX-License-Identifier: MPL-2.0
"""The product of both parents' odds, label by label, as one weighted geometric mean that is then calibrated.

    python -m train fusion.product --audio-model ced-yt8m13.onnx --video-model efficientnet-lite-yt8m13.onnx --out fusion-yt8m13.onnx
    python -m train fusion.product --audio-model ced-audioset.onnx --video-model efficientnet-lite-yt8m13.onnx --imagenet --out fusion-audioset.onnx

`sigmoid(scale * (w * log-odds of the sound + (1 - w) * log-odds of the pictures) + offset)`, never above the surer parent where they
disagree; where both give a label more than 0.5, never above the product of their odds, which is what two independent witnesses say.
The parents' heads are part of the graph. The pictures' score is the mean over the frames. With one modality absent the
result is the other's own score, and a label that one parent does not know rests on the other one. `--imagenet` reads
ImageNet's instruments from the picture model's rows instead of its own labels.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..export import card, half
from ..export.session import session
from ..pictures import lite
from .parents import head

LEAST = 1e-6
PROVENANCE = "weighted product of the odds, weight and calibration fitted on real videos by five folds:"
# ImageNet's rows of instruments by AudioSet's names; those that AudioSet has no name for by ImageNet's. 1000 is lite's clarinet.
IMAGENET = {
    "Accordion": (401,),
    "Guitar": (402, 546),
    "Acoustic guitar": (402,),
    "Electric guitar": (546,),
    "Banjo": (420,),
    "Bassoon": (432,),
    "Cello": (486,),
    "Chime": (494,),
    "Trumpet": (513,),
    "Drum": (541,),
    "Flute": (558,),
    "French horn": (566,),
    "Gong": (577,),
    "Piano": (579, 881),
    "Harmonica": (593,),
    "Harp": (594,),
    "Maraca": (641,),
    "Marimba, xylophone": (642,),
    "Oboe": (683,),
    "Ocarina": (684,),
    "Organ": (687,),
    "Panpipe": (699,),
    "Saxophone": (776,),
    "Steelpan": (822,),
    "Trombone": (875,),
    "Violin, fiddle": (889,),
    "Clarinet": (1000,),
}
# Drumsticks: no instrument of their own, and no evidence against one.
SIMILAR = {542}


def index(labels, own):
    """(positions in `own` of each of `labels`, 1 where it has one and 0 elsewhere)."""
    return torch.tensor([own.index(name) if name in own else 0 for name in labels]), torch.tensor([float(name in own) for name in labels])


class Product(nn.Module):
    """`looks` [N,k,Lv] and `sounds` [N,La] (scores), `present` [N,2] (video, audio) to `tags` [N,L]."""

    def __init__(self, labels, video, audio, weight, scale=1.0, offset=0.0):
        super().__init__()
        for name, own in (("video", video), ("audio", audio)):
            positions, known = index(labels, own)
            self.register_buffer(f"{name}_positions", positions), self.register_buffer(f"{name}_known", known)
        for name, value in (("weight", weight), ("scale", scale), ("offset", offset)):
            self.register_buffer(name, torch.tensor(float(value)))

    def forward(self, looks, sounds, present):
        seen = looks.mean(1).index_select(1, self.video_positions).clamp(LEAST, 1 - LEAST)
        heard = sounds.index_select(1, self.audio_positions).clamp(LEAST, 1 - LEAST)
        sees, hears = present[:, :1] * self.video_known, present[:, 1:] * self.audio_known
        by_sound, by_pictures = torch.logit(heard), torch.logit(seen)
        odds = self.scale * (self.weight * by_sound + (1 - self.weight) * by_pictures) + self.offset
        most = torch.maximum(by_sound, by_pictures) + torch.minimum(by_sound, by_pictures).clamp(min=0)
        both = torch.sigmoid(torch.minimum(odds, most))
        return sees * hears * both + sees * (1 - hears) * seen + hears * (1 - sees) * heard


class Imagenet(nn.Module):
    """`embedding` [N,1280] to the scores of ImageNet's instruments, each against everything that is no instrument."""

    def __init__(self, tagger):
        super().__init__()
        self.rows, self.slope, self.offset = tagger.head.rows, tagger.slope, tagger.offset
        every = sorted({row for own in IMAGENET.values() for row in own} | SIMILAR)
        pool = torch.zeros(self.rows.out_features, len(IMAGENET) + 1)
        for column, own in enumerate(IMAGENET.values()):
            pool[list(own), column] = 1
        pool[:, -1] = 1
        pool[every, -1] = 0
        self.register_buffer("pool", pool)

    def forward(self, embedding):
        log_p = lite.pooled(self.rows(embedding), self.pool)
        return torch.sigmoid(self.slope * (log_p[:, :-1] - log_p[:, -1:]) + self.offset)


def imagenet_head(path):
    """The ONNX head of Imagenet for an exported picture model; its calibration is that of the model's own labels."""
    tagger, _ = lite.released(path)
    tagger.slope, tagger.offset = calibration(path, tagger)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = f"{folder}/head.onnx"
        torch.onnx.export(
            Imagenet(tagger).eval(),
            (torch.rand(2, 1280),),
            file,
            input_names=["embedding"],
            output_names=["tags"],
            dynamic_axes={"embedding": {0: "N"}, "tags": {0: "N"}},
            opset_version=card.OPSET,
            dynamo=False,
        )
        return onnx.load(file)


def calibration(path, tagger):
    """(slope, offset) of an exported picture model, from what its head and the bare rows say of random embeddings."""
    embeddings = torch.rand(64, 1280, generator=torch.Generator().manual_seed(0)) * 2
    with torch.no_grad():
        bare = lite.against_none(tagger.head(embeddings)).flatten().numpy().astype(float)
    tags = session(head(path)).run(["tags"], {"embedding": embeddings.numpy()})[0].flatten().astype(float)
    known = (tags > 1e-4) & (tags < 1 - 1e-4)
    return tuple(np.polyfit(bare[known], np.log(tags[known] / (1 - tags[known])), 1))


def compose(core, heads, sizes):
    """The ONNX graph of a Product behind both parents' heads: inputs `video` [N,k,Dv], `audio` [N,Da], `present`."""
    graph = core.graph
    looks = next(port for port in graph.input if port.name == "looks").type.tensor_type.shape.dim[2].dim_value
    nodes, outputs = [], {"video": "seen", "audio": "sounds"}
    for name, model in heads.items():
        part = onnx.compose.add_prefix(model, f"{name}.").graph
        entry = (
            helper.make_node("Reshape", ["video", "video.rows"], ["video.embedding"])
            if name == "video"
            else helper.make_node("Identity", ["audio"], ["audio.embedding"])
        )
        nodes += [entry, *part.node, helper.make_node("Identity", [f"{name}.tags"], [outputs[name]])]
        graph.initializer.extend(part.initializer)
    constants = {"video.rows": [-1, sizes["video"]], "video.first": [0], "video.last": [2], "video.labels": [looks]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items())
    nodes += [
        helper.make_node("Shape", ["video"], ["video.shape"]),
        helper.make_node("Slice", ["video.shape", "video.first", "video.last"], ["video.items"]),
        helper.make_node("Concat", ["video.items", "video.labels"], ["video.out"], axis=0),
        helper.make_node("Reshape", ["seen", "video.out"], ["looks"]),
        *graph.node,
    ]
    ports = [
        helper.make_tensor_value_info("video", TensorProto.FLOAT, ["N", "k", sizes["video"]]),
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["N", sizes["audio"]]),
        next(port for port in graph.input if port.name == "present"),
    ]
    for field, values in ((graph.node, nodes), (graph.input, ports)):
        values = [type(v).FromString(v.SerializeToString()) for v in values]
        del field[:]
        field.extend(values)
    onnx.checker.check_model(core, full_check=True)
    return core


def size(path):
    """Values of an embedding."""
    port = next(o for o in onnx.load(path).graph.output if o.name == "embedding")
    return port.type.tensor_type.shape.dim[1].dim_value


def export(args):
    cards = {"video": card.read(args.video_model), "audio": card.read(args.audio_model)}
    heads = {"video": imagenet_head(args.video_model) if args.imagenet else head(args.video_model), "audio": head(args.audio_model)}
    sizes = {"video": size(args.video_model), "audio": size(args.audio_model)}
    own = {"video": list(IMAGENET) if args.imagenet else cards["video"]["labels"].split("\n"), "audio": cards["audio"]["labels"].split("\n")}
    labels = list(dict.fromkeys(own["audio"] + own["video"]))
    module = Product(labels, own["video"], own["audio"], args.weight, args.scale, args.offset).eval()
    generator = torch.Generator().manual_seed(0)
    looks, sounds = torch.rand(4, 5, len(own["video"]), generator=generator), torch.rand(4, len(own["audio"]), generator=generator)
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    described = card.describe(
        args.name,
        "fusion",
        "",
        "MPL-2.0",
        f"{PROVENANCE} {cards['video']['name']} and {cards['audio']['name']}",
        args.metrics,
        labels="\n".join(labels),
        fusion={"video": cards["video"]["embedding"], "audio": cards["audio"]["embedding"], "frames": "any"},
    )
    card.export(module, {"looks": looks, "sounds": sounds, "present": present}, ["tags"], args.out, described, {"looks": {1: "k"}})
    core = compose(onnx.load(args.out), heads, sizes)
    rng = np.random.default_rng(0)
    frames, sound = (np.abs(rng.standard_normal(shape)).astype(np.float32) for shape in ((4, 5, sizes["video"]), (4, sizes["audio"])))
    whole = session(core).run(["tags"], {"video": frames, "audio": sound, "present": present.numpy()})[0]
    looks = session(heads["video"]).run(None, {"embedding": frames.reshape(20, -1)})[0].reshape(4, 5, -1)
    sounds = session(heads["audio"]).run(None, {"embedding": sound})[0]
    with torch.no_grad():
        error = np.abs(whole - module(torch.from_numpy(looks), torch.from_numpy(sounds), present).numpy()).max()
    if not error < 1e-4:
        raise ValueError(f"{args.out}: the graph differs from its parts by {error:.1e}, more than 1e-4")
    onnx.save(core, args.out)
    half.store(args.out)
    print(f"{args.out}: {len(labels)} labels, {args.out.stat().st_size / 1e6:.2f} MB")


def main(argv):
    parser = argparse.ArgumentParser(prog="train fusion.product", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio-model", type=pathlib.Path, required=True)
    parser.add_argument("--video-model", type=pathlib.Path, required=True)
    parser.add_argument("--name", default="fusion-yt8m13")
    parser.add_argument("--imagenet", action="store_true", help="pictures by ImageNet's instruments")
    parser.add_argument("--weight", type=float, default=0.6, help="of the sound")
    parser.add_argument("--scale", type=float, default=2.5, help="of the mean log-odds")
    parser.add_argument("--offset", type=float, default=0.75)
    parser.add_argument("--metrics", default="")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    export(parser.parse_args(argv))
