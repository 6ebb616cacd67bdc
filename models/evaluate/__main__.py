# SPDX-License-Identifier: MPL-2.0
"""`python -m evaluate COMMAND ...`: every command has its own --help."""

import importlib
import sys

COMMANDS = {
    "plugin": "figures of what instruments tag --json printed",
    "python": "the same protocol in Python: tag the files of a manifest with ONNX models",
    "baselines": "tag the files of a manifest with YAMNet and EfficientNet-Lite2 as they come, and the mean of both",
    "real": "systems side by side on real recordings and videos, with intervals",
    "agree": "compare two files of results",
    "wild": "the product on real videos of strangers, beside untrained models, with intervals",
    "clips": "a Markdown table of the tagger's results of the clips of a manifest",
    "videos": "make the audio-visual test videos",
    "none": "how often something is tagged where there is no instrument",
}

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit("usage: python -m evaluate COMMAND ...\n" + "\n".join(f"  {k:10}{v}" for k, v in COMMANDS.items()))
importlib.import_module(f"evaluate.{sys.argv[1]}").main(sys.argv[2:])
