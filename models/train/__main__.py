# SPDX-License-Identifier: MPL-2.0
"""`python -m train COMMAND ...`: every command has its own --help."""

import importlib
import sys

COMMANDS = {
    "render": "make the audio training corpus",
    "qrc": "unpack the recordings of GCompris",
    "teach": "label the corpus with YAMNet",
    "manifest": "list files with their labels, split and source",
    "audio": "train, evaluate and export the audio network",
    "pictures.tune": "train, judge and export the picture network",
    "pictures.inception": "train, evaluate and export the paper's picture network",
    "pictures.distil": "teach the paper's picture network with another one's answers",
    "pictures.left_out": "embed the pictures that trained no model, for the fusions",
    "calibration": "fit a temperature, and measure calibration and thresholds",
    "variants": "make int8 and float16 variants of a model, and measure them",
    "sound.export": "export CED-Tiny's taggers, compare them with the crate's graph",
    "fusion.product": "export the product of two models' scores",
    "paper_fusion": "train, evaluate and export the paper's fusion network",
    "musicnn": "convert PyPI's musicnn for the plugin",
    "videos": "make the audio-visual test videos",
    "clips": "compare the tagger's results with a manifest",
}

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit("usage: python -m train COMMAND ...\n" + "\n".join(f"  {k:22}{v}" for k, v in COMMANDS.items()))
importlib.import_module(f"train.{sys.argv[1]}").main(sys.argv[2:])
