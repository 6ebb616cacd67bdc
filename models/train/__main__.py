# SPDX-License-Identifier: MPL-2.0
"""`python -m train COMMAND ...`: every command has its own --help."""

import importlib
import sys

COMMANDS = {
    "corpus.tables": "print the tables of sources.toml, or write them into README.md",
    "corpus.packages": "fetch the packages that the corpus is made from",
    "corpus.render": "make the audio corpus",
    "corpus.music": "real recordings and unlabelled music with CED's scores",
    "corpus.manifest": "list files with their labels, split and source",
    "sound.material": "segments of real recordings, for the default sound model",
    "sound.tune": "train the default sound model, or that of a fold",
    "sound.export": "export CED-Tiny's taggers, compare them with the crate's graph",
    "sound.train": "train, judge and export the paper's sound networks",
    "pictures.tune": "train, judge and export the default picture model",
    "pictures.train": "train, judge and export the paper's picture networks",
    "fusion.fit": "fit and export the decision of the default fusions",
    "fusion.paper": "train, evaluate and export the paper's fusion network",
    "export.variants": "make int8 and float16 variants of a model, and measure them",
    "export.modelinfo": "write the sidecars that GStreamer's own inference elements read",
}

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit("usage: python -m train COMMAND ...\n" + "\n".join(f"  {k:22}{v}" for k, v in COMMANDS.items()))
importlib.import_module(f"train.{sys.argv[1]}").main(sys.argv[2:])
