# SPDX-License-Identifier: MPL-2.0
"""The tables of README.md, printed from `sources.toml`.

python -m train corpus.tables            # prints them
python -m train corpus.tables --write    # puts them into README.md
"""

import argparse
import pathlib
import re

from ..labels import LABELS, NONE
from . import sources

README = pathlib.Path(__file__).parents[1] / "README.md"


def markdown():
    """The tables of README.md: {name: Markdown}."""
    real = ["| source | what | files | split | licence |", "| --- | --- | --- | --- | --- |"]
    for s in sources.read("real").values():
        real.append(f"| {s.name} | {s.what} | `{s.files[0][1]}` | {s.split} | {s.licence} |")
    rendered = ["| label | trains | tests |", "| --- | --- | --- |"]
    table = list(sources.read(*sources.RENDERED).values())
    every = [s.name for s in table if not s.labels]
    rendered.append(f"| every label | {', '.join(every)} | |")
    for label in sorted(LABELS) + [NONE]:
        own = [s for s in table if label in s.labels]
        rendered.append(f"| {label} | " + " | ".join(", ".join(s.name for s in own if s.split == split) for split in sources.SPLITS[:2]) + " |")
    packages = ["| package | sources | licence |", "| --- | --- | --- |"]
    by_package = {}
    for s in sources.read().values():
        for package in s.packages:
            by_package.setdefault(package, []).append(s)
    for package, own in by_package.items():
        where, _, name = package.partition(":")
        what = ", ".join(f"{s.name} ({s.what})" for s in own)
        packages.append(f"| {'Debian' if where == 'deb' else 'npm'}: {name} | {what} | {', '.join(dict.fromkeys(s.licence for s in own))} |")
    return {name: "\n".join(rows) for name, rows in (("real", real), ("rendered", rendered), ("packages", packages))}


def in_text(text):
    """A Markdown text with the tables between its markers `<!-- sources: NAME -->` and `<!-- end -->` printed anew."""
    for name, table in markdown().items():
        pattern = re.compile(f"(<!-- sources: {name} -->\n).*?(<!-- end -->)", re.S)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"the text has no line <!-- sources: {name} --> with <!-- end --> below it: add both")
        text = pattern.sub(lambda found, table=table: found[1] + table + "\n" + found[2], text)
    return text


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    if parser.parse_args(argv).write:
        README.write_text(in_text(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(markdown().values()))
