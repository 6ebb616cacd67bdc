# SPDX-License-Identifier: MPL-2.0
"""Sound and pictures of a media file.

Sound is decoded by GStreamer as in the plugin: 1.22 and ffmpeg differ by a thousand samples at the start of AAC in MP4.
Pictures are decoded by ffmpeg.
"""

import json
import subprocess
import tempfile

import librosa
import numpy as np
import soundfile
from PIL import Image


def probe(path):
    """{kind ("audio", "video"): ffprobe's description of the first such stream}."""
    run = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)], capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"{path}: ffprobe cannot read it: {run.stderr.strip()[:200]}")
    found = {}
    for stream in json.loads(run.stdout)["streams"]:
        found.setdefault(stream["codec_type"], stream)
    return found


def _ffmpeg(path, *options):
    run = subprocess.run(["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), *options, "-"], capture_output=True)
    if run.returncode:
        raise ValueError(f"{path}: ffmpeg cannot decode it: {run.stderr.decode().strip()[:200]}")
    return run.stdout


def sound(path, rate):
    """Mono float32 samples at `rate`, the mean of the channels; None for a file without sound."""
    if "audio" not in probe(path):
        return None
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(["gst-launch-1.0", "-q", "uridecodebin", f"uri={path.absolute().as_uri()}", "!", "audio/x-raw", "!",
                              "audioconvert", "!", "audio/x-raw,format=F32LE", "!", "wavenc", "!",
                              "filesink", f"location={folder}/sound.wav"], capture_output=True, text=True)
        if run.returncode:
            raise ValueError(f"{path}: GStreamer cannot decode its sound: {run.stderr.strip()[:200]}")
        samples, own = soundfile.read(f"{folder}/sound.wav", dtype="float32", always_2d=True)
    mono = samples.mean(1)
    return mono if own == rate else librosa.resample(mono, orig_sr=own, target_sr=rate, res_type="soxr_hq")


def pictures(path):
    """RGB images: the first of the stream and the first at or after each further second; none for a file without pictures."""
    if "video" not in probe(path):
        return []
    grid = "select='gte(t-start_t+0.0005,selected_n)'"
    # PPM says each picture's size, which a turned video's stream does not.
    data, images, at = _ffmpeg(path, "-map", "0:v:0", "-vf", grid, "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm"), [], 0
    while at < len(data):
        magic, size, depth = data[at:at + 32].split(b"\n", 3)[:3]
        width, height = map(int, size.split())
        at += len(magic) + len(size) + len(depth) + 3
        images.append(Image.frombytes("RGB", (width, height), data[at:at + 3 * width * height]))
        at += 3 * width * height
    return images
