# SPDX-License-Identifier: MPL-2.0
"""From photographs to what a frame of a user's video looks like: random scenes, crops, overlays and artefacts."""

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

# width / height of videos and how often they occur in training
ASPECTS = ((16 / 9, 0.5), (4 / 3, 0.25), (1.0, 0.1), (9 / 16, 0.1), (3 / 4, 0.05))

# pixels of a random frame: enough for models of up to 260 x 260
AREA = 1.3 * 260 * 260


def fit(picture, size, how="stretch", crop_fraction=1.0):
    """The picture as the plugin hands it to the model: size x size, `how` as in the card's `frame.fit`."""
    width, height = picture.size
    w, h = (width, height) if how == "stretch" else (min(width, height),) * 2
    w, h = w * crop_fraction, h * crop_fraction
    box = ((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
    return picture.resize((size, size), Image.BICUBIC, box)


def random_canvas(rng):
    """(width, height) of AREA pixels, shaped as videos are."""
    aspect = rng.choice([a for a, _ in ASPECTS], p=[p for _, p in ASPECTS])
    height = round(math.sqrt(AREA / aspect))
    return round(height * aspect), height


def video_frame(rng, picture, background):
    """A random frame of AREA pixels that shows `picture`; `background` is a picture without an instrument.

    Sometimes the picture is a part of a larger scene; otherwise it fills the frame, cropped. A picture whose
    ground can be cut out is more often put into a scene.
    """
    canvas = random_canvas(rng)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:
        angle = rng.normal(0, 12)
        picture = picture.rotate(angle, Image.BILINEAR, fillcolor=tuple(np.asarray(picture)[0, 0].tolist()))
    mask = _mask(picture)
    if rng.random() < (0.2 if mask is None else 0.55):
        frame = _place(rng, picture, mask, background, canvas)
    else:
        frame = crop(rng, picture, canvas, 0.45)
    frame = _light(rng, frame)
    frame = _blur(rng, frame)
    if rng.random() < 0.2:
        _bars(rng, frame)
    if rng.random() < 0.2:
        _caption(rng, frame)
    return _compress(rng, frame)


def crop(rng, picture, canvas, least):
    """A random part of the picture of at least `least` of its area, squashed by up to 1.35 to fill the canvas."""
    width, height = picture.size
    area = rng.uniform(least, 1.0) * width * height
    aspect = canvas[0] / canvas[1] * math.exp(rng.uniform(-0.3, 0.3))
    w, h = min(math.sqrt(area * aspect), width), min(math.sqrt(area / aspect), height)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return picture.resize(canvas, Image.BICUBIC, (x, y, x + w, y + h))


def _place(rng, picture, mask, background, canvas):
    """The picture, 0.3 to 1.1 of the frame's short side, somewhere on the background, its ground cut out."""
    frame = crop(rng, background, canvas, 0.5)
    scale = rng.uniform(0.3, 1.1) * min(canvas) / max(picture.size)
    stretch = math.exp(rng.uniform(-0.15, 0.15))
    w, h = (max(8, int(s * scale * k)) for s, k in zip(picture.size, (stretch, 1 / stretch)))
    pasted = picture.resize((w, h), Image.BICUBIC)
    # up to a third of it may be cut off by the frame
    x = int(rng.uniform(-0.33 * w, canvas[0] - 0.67 * w))
    y = int(rng.uniform(-0.33 * h, canvas[1] - 0.67 * h))
    frame.paste(pasted, (x, y), mask and mask.resize((w, h), Image.BILINEAR))
    return frame


def _mask(picture):
    """255 where a picture differs from its ground of one light colour, or None when it has no such ground."""
    pixels = np.asarray(picture, np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, 0)
    if ground.min() < 225 or np.abs(border - ground).mean() > 12:
        return None
    distance = np.abs(pixels - ground).max(2)
    return Image.fromarray(np.clip((distance - 6) * 12, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def _light(rng, frame):
    """Exposure, contrast, saturation and colour cast; one frame in 12 is grey."""
    pixels = np.asarray(frame, np.float32) / 255
    pixels = pixels ** math.exp(rng.normal(0.05, 0.3))
    if rng.random() < 0.5:
        pixels = pixels * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    if rng.random() < 0.3:
        pixels = pixels * rng.uniform(0.45, 1.1)
    frame = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    frame = ImageEnhance.Contrast(frame).enhance(math.exp(rng.normal(0, 0.15)))
    return ImageEnhance.Color(frame).enhance(0.0 if rng.random() < 1 / 12 else math.exp(rng.normal(0, 0.3)))


def _blur(rng, frame):
    kind = rng.random()
    if kind < 0.2:
        return frame.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    if kind < 0.35:  # motion: the mean of shifted copies
        dx, dy = rng.normal(0, 1.2, 2)
        pixels = np.asarray(frame, np.float32)
        steps = [np.roll(pixels, (round(dy * i), round(dx * i)), (0, 1)) for i in range(-2, 3)]
        return Image.fromarray(np.mean(steps, 0).astype(np.uint8))
    return frame


def _bars(rng, frame):
    """Letterbox or pillarbox."""
    draw, (w, h) = ImageDraw.Draw(frame), frame.size
    colour = 0 if rng.random() < 0.85 else 255
    if rng.random() < 0.5:
        bar = int(h * rng.uniform(0.04, 0.14))
        boxes = ((0, 0, w, bar), (0, h - bar, w, h))
    else:
        bar = int(w * rng.uniform(0.04, 0.2))
        boxes = ((0, 0, bar, h), (w - bar, 0, w, h))
    for box in boxes:
        draw.rectangle(box, (colour,) * 3)


def _caption(rng, frame):
    draw, (w, h) = ImageDraw.Draw(frame), frame.size
    font = ImageFont.load_default(size=int(h * rng.uniform(0.05, 0.12)))
    y = h * (rng.uniform(0.75, 0.9) if rng.random() < 0.7 else rng.uniform(0.02, 0.6))
    for line in range(rng.integers(1, 4)):
        text = "".join(rng.choice(list("abcdefghiklmnoprstuvwy  "), rng.integers(5, 26)))
        colour = tuple(int(c) for c in (rng.integers(180, 256, 3) if rng.random() < 0.8 else rng.integers(0, 256, 3)))
        draw.text((w * rng.uniform(0.02, 0.3), y + line * font.size * 1.1), text, colour, font, stroke_width=1, stroke_fill=(0, 0, 0))


def _compress(rng, frame):
    """Noise, low resolution and block artefacts."""
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(3, 14), (frame.size[1], frame.size[0], 1))
        frame = Image.fromarray(np.clip(np.asarray(frame) + noise, 0, 255).astype(np.uint8))
    size = frame.size
    if rng.random() < 0.35:
        scale = rng.uniform(0.3, 0.9)
        frame = frame.resize((int(size[0] * scale), int(size[1] * scale)), Image.BILINEAR)
    if rng.random() < 0.7:
        data = io.BytesIO()
        frame.save(data, "JPEG", quality=int(rng.integers(18, 80)), subsampling=2)
        frame = Image.open(data).convert("RGB")
    return frame if frame.size == size else frame.resize(size, Image.BILINEAR)
