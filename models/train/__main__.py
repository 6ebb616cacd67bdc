# SPDX-License-Identifier: MPL-2.0
"""`python -m train COMMAND ...`: every command has its own --help."""

import importlib
import sys

COMMANDS = {
    "render": "make the audio training corpus",
    "teach": "label the corpus with YAMNet",
    "audio": "train, evaluate and export the audio network",
    "visual": "train, evaluate and export the visual network",
    "fusion": "train, evaluate and export the fusion network",
    "clips": "compare the tagger's results with a manifest",
}

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit("usage: python -m train COMMAND ...\n" + "\n".join(f"  {k:8}{v}" for k, v in COMMANDS.items()))
importlib.import_module(f"train.{sys.argv[1]}").main(sys.argv[2:])
