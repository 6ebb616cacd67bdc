# SPDX-License-Identifier: MPL-2.0
"""An audio-visual test: video files of sounds and photographs that trained no model.

The sound of a video is one to three recordings of `CACHE/test` (see train/corpus), played again and again with pauses, in a
room, through an equaliser, with noise, sometimes clipped. Its pictures are shots of one to three photographs that
`corpus.photographs` keeps from training: filling the frame or somewhere in another scene, with pans and zooms, and shots without
the instrument between them. Both go through codecs at the low rates of people's uploads.

    python -m evaluate videos --data DATA --cache CACHE --none SPEECH_FOLDER EFFECTS_FOLDER
    python -m evaluate videos --cache CACHE --modalities

The first writes CACHE/videos/*.{mp4,webm,mkv} and CACHE/videos/manifest.csv (`path,labels,split,source`, where source names
the recordings, a slash, and the photographs). The second writes copies in CACHE/videos-VARIANT: `no-audio` and `no-video`
(the track is gone), `half-black` (every other second is black), `silent` (the sound is digital silence).
"""

import argparse
import csv
import pathlib
import subprocess
import tempfile

import numpy as np
import scipy.signal
import soundfile
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter
from tqdm import tqdm

from train.corpus.degrade import room
from train.corpus.photographs import fold, scan, split
from train.corpus.recordings import RATE, collage
from train.labels import CLASSES, LABELS, NONE

FPS = 10
RECORDED = ("gcompris",)  # sources of real recordings
SIZES = ((320, 240), (426, 240), (480, 270), (640, 360), (240, 426))  # width, height
CONTAINERS = {
    "mp4": ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-crf", "30", "-b:v", "250k", "-c:a", "libopus"],
    "mkv": ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "libmp3lame"],
}
# What ffmpeg does to a finished video; the half that is black is every other second.
VARIANTS = {
    "no-audio": ["-map", "0:v", "-c", "copy"],
    "no-video": ["-map", "0:a", "-c", "copy"],
    "half-black": ["-vf", "drawbox=t=fill:c=black:enable='mod(floor(t),2)'", "-c:a", "copy"],
    "silent": ["-af", "volume=0", "-c:v", "copy"],
}


def sounds(cache, label):
    """The real recordings of a label in CACHE/test; of a label with fewer than three also scores played with held-out notes."""
    found = [
        p for p in sorted((cache / "test" / label.lower()).glob("*.npy")) if not p.stem.endswith("__degraded") and not p.stem.split("__")[0].endswith("-notes")
    ]
    recorded = [p for p in found if p.stem.split("__")[0] in RECORDED]
    if not found:
        raise SystemExit(f"{cache}/test/{label.lower()} has no recordings: make them with 'python -m train corpus.render'")
    return recorded if len(recorded) > 2 else found


def photographs(data):
    """{class: test photographs}: held-out sources, and the left-out ones with an odd number, since `fusion` fits on the
    even ones; a label of which nothing else is left keeps those too.
    """
    training, test = split(scan(data), ["c101"])
    spared = fold(training)
    every = [*test, *(p for p in training if p in spared)]
    found = {}
    for target, name in enumerate(CLASSES):
        # Instruments outside the set are "none" as well, but here "none" has no instrument at all.
        own = [(i, p) for i, p in enumerate(every) if p.target == target and (name != NONE or p.folder == NONE)]
        odd = [p for i, p in own if i % 2 or p.source == "c101"]
        found[target] = odd or [p for _, p in own]
    return found


def music(rng, recordings, seconds):
    """The recordings one after another for `seconds`, at changing levels and speeds, with pauses."""
    out = np.zeros(int(seconds * RATE), np.float32)
    at = int(rng.uniform(0, 1.5) * RATE)
    while at < len(out):
        samples = recordings[rng.integers(len(recordings))]
        speed = np.exp(rng.normal(0, 0.03))
        samples = np.interp(np.arange(0, len(samples) - 1, speed), np.arange(len(samples)), samples)
        samples = samples[: len(out) - at] * 10 ** (rng.uniform(-10, 0) / 20)
        out[at : at + len(samples)] += samples
        at += len(samples) + int(rng.choice([0.1, 0.5, 2.0]) * rng.random() * RATE)
    return out


def recorded(rng, samples, background):
    """Samples as a telephone or a camera records them; `background` is speech or effects of the same length."""
    if rng.random() < 0.6:
        samples = room(samples, rng)
    if rng.random() < 0.7:  # a smooth equaliser
        gains = 10 ** (rng.normal(0, 3, 6) / 20)
        taps = scipy.signal.firwin2(255, np.linspace(0, 1, 6), gains)
        samples = scipy.signal.fftconvolve(samples, taps, "same")
    level = np.sqrt(np.mean(samples**2))
    if rng.random() < 0.25:
        samples = samples + background * (level / (np.sqrt(np.mean(background**2)) + 1e-9) * 10 ** (rng.uniform(-25, -8) / 20))
    hiss = scipy.signal.lfilter([1], [1, -rng.uniform(0, 0.98)], rng.normal(size=len(samples)))
    samples = samples + hiss * (level / hiss.std() * 10 ** (rng.uniform(-50, -18) / 20))
    samples = samples / (np.abs(samples).max() + 1e-9)
    if rng.random() < 0.25:
        samples = np.clip(rng.uniform(1.3, 4) * samples, -1, 1)
    return (samples * 10 ** (rng.uniform(-15, -1) / 20)).astype(np.float32)


def scene(rng, picture, background, size):
    """A still, half as large again as the frame, for a camera to move over; `picture` None leaves the background alone."""
    width, height = (round(1.5 * s) for s in size)

    def fill(photograph):
        scale = max(width / photograph.width, height / photograph.height)
        larger = photograph.resize((round(photograph.width * scale) + 1, round(photograph.height * scale) + 1), Image.BICUBIC)
        x, y = (larger.width - width) // 2, (larger.height - height) // 2
        return larger.crop((x, y, x + width, y + height))

    if picture is None:
        return fill(background)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:  # the picture fills the frame: cropped, or between bars when it has another shape
        return fill(picture)
    still = fill(background)
    scale = rng.uniform(0.55, 1.0) * min(width / picture.width, height / picture.height)
    small = picture.resize((max(8, round(picture.width * scale)), max(8, round(picture.height * scale))), Image.BICUBIC)
    place = (int(rng.integers(width - small.width + 1)), int(rng.integers(height - small.height + 1)))
    still.paste(small, place, cutout(small))
    return still


def cutout(picture):
    """255 where a picture is not its light ground that touches the corners; None when it has no such ground."""
    corners = [(0, 0), (picture.width - 1, 0), (0, picture.height - 1), (picture.width - 1, picture.height - 1)]
    if min(min(picture.getpixel(c)) for c in corners) < 225:
        return None
    filled, mark = picture.copy(), (255, 0, 255)
    for corner in corners:
        ImageDraw.floodfill(filled, corner, mark, thresh=40)
    ground = ImageChops.difference(filled, Image.new("RGB", filled.size, mark)).convert("L")
    return ground.point(lambda v: 255 if v else 0).filter(ImageFilter.GaussianBlur(0.7))


def shots(rng, photos, backgrounds, size, seconds, empty):
    """Frames, RGB, of shots of 2 to 7 s; `empty` is the share of shots without the instrument.

    The camera's light, blur and noise stay the same through a video, its hand is unsteady.
    """
    light = np.exp(rng.normal(0, 0.2, 2))  # brightness, contrast
    colour = 0.0 if rng.random() < 1 / 12 else np.exp(rng.normal(0, 0.25))
    blur = rng.uniform(0.4, 1.5) if rng.random() < 0.3 else 0
    noise = rng.uniform(2, 12) if rng.random() < 0.3 else 0
    unsteady = rng.uniform(0, 0.01)
    total, made = int(seconds * FPS), 0
    while made < total:
        background = backgrounds[rng.integers(len(backgrounds))].open()
        picture = None if not photos or rng.random() < empty else photos[rng.integers(len(photos))].open()
        still = scene(rng, picture, background, size)
        still = ImageEnhance.Contrast(ImageEnhance.Brightness(still).enhance(light[0])).enhance(light[1])
        still = ImageEnhance.Color(still).enhance(colour)
        length = min(int(rng.uniform(2, 7) * FPS), total - made)
        # From and to where the camera looks: the share of the still that it sees, and where.
        (zoom, x, y), end = rng.uniform((0.65, 0, 0), 1), rng.uniform((0.65, 0, 0), 1)
        for t in np.linspace(0, 1, length):
            share = zoom + t * (end[0] - zoom)
            w, h = share * still.width, share * still.height
            left, top = (np.clip((a + t * (b - a)) + rng.normal(0, unsteady), 0, 1) for a, b in ((x, end[1]), (y, end[2])))
            box = (left * (still.width - w), top * (still.height - h))
            frame = still.resize(size, Image.BILINEAR, (*box, box[0] + w, box[1] + h))
            if blur:
                frame = frame.filter(ImageFilter.GaussianBlur(blur))
            pixels = np.asarray(frame, np.float32)
            if noise:
                pixels = pixels + rng.normal(0, noise, (size[1], size[0], 1))
            yield np.clip(pixels, 0, 255).astype(np.uint8)
        made += length


def write(path, frames, size, samples, rng):
    """Encode frames and samples at RATE in the container that the path's suffix names."""
    kbits = int(rng.choice([24, 32, 48, 64]))
    quality = [] if path.suffix == ".webm" else ["-crf", str(rng.integers(28, 38))]
    partial = path.with_stem(path.stem + ".partial")
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/sound.wav", samples, RATE)
        process = subprocess.Popen(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "rgb24",
                "-s",
                f"{size[0]}x{size[1]}",
                "-r",
                str(FPS),
                "-i",
                "-",
                "-i",
                f"{folder}/sound.wav",
                *CONTAINERS[path.suffix[1:]],
                *quality,
                "-threads",
                "1",
                "-b:a",
                f"{kbits}k",
                "-shortest",
                str(partial),
            ],
            stdin=subprocess.PIPE,
        )
        for frame in frames:
            process.stdin.write(frame.tobytes())
        process.stdin.close()
        if process.wait():
            raise RuntimeError(f"ffmpeg cannot write {path}: see its message above")
    partial.replace(path)


def make(path, label, rng, args, photos):
    """One video of a label; returns the manifest's `source`."""
    seconds = rng.uniform(*args.seconds)
    size = SIZES[rng.choice(len(SIZES), p=(0.3, 0.25, 0.2, 0.1, 0.15))]
    folder = args.none[rng.integers(len(args.none))]
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".ogg", ".wav"))
    background = collage(files, rng, seconds)
    backgrounds = photos[CLASSES.index(NONE)]
    if label == NONE:
        chosen, shown, samples = [folder], [], background
    else:
        recordings = sounds(args.cache, label)
        own = photos[LABELS.index(label)]
        chosen = [recordings[i] for i in rng.permutation(len(recordings))[: rng.integers(1, 4)]]
        shown = [own[i] for i in rng.permutation(len(own))[: rng.integers(1, 4)]]
        samples = music(rng, [np.load(p).astype(np.float32) / 32768 for p in chosen], seconds)
    empty = rng.uniform(0.1, 0.5)
    if not path.exists():
        samples = recorded(rng, samples, background)
        write(path, shots(rng, shown, backgrounds, size, seconds, empty), size, samples, rng)
    names = sorted(pathlib.Path(p.path).stem for p in shown)
    return "+".join(sorted(p.stem for p in chosen)) + "/" + ("+".join(names) or "none")


def corpus(args):
    folder = args.cache / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    photos = photographs(args.data)
    todo = [(label, n) for label in CLASSES for n in range(args.nones if label == NONE else args.each)]
    rows = []
    for label, n in tqdm(todo, "videos", mininterval=5):
        rng = np.random.default_rng([args.seed, CLASSES.index(label), n])
        path = folder / f"{label.lower()}_{n:02}.{list(CONTAINERS)[rng.choice(3, p=(0.5, 0.3, 0.2))]}"
        rows.append((path.name, label.lower(), "test", make(path, label, rng, args, photos)))
    manifest(folder, rows)


def manifest(folder, rows):
    with open(folder / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "labels", "split", "source"), *rows])


def modalities(args):
    with open(args.cache / "videos" / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for variant, options in VARIANTS.items():
        folder = args.cache / f"videos-{variant}"
        folder.mkdir(parents=True, exist_ok=True)
        for row in tqdm(rows, variant, mininterval=5):
            path = folder / row["path"]
            if not path.exists():
                partial = path.with_stem(path.stem + ".partial")
                kept = CONTAINERS[path.suffix[1:]]
                codec = kept[: kept.index("-c:a")] if variant == "half-black" else kept[kept.index("-c:a") :] if variant == "silent" else []
                subprocess.run(
                    ["ffmpeg", "-v", "error", "-y", "-i", str(args.cache / "videos" / row["path"]), *codec, *options, "-threads", "1", str(partial)], check=True
                )
                partial.replace(path)
        manifest(folder, [tuple(row.values()) for row in rows])


def main(argv):
    parser = argparse.ArgumentParser(prog="evaluate videos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, help="folder with images/LABEL/SOURCE_NUMBER.jpg")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="with the recordings in test/; the videos go here too")
    parser.add_argument("--none", type=pathlib.Path, nargs="+", help="folders of speech, and of effects, that trained nothing")
    parser.add_argument("--modalities", action="store_true", help="make the variants with a part missing of videos that are there")
    parser.add_argument("--each", type=int, default=8, help="videos a label")
    parser.add_argument("--nones", type=int, default=12, help="videos without an instrument")
    parser.add_argument("--seconds", type=float, nargs=2, default=(20, 40), help="shortest and longest video")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    if args.modalities:
        return modalities(args)
    if not args.data or not args.none:
        parser.error("give --data and --none, or --modalities")
    corpus(args)
