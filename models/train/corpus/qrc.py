# SPDX-License-Identifier: MPL-2.0
"""Qt resource files (`.rcc`, format versions 1 to 3), in which GCompris keeps its recordings.

The layout is that of Qt's own reader, qresource.cpp.
"""

import struct
import zlib

COMPRESSED, FOLDER, ZSTD = 1, 2, 4  # flags of an entry


def files(data):
    """(name without folders, bytes) of every file in the bytes of a resource file."""
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
        (length,) = struct.unpack_from(">H", data, names + offset)
        name = data[names + offset + 6 :][: 2 * length].decode("utf-16-be")
        (start,) = struct.unpack_from(">I", data, at + 10)
        (length,) = struct.unpack_from(">I", data, payload + start)
        content = data[payload + start + 4 :][:length]
        if flags & ZSTD:
            raise ValueError(f"{name} is compressed with Zstandard, which this does not read")
        yield name, zlib.decompress(content[4:]) if flags & COMPRESSED else content

    yield from walk(0)
