# SPDX-License-Identifier: MPL-2.0
"""Training's own gradient, and its cuts of a recording against the plugin's."""

import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np
import torch.nn.functional as F

from evaluate import front_end
from train.features.frontend import CHOI, HAN, segments
from train.networks.xception import Depthwise


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
