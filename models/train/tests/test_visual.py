# SPDX-License-Identifier: MPL-2.0
"""Inception v3 against torchvision's, the stream of frames, and weights stored in fewer bits: `python -m unittest train.tests.test_visual`."""

import pathlib
import tempfile
import unittest

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch import nn

from train import half, inception, pictures, stream
from train.labels import CLASSES, LABELS


class Inception(unittest.TestCase):
    def test_equals_torchvision(self):
        from torchvision.models import inception_v3

        torch.manual_seed(0)
        theirs = inception_v3(weights=None, init_weights=False, transform_input=False).eval()
        theirs.fc = nn.Identity()
        for norm in theirs.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
        ours = inception.Inception().load(inception.folded(theirs)).eval()
        for pool in ours.modules():
            if isinstance(pool, nn.AvgPool2d):
                pool.count_include_pad = True  # as torchvision counts
        x = torch.randn(1, 3, 224, 224)
        with torch.no_grad():
            expected = theirs(x)
            error = (ours(x) - expected).abs().max() / expected.abs().max()
        self.assertLess(error, 1e-5)


class Stream(unittest.TestCase):
    def test_nothing_held_out_is_shown_and_only_own_labels_are_told(self):
        """What is held out is the only picture with much green and blue at once."""
        colours = {"none": (0, 60, 0), "harp": (0, 120, 0), "mandolin": (0, 0, 200)} | {label.lower(): (200, 0, 0) for label in LABELS}
        with tempfile.TemporaryDirectory() as folder:
            for name, colour in colours.items():
                path = pathlib.Path(folder, "images", name)
                path.mkdir(parents=True)
                for source in ("a", "held"):
                    Image.new("RGB", (90, 80), (0, 255, 255) if source == "held" else colour).save(path / f"{source}_1.jpg")
            training, _ = pictures.split(pictures.scan(folder), ["held"])
            others = stream.outside(training, folder, ["held"], [])
            self.assertEqual([(p.folder, p.source, p.target) for p in others], [("mandolin", "a", stream.UNKNOWN)])
            (frames,), targets = stream.Stream(training, others, 0, (32, "stretch", 1.0)).block(60)
        middle = frames[:, 16, 16].float()
        self.assertTrue(((middle[:, 1] < 200) | (middle[:, 2] < 200)).all())
        self.assertEqual(set(targets.tolist()) - set(range(len(CLASSES))), {stream.UNKNOWN})

    def test_a_ring_keeps_the_latest(self):
        ring, rng = stream.Ring(6), np.random.default_rng(0)
        ring.add(torch.arange(4))
        self.assertEqual(sorted(ring.draw(rng, 4)[0].tolist()), [0, 1, 2, 3])
        ring.add(torch.arange(4, 8))
        self.assertEqual(sorted(ring.draw(rng, 6)[0].tolist()), [2, 3, 4, 5, 6, 7])


class Stored(unittest.TestCase):
    def test_weights_come_back(self):
        """The identity makes the matrix visible: each weight is back to half a step, with 4 bits the largest of a group to one."""
        torch.manual_seed(0)
        matrix = nn.Linear(192, 180)
        x = torch.eye(192)
        for bits, error in ((16, 5e-4), (8, 5e-3), (4, 0.13)):
            with self.subTest(bits=bits), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "matrix.onnx")
                torch.onnx.export(matrix, (x,), str(path), input_names=["x"], opset_version=17, dynamo=False)
                half.store(path, bits)
                found = onnxruntime.InferenceSession(str(path)).run(None, {"x": x.numpy()})[0]
                expected = matrix(x).detach().numpy()
                self.assertLess(np.abs(found - expected).max(), error * matrix.weight.abs().max().item())
                self.assertLess(path.stat().st_size, 192 * 180 * bits / 8 + 5000)


if __name__ == "__main__":
    unittest.main()
