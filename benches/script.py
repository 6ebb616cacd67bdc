# SPDX-License-Identifier: MPL-2.0
"""The script that one would write without the plugin: PyAV, librosa, OpenCV and ONNX Runtime over one video.

    python benches/script.py FILE

The models, windows, strides and picture interval of examples/tag: it prints the fused tags of each window.
"""

import sys
from pathlib import Path

import av
import cv2
import librosa
import numpy as np
import onnxruntime

MODELS = Path(__file__).parent.parent / "models"
SOUND, PICTURE, FUSION = "choi-yt8m13", "efficientnet-lite-yt8m13", "fusion-yt8m13"
WINDOW, STRIDE, INTERVAL, PICTURES = 10.0, 5.0, 1.0, 20  # seconds; pictures a window at most


def session(name: str, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(MODELS / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


def card(model: onnxruntime.InferenceSession, prefix: str) -> dict[str, str]:
    fields = model.get_modelmeta().custom_metadata_map
    return {key.removeprefix(prefix): value for key, value in fields.items() if key.startswith(prefix)}


def mel_patch(sound: np.ndarray, fields: dict[str, str]) -> np.ndarray:
    """The compressed mel spectrogram `[bands, frames]` of mono `sound`, repeated until the patch is full."""
    assert fields["compression"] in ("power-db", "amplitude-db"), "the peer knows decibels only"
    mel = librosa.feature.melspectrogram(
        y=sound, sr=int(fields["rate"]), n_fft=int(fields["fft-size"]), win_length=int(fields["window-size"]),
        hop_length=int(fields["hop"]), n_mels=int(fields["bands"]), fmin=float(fields["fmin"]),
        fmax=float(fields["fmax"]), htk=fields["mel-scale"] == "htk", center=fields["center"] == "true",
        norm=None if fields["mel-norm"] == "none" else fields["mel-norm"], power=float(fields["power"]),
        pad_mode="constant",
    )
    to_db = librosa.power_to_db if fields["compression"] == "power-db" else librosa.amplitude_to_db
    top_db = None if fields["top-db"] == "none" else float(fields["top-db"])
    mel = to_db(mel, ref=float(fields["reference"]), amin=float(fields["amin"]), top_db=top_db)
    return np.resize(mel.T, (int(fields["patch-frames"]), mel.shape[0])).T


def picture(frame: av.VideoFrame, model: onnxruntime.InferenceSession) -> np.ndarray:
    fields = card(model, "instruments.frame.")
    height, width = model.get_inputs()[0].shape[1:3]
    pixels = frame.to_ndarray(format="rgb24")
    if fields["fit"] == "crop":
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        pixels = pixels[top:top + side, left:left + side]
    rows, columns = (round(length * float(fields["crop-fraction"])) for length in pixels.shape[:2])
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    pixels = pixels[top:top + rows, left:left + columns]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def decode(path: str, seen) -> tuple[np.ndarray, int]:
    """Calls `seen` with the time and each frame an interval apart; returns the sound, mono, and its rate."""
    blocks, rate, due = [], 0, 0.0
    with av.open(path) as container:
        streams = [stream for stream in (*container.streams.video[:1], *container.streams.audio[:1])]
        for frame in container.decode(streams):
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


def main(path: str) -> None:
    cv2.setNumThreads(1)
    hears, sees, fuses = session(SOUND), session(PICTURE), session(FUSION)
    pictures = []

    def seen(time: float, frame: av.VideoFrame) -> None:
        embedding = sees.run(["embedding"], {"frame": picture(frame, sees)[None]})[0]
        pictures.append((time, embedding[0]))

    sound, rate = decode(path, seen)
    front_end = card(hears, "instruments.frontend.")
    duration, model_rate = len(sound) / rate, int(front_end["rate"])
    sound = librosa.resample(sound, orig_sr=rate, target_sr=model_rate, res_type="soxr_hq")
    labels = card(fuses, "instruments.")["labels"].split("\n")
    for end in np.arange(STRIDE, duration + STRIDE / 2, STRIDE):
        begin = max(0.0, end - WINDOW)
        patch = mel_patch(sound[int(begin * model_rate):int(end * model_rate)], front_end)
        heard = hears.run(["embedding"], {"mel": patch[None, None].astype(np.float32)})[0]
        window = [embedding for time, embedding in pictures if begin <= time < end]
        window = [window[round(n)] for n in np.linspace(0, len(window) - 1, min(PICTURES, len(window)))]
        inputs = {"video": np.stack(window)[None], "audio": heard, "present": np.ones((1, 2), np.float32)}
        scores = fuses.run(["tags"], inputs)[0][0]
        best = np.argsort(scores)[::-1][:3]
        print(f"{begin:6.1f} s", *(f"{labels[index]} {scores[index]:.2f}" for index in best))


if __name__ == "__main__":
    main(sys.argv[1])
