# SPDX-License-Identifier: MPL-2.0
"""The figures of real videos."""

import unittest

import numpy as np

from evaluate import wild
from train.corpus.wild import Video
from train.labels import LABELS

VIDEOS = [
    Video("a.mp4", "piano", frozenset({"Piano", "Guitar"}), "one"),
    Video("b.mp4", "drums", frozenset({"Drums"}), "two"),
    Video("c.mp4", "ukulele", frozenset(), "two"),
    Video("d.mp4", "none", frozenset(), "three"),
]


def scores(**shown):
    return np.array([shown.get(label, 0.0) for label in LABELS])


class Wild(unittest.TestCase):
    def setUp(self):
        found = [scores(Piano=0.9), scores(Drums=0.6, Guitar=0.3), scores(Guitar=0.8), scores(Piano=0.29)]
        self.figures = wild.figures(VIDEOS, np.array(found))
        self.every = np.arange(len(VIDEOS))

    def figure(self, name, rows=None):
        return self.figures[name](self.every if rows is None else np.array(rows))

    def test_precision_and_recall_are_of_all_tags_of_videos_with_a_label(self):
        # Piano and drums are right, the guitar beside the drums is not; the guitar beside the piano is missing.
        self.assertAlmostEqual(self.figure("precision"), 200 / 3)
        self.assertAlmostEqual(self.figure("recall"), 200 / 3)
        self.assertAlmostEqual(self.figure("F1"), 200 / 3)
        self.assertEqual((self.figure("named shown"), self.figure("a wrong one shown")), (100, 50))

    def test_several_and_other_instruments(self):
        # The drums alone, with the guitar.
        self.assertEqual(self.figure("solos: a wrong one shown"), 100)
        self.assertEqual((self.figure("several: precision"), self.figure("several: recall")), (100, 50))
        self.assertEqual(self.figure("other instruments: a wrong name"), 100)
        self.assertTrue(np.isnan(self.figure("several: recall", [1, 2])))

    def test_calibration_is_of_the_best_score(self):
        self.assertAlmostEqual(self.figure("calibration error"), 100 * (0.1 + 0.4) / 2)

    def test_calibrated_scores_show_an_error_too(self):
        found = {video.file: scores(Piano=0.5) for video in VIDEOS}
        # Of two files of 0.5 none, one or both are right: errors of 50, 0 and 50.
        self.assertRegex(wild.chance(found, VIDEOS), r"2 videos would show an error of 2[3-7]\.\d \(0–50\)")

    def test_the_peers_rule(self):
        heard, seen = scores(Piano=0.02, Guitar=0.01), scores(Piano=0.4)
        joined = wild.joined(heard, seen)
        self.assertAlmostEqual(joined.sum(), 1)
        self.assertAlmostEqual(joined[LABELS.index("Piano")], 1)
        # Pictures that are missing leave the sound's order and shares.
        np.testing.assert_allclose(wild.joined(heard, None), heard / 0.03)

    def test_audioset_s_names_count_for_the_label_that_they_belong_to(self):
        found = wild.scores([{"label": "Guitar", "score": 0.2}, {"label": "Acoustic guitar", "score": 0.7}, {"label": "Ukulele", "score": 0.9}])
        np.testing.assert_allclose(found, scores(Guitar=0.7))


if __name__ == "__main__":
    unittest.main()
