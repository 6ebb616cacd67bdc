# SPDX-License-Identifier: MPL-2.0
"""What there was before any training: YAMNet's and EfficientNet-Lite2's own classes, and the mean of both.

    python -m evaluate baselines --manifest VIDEOS/manifest.csv --yamnet TEACHERS/yamnet.tflite --out zero-shot.jsonl

Sound: each label's best AudioSet class in every 0.96 s, the mean over time. Pictures: ImageNet's probabilities summed by label
(the oboe's for the clarinet, which ImageNet lacks), the mean of one picture a second. Fused: both brought to a sum of 1, their mean.
"""

import argparse
import pathlib

import numpy as np
import torch
from tqdm import tqdm

from train.labels import LABELS
from train.networks import yamnet as network
from train.pictures import lite

from . import decode, results, tables
from .chain import cached


def share(scores):
    return scores / max(float(scores.sum()), 1e-9)


class Baselines:
    def __init__(self, yamnet, cache):
        self.yamnet, self.groups = network.Yamnet(yamnet), network.groups(yamnet.with_name("yamnet_class_map.csv"))
        self.lite, self.cache = lite.pretrained(2), cache and cache / "zero-shot"

    def sound(self, path):
        samples = decode.sound(path, 16000)
        return {} if samples is None else {"scores": network.by_label(self.yamnet(samples), self.groups).mean(0)}

    def pictures(self, path):
        images = decode.pictures(path, self.lite.network.size)
        if images is None:
            return {}
        with torch.no_grad():
            network, batches = self.lite.network, torch.from_numpy(images).split(8)
            tags = [self.lite.head(network(network.normalise(batch))).exp()[:, : len(LABELS)] for batch in batches]
        return {"scores": torch.cat(tags).mean(0).numpy()}

    def tag(self, path):
        """{source: scores [13]} of one file."""
        heard = cached(self.cache, path, "sound", lambda: self.sound(path)).get("scores")
        seen = cached(self.cache, path, "pictures", lambda: self.pictures(path)).get("scores")
        found = {source: scores for source, scores in (("audio", heard), ("video", seen)) if scores is not None}
        if found:
            found["fused"] = np.mean([share(scores) for scores in found.values()], axis=0)
        return found


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate baselines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--yamnet", type=pathlib.Path, required=True, help="yamnet.tflite, with yamnet_class_map.csv beside it")
    parser.add_argument("--cache", type=pathlib.Path, help="folder for what was said of each file")
    parser.add_argument("--out", type=pathlib.Path, help="JSON lines to write")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    baselines = Baselines(args.yamnet, args.cache)
    items = results.manifest(args.manifest)
    found = {item.path.name: results.Result(clip=baselines.tag(item.path)) for item in tqdm(items, "zero-shot", mininterval=5)}
    if args.out:
        args.out.write_text("".join(results.line(item.path, source, scores) + "\n" for item in items for source, scores in found[item.path.name].clip.items()))
    print(tables.head(), *tables.rows("zero-shot", items, found), sep="\n")
