# SPDX-License-Identifier: MPL-2.0
"""Ids and labels of YouTube-8M's TFRecord files, without TensorFlow."""

import struct


def varint(data, at):
    """A protocol buffer's variable-length integer and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field of a protocol buffer; values are integers or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            length, at = {1: (8, at), 5: (4, at)}.get(key & 7) or varint(data, at)
            value, at = data[at : at + length], at + length
        yield key >> 3, value


def first(data):
    """The bytes in the first field of a protocol buffer."""
    return next(fields(data))[1]


def example(data):
    """(id, label indices) of a tf.train.Example or SequenceExample; both keep them in their first field."""
    features = {}
    for _, entry in fields(first(data)):
        entry = dict(fields(entry))
        features[entry[1].decode()] = dict(fields(entry[2]))
    identifier, labels = first(features["id"][1]), []
    for _, value in fields(features["labels"][3]):
        if isinstance(value, int):
            labels.append(value)
        else:  # packed
            at = 0
            while at < len(value):
                label, at = varint(value, at)
                labels.append(label)
    return identifier.decode(), labels


def records(path):
    """(id, label indices) of each record of a file; checksums are not looked at."""
    with path.open("rb") as file:
        while head := file.read(12):  # the data's length and a checksum; another checksum follows the data
            length = struct.unpack("<Q", head[:8].ljust(8, b"\0"))[0]
            data = file.read(length + 4)
            if len(head) < 12 or len(data) < length + 4:
                raise ValueError(f"{path}: the TFRecord file ends within a record; download it again")
            yield example(data[:length])
