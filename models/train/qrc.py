# SPDX-License-Identifier: MPL-2.0
"""Unpacks a Qt resource file (`.rcc`, format versions 1 to 3), in which GCompris keeps its recordings:

    python -m train qrc x/gcompris-qt-data/usr/share/gcompris-qt/rcc/instruments.rcc gcompris --suffix .ogg

Files are written by their names, without their folders. The layout is that of Qt's own reader, qresource.cpp.
"""

import argparse
import pathlib
import struct
import zlib

COMPRESSED, FOLDER, ZSTD = 1, 2, 4  # flags of an entry


def files(data):
    """(name, bytes) of every file in the bytes of a resource file."""
    magic, version, tree, payload, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres" or not 1 <= version <= 3:
        raise ValueError("not a Qt resource file of version 1 to 3: it must begin with 'qres' and the version")
    size = 14 if version == 1 else 22  # of an entry

    def walk(node):
        at = tree + node * size
        offset, flags = struct.unpack_from(">IH", data, at)
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child)
            return
        length, = struct.unpack_from(">H", data, names + offset)
        name = data[names + offset + 6:][:2 * length].decode("utf-16-be")
        start, = struct.unpack_from(">I", data, at + 10)
        length, = struct.unpack_from(">I", data, payload + start)
        content = data[payload + start + 4:][:length]
        if flags & ZSTD:
            raise ValueError(f"{name} is compressed with Zstandard, which this does not read")
        yield name, zlib.decompress(content[4:]) if flags & COMPRESSED else content

    yield from walk(0)


def main(argv):
    parser = argparse.ArgumentParser(prog="train qrc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--suffix", default="", help="of the files to write (all)")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(args.file.read_bytes()):
        if name.endswith(args.suffix):
            (args.folder / name).write_bytes(content)
