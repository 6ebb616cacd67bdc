# SPDX-License-Identifier: MPL-2.0
"""The script that one would write without the plugin: PyAV, librosa, OpenCV and ONNX Runtime over videos.

    python benches/script.py FILE… [--tuned] [--keyframes] [--jobs N]

The models, windows, strides and picture interval of `instruments tag --window 5 --stride 5 --decode all`: it prints the fused tags of each window.
ONNX Runtime runs with its default options, or with one thread that does not spin (`--tuned`). `--keyframes` decodes key
frames only, and looks at each; `--jobs` has N processes share the files, each of which opens the models once.
"""

import argparse
import multiprocessing
from pathlib import Path

import av
import cv2
import librosa
import numpy as np
import onnxruntime

MODELS = Path(__file__).parent.parent / "models"
SOUND, PICTURE, FUSION = "ced-yt8m13", "efficientnet-lite-yt8m13", "fusion-yt8m13"
WINDOW, STRIDE, INTERVAL, PICTURES = 5.0, 5.0, 1.0, 20  # seconds; pictures a window at most


def session(name: str, tuned: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if tuned:
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(MODELS / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


def mel_patch(sound: np.ndarray) -> np.ndarray:
    """CED's front end: mel spectrogram in dB `[64, 512]` of mono `sound` at 16 kHz, repeated until the patch is full."""
    mel = librosa.feature.melspectrogram(
        y=sound, sr=16_000, n_fft=512, hop_length=160, center=True, pad_mode="reflect", power=2.0,
        n_mels=64, fmin=0, fmax=8_000, htk=True, norm=None,
    )
    return np.resize(10 * np.log10(np.maximum(mel, 1e-10)).T, (512, 64)).T


def picture(frame: av.VideoFrame) -> np.ndarray:
    """The largest central square of `frame`, 260 by 260 pixels in RGB."""
    pixels = frame.to_ndarray(format="rgb24")
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return cv2.resize(pixels[top:top + side, left:left + side], (260, 260), interpolation=cv2.INTER_AREA)


def decode(path: str, keyframes: bool, seen) -> tuple[np.ndarray, int]:
    """Calls `seen` with the time and each frame an interval apart; returns the sound, mono, and its rate."""
    blocks, rate, due = [], 0, 0.0
    with av.open(path) as container:
        if keyframes:
            container.streams.video[0].codec_context.skip_frame = "NONKEY"
        for frame in container.decode([*container.streams.video[:1], *container.streams.audio[:1]]):
            if isinstance(frame, av.VideoFrame):
                if frame.time >= due:
                    seen(frame.time, frame)
                    due += INTERVAL
            else:
                rate = frame.sample_rate
                block = frame.to_ndarray()
                if block.shape[0] == 1:  # interleaved
                    block = block.reshape(-1, frame.layout.nb_channels).T
                scale = 1 / 32768 if block.dtype == np.int16 else 1
                blocks.append(block.astype(np.float32).mean(axis=0) * np.float32(scale))
    return np.concatenate(blocks), rate


class Tagger:
    def __init__(self, tuned: bool, keyframes: bool) -> None:
        if tuned:
            cv2.setNumThreads(1)
        self.hears, self.sees, self.fuses = (session(name, tuned) for name in (SOUND, PICTURE, FUSION))
        self.labels = self.fuses.get_modelmeta().custom_metadata_map["instruments.labels"].split("\n")
        self.keyframes = keyframes

    def tag(self, path: str) -> list[str]:
        """A line for each window of the file."""
        pictures = []

        def seen(time: float, frame: av.VideoFrame) -> None:
            embedding = self.sees.run(["embedding"], {"frame": picture(frame)[None]})[0]
            pictures.append((time, embedding[0]))

        sound, rate = decode(path, self.keyframes, seen)
        duration = len(sound) / rate
        sound = librosa.resample(sound, orig_sr=rate, target_sr=16_000, res_type="soxr_hq")
        lines = []
        for end in np.arange(STRIDE, duration + STRIDE / 2, STRIDE):
            begin = max(0.0, end - WINDOW)
            patch = mel_patch(sound[int(begin * 16_000):int(end * 16_000)])
            heard = self.hears.run(["embedding"], {"mel": patch[None, None].astype(np.float32)})[0]
            window = [embedding for time, embedding in pictures if begin <= time < end]
            window = [window[round(n)] for n in np.linspace(0, len(window) - 1, min(PICTURES, len(window)))]
            # Without a picture the fusion goes by the sound alone.
            seen_any = float(bool(window))
            window = window or [np.zeros(1280, np.float32)]
            present = np.array([[seen_any, 1.0]], np.float32)
            inputs = {"video": np.stack(window)[None], "audio": heard, "present": present}
            scores = self.fuses.run(["tags"], inputs)[0][0]
            best = np.argsort(scores)[::-1][:3]
            lines.append(" ".join([f"{begin:6.1f} s", *(f"{self.labels[index]} {scores[index]:.2f}" for index in best)]))
        return lines


def start(*options: bool) -> None:
    """Opens the models of a process of the pool."""
    global tagger
    tagger = Tagger(*options)


def tag(path: str) -> list[str]:
    return tagger.tag(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--keyframes", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    options = (arguments.tuned, arguments.keyframes)
    if arguments.jobs == 1:
        start(*options)
        results = map(tag, arguments.files)
    else:
        pool = multiprocessing.Pool(arguments.jobs, start, options)
        results = pool.imap(tag, arguments.files)
    for lines in results:
        print(*lines, sep="\n")


if __name__ == "__main__":
    main()
