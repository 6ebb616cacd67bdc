# SPDX-License-Identifier: MPL-2.0
"""The decision of the default fusions, how it is fitted, and the videos that it is fitted on."""

import json
import pathlib
import tempfile
import unittest

import pytest

torch = pytest.importorskip("torch", reason="training requires torch: pip install -r models/train/requirements.txt")

import numpy as np

from train.corpus import wild
from train.families import kin, related
from train.fusion import fit, heads
from train.fusion.decision import TERMS, Decision, Weights
from train.labels import LABELS

FOLDER = pathlib.Path(fit.__file__).parent
HEARS, SEES = [*LABELS, "Ukulele", "Double bass"], [*LABELS, "Harp"]


def released(name):
    return Weights(**{case: tuple(values) for case, values in json.loads((FOLDER / f"{name}.json").read_text()).items()})


def decide(heard, seen, present=(1.0, 1.0), labels=LABELS, hears=HEARS, sees=SEES, weights=None):
    """{label: score} for log-odds of voices, -8 unless given."""
    decision = Decision(labels, hears, sees, weights or released("yt8m13"))
    rows = [torch.tensor([[said.get(voice, -8.0) for voice in voices]]) for said, voices in ((heard, hears), (seen, sees))]
    return dict(zip(labels, decision(*rows, torch.tensor([present]))[0].tolist()))


class Decided(unittest.TestCase):
    def test_quiet_sound_does_not_erase_what_is_seen(self):
        self.assertGreater(decide({}, {"Piano": 3.0})["Piano"], fit.THRESHOLD)
        # Nor do pictures that show nothing erase what is heard.
        self.assertGreater(decide({"Piano": 3.0}, {})["Piano"], fit.THRESHOLD)

    def test_a_sound_of_something_else_is_evidence_against(self):
        seen = {"Violin": 0.5}
        self.assertLess(decide({"Piano": 4.0}, seen)["Violin"], decide({}, seen)["Violin"] / 1.5)

    def test_both_surer_than_either(self):
        one, other, both = decide({"Flute": 1.0}, {}), decide({}, {"Flute": 1.0}), decide({"Flute": 1.0}, {"Flute": 1.0})
        self.assertGreater(both["Flute"], max(one["Flute"], other["Flute"]))

    def test_silence_and_empty_pictures_show_nothing(self):
        for present in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
            self.assertLess(max(decide({}, {}, present).values()), 0.05)

    def test_a_rival_of_the_family_takes_its_tag_away_and_one_of_another_family_less(self):
        heard, seen = {"Guitar": 0.5}, {"Guitar": 2.0}
        without = decide(heard, seen)["Guitar"]
        ukulele, bass = (decide(heard | {voice: 2.0}, seen)["Guitar"] for voice in ("Ukulele", "Double bass"))
        self.assertGreater(without, fit.THRESHOLD)
        self.assertLess(ukulele, fit.THRESHOLD)
        self.assertGreater(bass, 2 * ukulele)

    def test_an_absent_model_says_nothing(self):
        noise = dict.fromkeys(LABELS[::2], 5.0)
        self.assertEqual(decide({"Flute": 2.0}, {}, (0.0, 1.0)), decide({"Flute": 2.0}, noise, (0.0, 1.0)))
        self.assertEqual(decide({}, {"Flute": 2.0}, (1.0, 0.0)), decide(noise, {"Flute": 2.0}, (1.0, 0.0)))

    def test_a_label_of_one_model_rests_on_it(self):
        labels, hears, sees = ["Guitar", "Mandolin", "Oboe"], ["Guitar", "Mandolin"], ["Guitar", "Oboe"]
        weights = Weights((0.0,) * 6, (0.0, 1.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))
        found = decide({"Mandolin": 2.0}, {"Oboe": -1.0}, labels=labels, hears=hears, sees=sees, weights=weights)
        self.assertAlmostEqual(found["Mandolin"], 1 / (1 + np.exp(-2)), places=5)
        self.assertAlmostEqual(found["Oboe"], 1 / (1 + np.exp(1)), places=5)
        alone = decide({"Mandolin": 2.0}, {}, (0.0, 1.0), labels, hears, sees, weights)
        self.assertEqual(alone["Oboe"], 0)

    def test_a_label_does_not_compete_with_its_kind(self):
        labels = ["Guitar", "Acoustic guitar", "Banjo"]
        weights = Weights((1.0, 0, 0, 0, 0, 0.0), (0.0,) * 4, (0.0,) * 4)

        def share(**more):
            heard = {"Guitar": 0.0} | {name.replace("_", " "): odds for name, odds in more.items()}
            return decide(heard, heard, labels=labels, hears=labels, sees=labels, weights=weights)["Guitar"]

        self.assertAlmostEqual(share(), share(Acoustic_guitar=3.0), places=3)
        self.assertLess(share(Banjo=3.0), share() - 0.1)


class Families(unittest.TestCase):
    def test_rivals_are_of_the_family_and_of_another_kind(self):
        self.assertTrue(related("Guitar", "Ukulele") and related("Ukulele", "Guitar"))
        self.assertTrue(kin("Guitar", "Acoustic guitar") and not related("Guitar", "Acoustic guitar"))
        self.assertFalse(related("Guitar", "Trombone") or kin("Guitar", "Trombone"))


class Fit(unittest.TestCase):
    def test_logistic_regression_finds_the_weights(self):
        rng = np.random.default_rng(0)
        x = rng.normal(2, 3, (20000, 2))
        y = rng.random(20000) < 1 / (1 + np.exp(-(x @ [0.7, -0.3] + 0.5)))
        factors, constant = fit.logistic(x, y.astype(float), np.ones(len(x)))
        np.testing.assert_allclose([*factors, constant], [0.7, -0.3, 0.5], atol=0.06)

    def test_files_of_a_source_are_left_out_together(self):
        groups = [f"source {i % 37}" for i in range(200)]
        found = fit.folds(groups, seed=3)
        self.assertEqual(len(set(zip(groups, found))), 37)
        self.assertEqual(set(found), set(range(fit.FOLDS)))

    def test_the_threshold_is_where_tags_have_the_wanted_precision(self):
        rng = np.random.default_rng(1)
        odds = rng.normal(-3, 2, (300, 5))
        truth = (rng.random(odds.shape) < 1 / (1 + np.exp(-1.5 * odds - 1))).astype(float)
        truth[rng.random(odds.shape) < 0.1] = np.nan
        for precision in (0.8, 0.95):
            factor, constant = fit.sharpen(odds, truth, precision)
            shown = 1 / (1 + np.exp(-(factor * odds + constant))) >= fit.THRESHOLD
            self.assertGreaterEqual(np.nanmean(truth[shown]), precision)
            # No other threshold with this precision has a better F1.
            found, known = fit.figures(np.where(shown, 1.0, 0.0), truth)["F1"], ~np.isnan(truth)
            for other in np.unique(odds[known]):
                own = fit.figures(np.where(odds >= other, 1.0, 0.0), truth)
                self.assertTrue(own["precision"] < 100 * precision or own["F1"] <= found + 1e-9, (other, own, found))

    def test_the_released_weights_have_a_number_for_each_term(self):
        for name in ("yt8m13", "audioset"):
            weights = released(name)
            self.assertEqual({case: len(getattr(weights, case)) for case in TERMS}, {case: len(terms) + 1 for case, terms in TERMS.items()})

    def test_what_a_probe_says_is_read_back(self):
        class Head(torch.nn.Module):
            def __init__(self, *voices):
                super().__init__()
                self.voices = list(voices)

            def forward(self, embedding):
                return embedding

        probe = heads.Probe(Head("a", "b"), Head("c"))
        with torch.no_grad():
            video = torch.tensor([[[1.0, -2.0], [3.0, -4.0]]])
            said = probe(video, torch.tensor([[-5.0]]), torch.tensor([[1.0, 1.0]]))[0].tolist()
        self.assertGreater(min(said), 0)
        line = {"uri": "file:///x%20y.mp4", "source": "fused", "start": 0.0, "end": 2.5, "tags": [{"label": n, "score": s} for n, s in zip(probe.labels, said)]}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "results.jsonl")
            path.write_text("".join(json.dumps(line | more) + "\n" for more in ({}, {"source": "audio"}, {"clip": True})))
            window, clip = heads.read(path, ["c"], ["a", "b"])
        self.assertEqual((window.file, window.clip, clip.clip, window.end), ("x y.mp4", False, True, 2.5))
        mean = [np.mean(1 / (1 + np.exp(-np.array(pair)))) for pair in ((1.0, 3.0), (-2.0, -4.0))]
        np.testing.assert_allclose(window.seen, np.log(mean) - np.log1p(-np.array(mean)), atol=1e-4)
        np.testing.assert_allclose([*window.present, *window.heard], [1, 1, -5], atol=1e-4)


class Wild(unittest.TestCase):
    ROWS = (
        "file\tlabel\tlabels of the 13 that are present\tother instruments visible or audible\tsource",
        "a.mp4\tviolin\tviolin+guitar\tguitar\tx/y",
        "b.mp4\tbass\t\t\tx/z",
        "c.mp4\trockband\t\t\tx/z",
        "d.mp4\tnone\t\t\tx/z",
    )

    def setUp(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "MANIFEST.tsv")
            path.write_text("\n".join(self.ROWS) + "\n")
            self.videos = wild.manifest(path)

    def test_the_labels_that_are_present(self):
        violin, bass, band, nothing = self.videos.values()
        self.assertEqual(violin.named, "Violin")
        self.assertEqual({LABELS[i] for i in np.flatnonzero(violin.truth(LABELS))}, {"Violin", "Guitar"})
        self.assertIsNone(bass.named)
        self.assertEqual(bass.truth(LABELS).sum(), 0)
        self.assertTrue(np.isnan(band.truth(LABELS)).all() and nothing.empty)

    def test_audioset_s_labels_of_the_same_kind_are_unknown(self):
        labels = ["Guitar", "Acoustic guitar", "Violin, fiddle", "Cello", "Bass guitar"]
        np.testing.assert_array_equal(self.videos["a.mp4"].truth(labels), [1, np.nan, 1, 0, 0])
        np.testing.assert_array_equal(self.videos["b.mp4"].truth(labels), [np.nan, 0, 0, 0, 1])


if __name__ == "__main__":
    unittest.main()
