# SPDX-License-Identifier: MPL-2.0
"""Export of the picture models."""

import pathlib

import torch

from ..export import card, half


def write(tagger, path, name, view, metrics, provenance, licence="MPL-2.0", bits=16, embedding=1):
    """The tagger, its weights stored in so many bits, as a self-describing ONNX file; `embedding` is the version of its embedding."""
    tagger = tagger.float().cpu().eval()
    if bits == 16:
        half.round_weights(tagger)
    size, fit, crop_fraction = view
    path = pathlib.Path(path)
    example = {"frame": torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)}
    described = card.describe(
        name, "video", f"{name}/{embedding}", licence, provenance=provenance, metrics=metrics, frame={"fit": fit, "crop-fraction": crop_fraction}
    )
    card.export(tagger, example, ["tags", "embedding"], path, described)
    half.store(path, bits)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
