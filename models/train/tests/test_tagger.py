# SPDX-License-Identifier: MPL-2.0
"""The reading of CED's rows, the product of scores, and copies as in people's videos."""

import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np

from train.features import recorded as augment
from train.fusion.product import Product
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


class ProductOfOdds(unittest.TestCase):
    def fused(self, looks, sounds, present, **calibration):
        module = Product(["a", "b", "c"], ["a", "b"], ["a", "c"], 0.5, **calibration)
        return module(torch.tensor([[looks]]), torch.tensor([sounds]), torch.tensor([present]))[0].tolist()

    def test_agreement_disagreement_and_labels_of_one_model(self):
        a, b, c = self.fused([0.8, 0.3], [0.2, 0.6], [1.0, 1.0])
        # Odds of 4 and 1/4: even. The other two labels are known to one model each.
        np.testing.assert_allclose([a, b, c], [0.5, 0.3, 0.6], atol=1e-5)

    def test_never_surer_than_the_surer_parent_where_they_disagree(self):
        a, _, _ = self.fused([0.9, 0.0], [0.4, 0.0], [1.0, 1.0], scale=3.0, offset=2.0)
        self.assertAlmostEqual(a, 0.9, places=5)

    def test_at_most_the_product_of_their_odds_where_they_agree(self):
        a, _, _ = self.fused([0.9, 0.0], [0.8, 0.0], [1.0, 1.0], scale=3.0, offset=2.0)
        self.assertAlmostEqual(a, 36 / 37, places=5)  # odds of 9 and of 4

    def test_an_absent_model_says_nothing(self):
        np.testing.assert_allclose(self.fused([0.9, 0.3], [0.2, 0.6], [0.0, 1.0]), [0.2, 0, 0.6], atol=1e-5)
        np.testing.assert_allclose(self.fused([0.9, 0.3], [0.2, 0.6], [1.0, 0.0]), [0.9, 0.3, 0], atol=1e-5)


class Augment(unittest.TestCase):
    def test_the_other_sound_is_so_many_decibels_below(self):
        rng = np.random.default_rng(0)
        samples, other = rng.normal(size=1000), rng.normal(size=300)
        added = augment.mixed(samples, other, -20) - samples
        self.assertAlmostEqual(20 * np.log10(added.std() / samples.std()), -20, delta=0.2)


if __name__ == "__main__":
    unittest.main()
