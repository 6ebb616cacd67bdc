# SPDX-License-Identifier: MPL-2.0
"""Copies of videos: they keep their length and their names, and change what they should."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest
import wave

import numpy as np
import pytest

from evaluate import changed

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="requires ffmpeg")


def pictures(path):
    run = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-vf", "scale=320:320", "-pix_fmt", "gray", "-f", "rawvideo", "-"], capture_output=True, check=True
    )
    return np.frombuffer(run.stdout, np.uint8).reshape(-1, 320, 320).astype(float)


def sound(path):
    run = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", "16000", "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.float32)


class Changed(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.video = self.folder / "it's.mp4"
        # A checked pattern and a tone of 440 Hz.
        source = ["-f", "lavfi", "-i", "testsrc2=size=320x320:rate=5:duration=2", "-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
        subprocess.run(["ffmpeg", "-v", "error", *source, "-pix_fmt", "yuv420p", str(self.video)], check=True)

    def test_blur_takes_the_edges(self):
        (copy,) = changed.copies([self.video], "blur", None, self.folder / "blur")
        self.assertEqual(copy.name, self.video.name)
        before, after = (np.square(np.diff(pictures(path), axis=2)).mean() for path in (self.video, copy))
        self.assertLess(after, before / 4)
        self.assertAlmostEqual(len(sound(copy)) / 16000, 2, delta=0.2)

    def test_talk_is_as_loud_as_the_music(self):
        rng = np.random.default_rng(0)
        (self.folder / "said").mkdir()
        with wave.open(str(self.folder / "said" / "noise.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((3000 * rng.normal(size=48000)).clip(-32768, 32767).astype("<i2").tobytes())
        (copy,) = changed.copies([self.video], "talk", self.folder / "said", self.folder / "talk")
        spectrum = np.abs(np.fft.rfft(sound(copy)[:32000])) ** 2
        tone = spectrum[860:900].sum()
        rest = spectrum.sum() - tone
        self.assertLess(abs(10 * np.log10(rest / tone)), 10)
        with self.assertRaises(SystemExit):
            changed.copies([self.video], "talk", None, self.folder / "other")


if __name__ == "__main__":
    unittest.main()
