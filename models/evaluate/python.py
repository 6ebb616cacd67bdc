# SPDX-License-Identifier: MPL-2.0
"""Tag the files of a manifest with ONNX models in Python, by the plugin's protocol, and print the figures.

    python -m evaluate python --manifest VIDEOS/manifest.csv --audio-model choi-yt8m13.onnx \\
        --video-model inception-yt8m13.onnx --fusion-model fusion-inception-choi-k20.onnx --segmentation uniform

A file's sound gets the mean of its patches' scores, its pictures (one a second) the mean of theirs; with --frames K, of K of
them, spread evenly. The fusion model gets the mean of the sound's embeddings and K pictures' (20 unless told otherwise).
Files of --out are like those of instruments tag --json, clip-level lines alone.
"""

import argparse
import pathlib

import numpy as np
from tqdm import tqdm

from . import chain, results, tables


def tag(path, models, args):
    """{source: scores [13]} of one file."""
    found, seen, heard = {}, None, None
    if models["audio"] and args.without != "audio" and (heard := chain.hear(models["audio"], path, args.segmentation, args.partial, args.window, args.stride)):
        lengths = heard["spans"][:, 1] - heard["spans"][:, 0]
        found["audio"] = np.average(heard["tags"], axis=0, weights=lengths)
    if models["video"] and args.without != "video" and (seen := chain.look(models["video"], path)):
        tags = seen["tags"]
        found["video"] = tags[chain.spread(len(tags), min(args.frames or len(tags), len(tags)))].mean(0)
    if models["fusion"] and (seen or heard):
        found["fused"] = chain.fuse(models["fusion"], seen, heard, args.frames or 20)
    return found


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate python", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--audio-model", type=pathlib.Path)
    parser.add_argument("--video-model", type=pathlib.Path)
    parser.add_argument("--fusion-model", type=pathlib.Path)
    parser.add_argument("--without", choices=("audio", "video"), help="as if the files had no such stream")
    parser.add_argument("--segmentation", choices=("sliding", "central", "uniform", "ten"), default="sliding")
    parser.add_argument("--partial", choices=("repeat", "zero"), default="repeat", help="what fills a patch that the sound does not")
    parser.add_argument("--window", type=float, default=5, help="seconds of sound in a sliding patch")
    parser.add_argument("--stride", type=float, default=5, help="seconds between two sliding patches")
    parser.add_argument("--frames", type=int, help="pictures a file, the paper's k")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=pathlib.Path, help="folder for what the models said of each file")
    parser.add_argument("--name", default="python", help="of the rows")
    parser.add_argument("--out", type=pathlib.Path, help="JSON lines to write")
    args = parser.parse_args(argv)
    models = {
        kind: path and chain.Model(path, args.cache, args.threads)
        for kind, path in (("audio", args.audio_model), ("video", args.video_model), ("fusion", args.fusion_model))
    }
    items = results.manifest(args.manifest)
    lines, found = [], {}
    for item in tqdm(items, args.name, mininterval=5):
        clip = tag(item.path, models, args)
        found[item.path.name] = results.Result(clip=clip)
        lines += [results.line(item.path, source, scores) for source, scores in clip.items()]
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print(tables.head(), *tables.rows(args.name, items, found), sep="\n")
