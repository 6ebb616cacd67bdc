# SPDX-License-Identifier: MPL-2.0
"""Sound and pictures of a media file, decoded and converted by gst-launch-1.0, since decoders differ.

ffmpeg and GStreamer 1.22 differ by a thousand samples at the start of AAC in MP4, and by one or two of 255 steps when they turn
YUV to RGB, which moves a picture's scores by up to 0.1. Everything after this file is librosa's, numpy's and ONNX Runtime's.
"""

import json
import pathlib
import re
import subprocess
import tempfile

import librosa
import numpy as np
import soundfile

SECOND = 1_000_000_000
PATIENCE = 30  # s, many times what a clip takes
ATTEMPTS = 4


def probe(path):
    """{kind ("audio", "video"): ffprobe's description of the first such stream}."""
    run = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)], capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"{path}: ffprobe cannot read it: {run.stderr.strip()[:200]}")
    found = {}
    for stream in json.loads(run.stdout)["streams"]:
        found.setdefault(stream["codec_type"], stream)
    return found


def launch(path, kind, elements, options=""):
    """What gst-launch-1.0 -v prints while it plays a file's stream of a kind ("audio", "video") through `elements`."""
    command = f"uridecodebin uri={path.absolute().as_uri()} {options} ! {kind}/x-raw ! {elements}"
    # gst-launch-1.0 of 1.22 does not end in about 3 of 100 runs: once more, then.
    for _ in range(ATTEMPTS):
        try:
            run = subprocess.run(["gst-launch-1.0", "-v", *command.split()], capture_output=True, text=True, timeout=PATIENCE)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        raise ValueError(f"{path}: GStreamer has not decoded it in {PATIENCE} s, {ATTEMPTS} times")
    if run.returncode:
        raise ValueError(f"{path}: GStreamer cannot decode it: {run.stderr.strip()[:300]}")
    return run.stdout


def sound(path, rate):
    """Mono float32 samples at `rate`, the mean of the channels; None for a file without sound."""
    if "audio" not in probe(path):
        return None
    with tempfile.TemporaryDirectory() as folder:
        # Not to decode pictures that nothing takes saves time; so 60 of 60 runs ended.
        launch(
            path,
            "audio",
            f"audioconvert ! audio/x-raw,format=F32LE ! wavenc ! filesink location={folder}/sound.wav",
            "caps=audio/x-raw expose-all-streams=false",
        )
        samples, own = soundfile.read(f"{folder}/sound.wav", dtype="float32", always_2d=True)
    mono = samples.mean(1)
    return mono if own == rate else librosa.resample(mono, orig_sr=own, target_sr=rate, res_type="soxr_hq")


def chosen(times):
    """Indices of the pictures that the plugin takes one a second of: the first at or after each second from the first on."""
    indices, following = [], None
    for i, time in enumerate(times):
        if following is None or time >= following or time + SECOND < following:
            on_grid = following is not None and following <= time < following + SECOND
            indices.append(i)
            following = (following if on_grid else time) + SECOND
    return indices


def pictures(path, size, how="crop", fraction=1.0):
    """uint8 [n, size, size, 3], RGB, one picture a second; `how` and `fraction` as in the card's `frame.fit` and
    `frame.crop-fraction`. None for a file without pictures.
    """
    stream = probe(path).get("video")
    if stream is None:
        return None
    width, height = stream["width"], stream["height"]
    if abs(int(next((d["rotation"] for d in stream.get("side_data_list", []) if "rotation" in d), 0))) in (90, 270):
        width, height = height, width
    w, h = (width, height) if how == "stretch" else (min(width, height),) * 2
    w, h = round(w * fraction), round(h * fraction)
    left, top = (width - w) // 2, (height - h) // 2
    with tempfile.TemporaryDirectory() as folder:
        store = pathlib.Path(folder, "frames")
        # RGBx, because rows of RGB would be padded to four bytes.
        said = launch(
            path,
            "video",
            f"videoflip video-direction=auto ! videocrop left={left} right={width - w - left} "
            f"top={top} bottom={height - h - top} ! videoconvertscale method=mitchell add-borders=false "
            f"n-threads=1 ! video/x-raw,format=RGBx,width={size},height={size},pixel-aspect-ratio=1/1 ! "
            f"identity name=times silent=false ! filesink location={store}",
        )
        frames = np.fromfile(store, np.uint8).reshape(-1, size, size, 4)[..., :3]
    times = [((int(h) * 60 + int(m)) * 60 + int(s)) * SECOND + int(n) for h, m, s, n in re.findall(r"times:sink\) .*?pts: (\d+):(\d+):(\d+)\.(\d+)", said)]
    return np.ascontiguousarray(frames[chosen(times)])
