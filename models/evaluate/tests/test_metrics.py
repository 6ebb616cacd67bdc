# SPDX-License-Identifier: MPL-2.0
"""`cd models && python -m unittest discover -s evaluate/tests -t .`"""

import unittest

import numpy as np

from evaluate import metrics


class Metrics(unittest.TestCase):
    def test_hits_count_the_right_label_among_the_best(self):
        scores = [[0.5, 0.3, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4]]
        self.assertEqual(metrics.hits(scores, [1, 0], 1).tolist(), [False, False])
        self.assertEqual(metrics.hits(scores, [1, 0], 3).tolist(), [True, False])
        # Without any opinion the first label is said, not the right one.
        self.assertEqual(metrics.hits(np.zeros((2, 4)), [0, 3], 1).tolist(), [True, False])

    def test_f1_is_the_mean_over_the_labels_that_occur(self):
        truth, best = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 3])
        # 0: 2*1/(1+2); 1: 2*1/(2+1); 2: 0; label 3 never occurs, but was said in place of 2.
        self.assertAlmostEqual(metrics.macro_f1(best, truth, 5), (2 / 3 + 2 / 3 + 0) / 3)

    def test_average_precision_is_the_mean_of_the_precisions_at_each_relevant_item(self):
        self.assertAlmostEqual(metrics.average_precision([0.9, 0.8, 0.7, 0.1], [True, False, True, False]), (1 + 2 / 3) / 2)
        scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.6]])
        # The second label ranks its one item first, the first ranks it last; the third never occurs.
        self.assertAlmostEqual(metrics.mean_average_precision(scores, [[0, 0, 0], [1, 1, 0]]), (1 / 2 + 1) / 2)

    def test_calibration_error_weighs_the_gaps_of_the_bins(self):
        # Bin 0.9 to 1: two of four right at 0.95; bin 0.2 to 0.3: one of one right at 0.25.
        error = metrics.calibration_error([0.95] * 4 + [0.25], [1, 1, 0, 0, 1])
        self.assertAlmostEqual(error, (4 * 0.45 + 1 * 0.75) / 5)
        self.assertAlmostEqual(metrics.calibration_error([1.0, 1.0], [1, 1]), 0)

    def test_intervals_come_from_groups_and_hold_the_value(self):
        right = np.array([1, 0] * 50)
        low, high = metrics.interval(lambda rows: right[rows].mean(), range(100))
        # The normal approximation: 0.5 -+ 1.96 * sqrt(0.25 / 100).
        self.assertAlmostEqual(low, 0.402, delta=0.03)
        self.assertAlmostEqual(high, 0.598, delta=0.03)
        # Ten groups of ten equal rows are worth ten rows.
        grouped = np.repeat([1, 0] * 5, 10)
        low, high = metrics.interval(lambda rows: grouped[rows].mean(), np.repeat(range(10), 10))
        self.assertLess(low, 0.25)
        self.assertGreater(high, 0.75)
        self.assertEqual(metrics.interval(lambda rows: 1.0, range(3)), (1.0, 1.0))


if __name__ == "__main__":
    unittest.main()
