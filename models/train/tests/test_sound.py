# SPDX-License-Identifier: MPL-2.0
"""How training begins, steps and continues, its own gradient, and its cuts of a recording against the plugin's."""

import pathlib
import tempfile
import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np
import soundfile
import torch.nn.functional as F

from evaluate import front_end
from train.corpus import real
from train.export.session import session
from train.features.frontend import CHOI, HAN, segments
from train.networks.choi import Choi
from train.networks.han import Han
from train.networks.xception import Depthwise
from train.sound import material, tune
from train.teaching import Teaching

MODELS = pathlib.Path(__file__).parents[2]


class Gradient(unittest.TestCase):
    def test_depthwise_equals_torch(self):
        torch.manual_seed(0)
        x = torch.randn(2, 8, 10, 30).to(memory_format=torch.channels_last).requires_grad_()
        weight = torch.randn(8, 1, 3, 24, requires_grad=True)
        gradient = torch.randn(2, 8, 8, 7)
        ours = torch.autograd.grad(Depthwise.apply(x, weight), (x, weight), gradient)
        theirs = torch.autograd.grad(F.conv2d(x, weight, groups=8), (x, weight), gradient)
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class Begin(unittest.TestCase):
    def test_training_begins_with_what_was_exported(self):
        """In evaluation the released model's scores; the statistics of the batch norms are those of the patches."""
        torch.manual_seed(0)
        for name, make in (("choi", Choi), ("han", Han)):
            network = make()
            bands = network.frontend["bands"]
            patches = torch.randn(6, 1, bands, 192 if name == "choi" else 43) * 15 - 30
            released = MODELS / f"{name}-yt8m13.onnx"
            network.begin(released, patches)
            own = session(str(released))
            mel = torch.randn(2, 1, bands, own.get_inputs()[0].shape[3]) * 15 - 30
            with torch.no_grad():
                tags = network.eval().exported()(mel)[0].numpy()
            np.testing.assert_allclose(tags, own.run(["tags"], {"mel": mel.numpy()})[0], atol=1e-5)
            norm = next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
            self.assertGreater((norm.running_var - 1).abs().max().item(), 0.01)


class Mixtures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.items = []
        for n, label in enumerate(("guitar", "piano", "drums", "violin")):
            path = pathlib.Path(folder.name) / f"{label}.wav"
            soundfile.write(path, 0.5 * np.sin(np.arange(48000) * 0.05 * (n + 1)), 16000)
            self.items.append(real.Item(path, label, (), "web", f"web_{n}", 0))

    def test_what_is_mixed_is_of_other_labels_and_is_told(self):
        rng = np.random.default_rng(1)
        guitar, *others = self.items
        samples, counts = material.sound(guitar.path), set()
        for _ in range(60):
            changed, mixed = material.changed(samples, guitar, others, [], rng)
            self.assertEqual(len(changed), len(samples))
            paths = [path for path, _, _ in mixed]
            self.assertEqual(len(paths), len(set(paths)))
            self.assertTrue(set(paths) <= {str(item.path) for item in others})
            self.assertTrue(all(material.LEVELS[0] <= level <= material.LEVELS[1] and start == 0 for _, start, level in mixed))
            counts.add(len(mixed))
        self.assertLessEqual({0, 1, 2}, counts)
        self.assertLessEqual(max(counts), 3)

    def test_each_label_of_a_mixture_is_a_target_the_quiet_ones_less(self):
        heard = torch.full((13,), 0.02)
        items = {str(item.path): item for item in self.items}
        guitar, piano = (str(item.path) for item in self.items[:2])
        plain = {(guitar, 0): heard, (piano, 0): heard}
        y, w = tune.Material.mixture(items, plain, (guitar, 0, ((piano, 0, -10.0),)))
        self.assertEqual(y[:3].tolist(), [1, 1, 0])
        alone, _ = tune.Material.mixture(items, plain, (guitar, 0, ()))
        self.assertEqual(alone[:3].tolist(), [1, 0, 0])
        self.assertAlmostEqual(float(w[1] / w[0]), 1 - 10 / tune.QUIET, places=5)


class Teaches(unittest.TestCase):
    def test_a_training_continues_where_it_stopped(self):
        """The checkpoint has the time, the steps and the mean; when the time is over nothing is trained."""
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            path, wanted = pathlib.Path(folder, "run.pt"), torch.ones(1)

            def teach(minutes):
                student = torch.nn.Linear(1, 1)
                teaching = Teaching(student, {}, path, 0.05, minutes, decay=0.9, warmup=1)
                teaching.run(lambda: (student(torch.ones(1)) - wanted).square(), lambda average: {"hit1": average(torch.ones(1)).item()}, 50)
                return teaching

            first = teach(0.005)
            self.assertGreater(first.steps, 20)
            self.assertLess(abs(first.average(torch.ones(1)).item() - 1), 0.05)
            again = teach(0.005)
            self.assertEqual((again.steps, again.seconds), (first.steps, first.seconds))
            torch.testing.assert_close(again.average.weight, first.average.weight)
            self.assertTrue(path.with_suffix(".csv").read_text().startswith("step,minutes,loss,hit1"))


class Segments(unittest.TestCase):
    def test_equal_those_of_the_evaluation(self):
        for frontend, ours, theirs in ((CHOI, "central", "central"), (CHOI, "uniform", "uniform"), (HAN, "spread", "ten")):
            for seconds in (0.8, 31.7, 40):
                samples = np.random.default_rng(1).standard_normal(int(seconds * frontend["rate"])).astype(np.float32)
                mels = segments(samples, frontend, ours)
                expected = front_end.patches(samples, frontend, theirs)[0][:, 0]
                self.assertEqual(mels.shape, expected.shape, f"{ours}, {seconds} s")
                # Han's frames at the ends of a patch see zeros here and the recording there.
                inner = slice(1, -1) if ours == "spread" else slice(None)
                np.testing.assert_allclose(mels[..., inner], expected[..., inner], atol=0.05, err_msg=f"{ours}, {seconds} s")


if __name__ == "__main__":
    unittest.main()
