# SPDX-License-Identifier: MPL-2.0
"""The reading of CED's rows, and copies as in people's videos."""

import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np

from train.features import recorded as augment
from train.networks import ced
from train.sound import tagger


class Head(unittest.TestCase):
    def test_a_label_is_the_log_sum_exp_of_its_rows(self):
        torch.manual_seed(0)
        last, names = ced.rows(), [f"row {i}" for i in range(527)]
        head = tagger.Head(last, names, {"a": ("row 3", "row 5"), "b": ("row 526",)})
        embedding = torch.randn(4, ced.WIDTH)
        rows = last(embedding)
        torch.testing.assert_close(head(embedding), torch.stack([torch.logsumexp(rows[:, [3, 5]], 1), rows[:, 526]], 1))

    def test_any_number_of_frames(self):
        network = ced.Ced().eval()
        with torch.no_grad():
            for frames in (16, 100, 1008):
                self.assertEqual(network(torch.randn(2, 1, 64, frames)).shape, (2, ced.WIDTH))


class Augment(unittest.TestCase):
    def test_the_other_sound_is_so_many_decibels_below(self):
        rng = np.random.default_rng(0)
        samples, other = rng.normal(size=1000), rng.normal(size=300)
        added = augment.mixed(samples, other, -20) - samples
        self.assertAlmostEqual(20 * np.log10(added.std() / samples.std()), -20, delta=0.2)


if __name__ == "__main__":
    unittest.main()
