# SPDX-License-Identifier: MPL-2.0
"""Qt resource files, made here by hand: `python -m unittest train.tests.test_qrc`."""

import struct
import unittest
import zlib

from train.corpus.qrc import files


def resource(version, entries, flags=0):
    """A resource file with one folder, which holds `entries` {name: bytes}."""
    names, payload, nodes = b"", b"", []
    for name, content in entries.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if flags else content
        nodes.append(struct.pack(">IHHHI", len(names), flags, 0, 0, len(payload)))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        payload += struct.pack(">I", len(stored)) + stored
    nodes.insert(0, struct.pack(">IHII", 0, 2, len(entries), 1))
    tree = b"".join(node + bytes(8) * (version > 1) for node in nodes)
    start = 20 + 4 * (version > 2)
    return struct.pack(">4s4I", b"qres", version, start, start + len(tree), start + len(tree) + len(payload)) + bytes(start - 20) + tree + payload + names


class Files(unittest.TestCase):
    def test_versions_and_compression(self):
        entries = {"accordion.ogg": b"OggS", "é.txt": b"a" * 100}
        for version in (1, 2, 3):
            for flags in (0, 1):
                self.assertEqual(dict(files(resource(version, entries, flags))), entries)

    def test_another_file_is_refused(self):
        with self.assertRaisesRegex(ValueError, "not a Qt resource file"):
            dict(files(bytes(20)))


if __name__ == "__main__":
    unittest.main()
