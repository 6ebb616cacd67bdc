# SPDX-License-Identifier: MPL-2.0
"""The table of sources, `sources.toml`, as Python objects and as the tables of README.md.

python -m train corpus.sources            # prints the tables
python -m train corpus.sources --write    # puts them into README.md
"""

import pathlib
import re
import tomllib
from dataclasses import dataclass

from ..labels import LABELS, NONE

FILE = pathlib.Path(__file__).with_name("sources.toml")
SPLITS = ("train", "test", "folds")
KINDS = ("real", "soundfont", "notes", "recordings", "collage", "music", "nothing")
# Kinds that `corpus.render` makes recordings of.
RENDERED = ("soundfont", "notes", "recordings", "collage")


@dataclass(frozen=True)
class Source:
    """One row. `files` are pairs of a label (None: the name of the file's folder) and a glob."""

    name: str
    kind: str
    files: tuple[tuple[str | None, str], ...]
    packages: tuple[str, ...]
    archives: tuple[str, ...]
    split: str
    licence: str
    what: str
    match: str = ""
    group: str = ""
    table: str = ""
    into: str = ""

    @property
    def labels(self):
        return tuple(dict.fromkeys(label for label, _ in self.files if label))

    def roots(self, sounds, data):
        """The folders that the globs start from: the unpacked packages in `sounds`, or `data`."""
        if not self.packages:
            return [pathlib.Path(data)]
        return [pathlib.Path(sounds, "archives" if self.archives else "packages", folder(package)) for package in self.packages]

    def paths(self, sounds, data, label=None):
        """The files, sorted; with `label`, those of that label."""
        found = {p for root in self.roots(sounds, data) for own, glob in self.files if label in (None, own) for p in root.glob(glob)}
        return sorted(p for p in found if re.search(self.match, str(p)))


def folder(package):
    """The folder of an unpacked package, such as "npm-audio-samples-piano"."""
    return re.sub("[^a-z0-9.+]+", "-", package.lower())


def _texts(value):
    return (value,) if isinstance(value, str) else tuple(value)


def _source(name, kind, row):
    row = dict(row)
    files, label = row.pop("files", "**/*"), row.pop("label", NONE if kind == "collage" else None)
    pairs = files.items() if isinstance(files, dict) else [(label, files)]
    source = Source(
        name,
        kind,
        tuple((own, glob) for own, globs in pairs for glob in _texts(globs)),
        packages=_texts(row.pop("from", ())),
        archives=_texts(row.pop("archive", ())),
        **row,
    )
    unknown = [label for label in source.labels if label not in (*LABELS, NONE)]
    if kind not in KINDS or source.split not in SPLITS or unknown:
        raise ValueError(f"{FILE.name}: [{kind}] {name}: the section, the split or the label {', '.join(unknown)} is unknown")
    return source


def read(*kinds):
    """{name: Source} of the kinds (all of them without one), in the order of the table."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: _source(name, kind, row) for kind, rows in table.items() if not kinds or kind in kinds for name, row in rows.items()}


# Sources of sound that only ever test: no recording, player or sample set of theirs trains.
TEST = tuple(name for name, source in read(*RENDERED).items() if source.split == "test")


def is_test(source):
    """Whether a source of sound, such as "gcompris" or "gcompris-effects", is for tests alone."""
    return any(source == name or source.startswith(f"{name}-") for name in TEST)
