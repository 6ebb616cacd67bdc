# SPDX-License-Identifier: MPL-2.0
"""Manifests and the adapters of FCVID and YouTube-8M, on made-up folders: `python -m unittest train.tests.test_manifest`."""

import contextlib
import io
import pathlib
import struct
import tempfile
import unittest
from collections import Counter

from train.corpus import manifest
from train.corpus.manifest import Row

INSTRUMENTS = [
    "accordionPerformance",
    "celloPerformance",
    "chamberMusicPerformance",
    "flutePerformance",
    "guitarPerformance",
    "harmonicaPerformance",
    "pianoPerformance",
    "rockBandPerformance",
    "saxophonePerformance",
    "symphonyOrchestra",
    "trumpetPerformance",
    "violinPerformance",
]


def field(number, data):
    """A field of a protocol buffer: bytes, or an integer below 128."""
    if isinstance(data, int):
        return bytes([number << 3, data])
    size = bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def number(value):
    """A varint of two bytes."""
    return bytes([value & 127 | 128, value >> 7])


def record(identifier, labels, packed):
    """A TFRecord that holds a tf.train.Example with features in the order mean_rgb, labels, id."""
    integers = field(1, b"".join(map(number, labels))) if packed else b"".join(b"\x08" + number(i) for i in labels)
    features = {"mean_rgb": field(2, field(1, b"\x00\x00\x80\x3f" * 50)), "labels": field(3, integers), "id": field(1, field(1, identifier.encode()))}
    entries = b"".join(field(1, field(1, name.encode()) + field(2, value)) for name, value in features.items())
    data = field(1, entries)
    return struct.pack("<QI", len(data), 0) + data + struct.pack("<I", 0)


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content=""):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run_command(self, *arguments):
        """The rows of the manifest that a command makes."""
        out = self.folder / "out" / "made.csv"
        out.parent.mkdir(exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            manifest.main([*map(str, arguments), "--out", str(out)])
        return manifest.read(out)

    def fails(self, *arguments):
        """What a command says when it fails."""
        with self.assertRaises(SystemExit) as caught:
            self.run_command(*arguments)
        return str(caught.exception)


class Format(InFolder):
    def test_written_rows_are_read_back_from_another_folder(self):
        rows = [Row(self.folder / "a" / "one, two.mp4", ("Guitar", "Drums"), "train", "x"), Row(self.folder / "b.mp4", ("none",), "test", "y")]
        (self.folder / "lists").mkdir()
        manifest.write(self.folder / "lists" / "m.csv", rows)
        self.assertIn("../b.mp4,none,test,y", (self.folder / "lists" / "m.csv").read_text())
        self.assertEqual(manifest.read(self.folder / "lists" / "m.csv"), rows)

    def test_errors_name_the_line_and_the_way_out(self):
        head = "path,labels,split,source\n"
        for text, expected in (
            ("file,label\n", "the first line is 'file,label'"),
            (head + "a.wav,Guitar,train\n", "line 2: 3 columns"),
            (head + "a.wav,Guitar,train,s\nb.wav,Guitar,dev,s\n", "line 3: the split is 'dev'"),
            (head + "a.wav,Guitar|,train,s\n", "empty label"),
            (head + "a.wav,Guitar,train,\n", "no source"),
            (head + "a.wav,Guitar,train,s\na.wav,Drums,train,s\n", "listed twice"),
            (head + "a.wav,Guitar,train,s\nb.wav,Guitar,test,s\n", "the source s is in the test split and in another"),
        ):
            path = self.file("bad.csv", text)
            with self.assertRaisesRegex(ValueError, expected):
                manifest.read(path)

    def test_corpus_keeps_test_sources_apart(self):
        for name in (
            "sound/guitar/phil__1.npy",
            "sound/guitar/phil__1__degraded.npy",
            "sound/none/speech__2.npy",
            "test/guitar/gcompris__3.npy",
            "bands/drums+guitar/FluidR3_GM__band-0.npy",
        ):
            self.file(f"cache/{name}")
        rows = {r.path.stem: r for r in self.run_command("corpus", "--cache", self.folder / "cache")}
        self.assertEqual(rows["gcompris__3"].split, "test")
        self.assertEqual(rows["gcompris__3"].labels, ("guitar",))
        self.assertEqual(rows["FluidR3_GM__band-0"].labels, ("drums", "guitar"))
        self.assertEqual(rows["phil__1"].split, rows["phil__1__degraded"].split)
        self.assertNotIn("test", [r.split for r in rows.values() if r.source != "gcompris"])
        self.file("cache/sound/guitar/gcompris__1.npy")
        self.assertIn("gcompris only tests", self.fails("corpus", "--cache", self.folder / "cache"))


class Split(unittest.TestCase):
    videos = {f"{label}{i}": (label,) for label in "abc" for i in range(40)}

    def test_every_label_is_split_70_15_15(self):
        splits = manifest.shares(self.videos, 1)
        for label in "abc":
            counts = Counter(splits[k] for k in self.videos if k[0] == label)
            self.assertEqual(counts, {"train": 28, "validation": 6, "test": 6})

    def test_the_seed_decides(self):
        again = manifest.shares(dict(reversed(self.videos.items())), 1)
        self.assertEqual(manifest.shares(self.videos, 1), again)
        self.assertNotEqual(manifest.shares(self.videos, 2), again)


class Fcvid(InFolder):
    def setUp(self):
        super().setUp()
        categories = ["soccer", *INSTRUMENTS]
        self.file("materials/FCVID_CategoryName.txt", "".join(f"{i + 1} {name}\n" for i, name in enumerate(categories)))
        names, matrix = [], []
        for column, category in enumerate(categories):
            for i in range(20):
                name = f"{category}/{category}_{i}.mp4"
                both = category == "celloPerformance" and i == 0
                names.append(f"{name} {'test' if i % 2 else 'train'}\n")
                matrix.append(" ".join(str(int(c == column or both and categories[c] == "pianoPerformance")) for c in range(13)) + "\n")
                if i < 19:  # one that cannot be had
                    self.file(f"videos/{name}")
        self.file("materials/FCVID_VideoName_TrainTestSplit.txt", "".join(names))
        self.file("materials/FCVID_Label.txt", "".join(matrix))
        self.arguments = (
            "fcvid",
            "--videos",
            self.folder / "videos",
            "--materials",
            self.folder / "materials",
            "--categories",
            self.folder / "materials" / "FCVID_CategoryName.txt",
        )

    def test_the_papers_12_categories(self):
        rows = self.run_command(*self.arguments)
        self.assertEqual(len(rows), 12 * 19)
        self.assertTrue(all(row.path.exists() for row in rows))
        self.assertEqual({label for row in rows for label in row.labels}, set(manifest.FCVID))
        labels = {row.path.name: row.labels for row in rows}
        self.assertEqual(labels["rockBandPerformance_3.mp4"], ("rock band",))
        self.assertEqual(labels["celloPerformance_0.mp4"], ("cello", "piano"))
        self.assertEqual(Counter(r.split for r in rows if r.labels == ("violin",)), {"train": 13, "validation": 3, "test": 3})

    def test_the_datasets_own_split(self):
        for row in self.run_command(*self.arguments, "--own-split"):
            odd = int(row.path.stem.split("_")[1]) % 2
            self.assertEqual(row.split == "test", bool(odd), row.path)

    def test_errors(self):
        labels = self.folder / "materials" / "FCVID_Label.txt"
        self.file("materials/FCVID_Label.txt", labels.read_text().split("\n", 1)[1])
        self.assertIn("260 videos and 259 lines of labels", self.fails(*self.arguments))
        self.file("materials/FCVID_CategoryName.txt", "soccer\n")
        self.assertIn("0 categories begin with 'accordion'", self.fails(*self.arguments))


class Youtube8m(InFolder):
    def setUp(self):
        super().setUp()
        names = {200 + i: name for i, name in enumerate(manifest.LABELS)} | {202: "Drum kit", 207: "Organ (music)", 3: "Concert"}
        self.file("vocabulary.csv", "Index,TrainVideoCount,KnowledgeGraphId,Name\n" + "".join(f"{i},9,/m/{i},{n}\n" for i, n in names.items()))
        # Of each label 20 videos, labelled "Concert" too; one has guitar and drums, one neither.
        records = [record(f"v{i:03}", [3, 200 + i % 13], packed=i % 2) for i in range(260)]
        self.file("train0.tfrecord", b"".join(records))
        self.file("train1.tfrecord", record("both", [200, 202], True) + record("soccer", [3], False))
        for name in [*(f"v{i:03}" for i in range(260)), "both", "soccer"]:
            self.file(f"videos/{name[:2]}/{name}.webm")
        self.arguments = (
            "youtube8m",
            "--videos",
            self.folder / "videos",
            "--vocabulary",
            self.folder / "vocabulary.csv",
            "--records",
            self.folder / "train0.tfrecord",
            self.folder / "train1.tfrecord",
        )

    def test_labels_of_tfrecords(self):
        rows = {row.path.stem: row for row in self.run_command(*self.arguments)}
        self.assertEqual(len(rows), 261)
        self.assertEqual(rows["v002"].labels, ("Drums",))
        self.assertEqual(rows["v007"].labels, ("Organ",))
        self.assertEqual(rows["both"].labels, ("Guitar", "Drums"))
        self.assertEqual(rows["both"].source, "youtube8m/both")
        self.assertEqual(Counter(row.split for row in rows.values() if row.labels == ("Banjo",)), {"train": 14, "validation": 3, "test": 3})

    def test_single_label_videos_alone(self):
        self.assertNotIn("both", [row.path.stem for row in self.run_command(*self.arguments, "--single")])

    def test_csv_labels_and_youtube_ids(self):
        labels = self.file("labels.csv", "id,labels\nAbCd,3 201\n")
        ids = self.file("ids.csv", "id,youtube_id\nAbCd,dQw4w9WgXcQ\n")
        video = self.file("videos/dQw4w9WgXcQ.mp4")
        rows = self.run_command(*self.arguments[:5], "--records", labels, "--ids", ids)
        self.assertEqual([(row.path, row.labels) for row in rows], [(video, ("Piano",))])

    def test_errors(self):
        path = self.folder / "train0.tfrecord"
        path.write_bytes(path.read_bytes()[:-3])
        self.assertIn("train0.tfrecord: the TFRecord file ends within a record", self.fails(*self.arguments))
        self.file("vocabulary.csv", "Index,Name\n3,Concert\n")
        self.assertIn("none of Guitar is in it", self.fails(*self.arguments))


if __name__ == "__main__":
    unittest.main()
