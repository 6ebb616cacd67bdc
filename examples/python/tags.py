#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Prints a file's instrument tags twice: as they come on the bus, and as they ride on the buffers.

    scripts/env examples/python/tags.py examples/media/band.mp4
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

PIPELINE = """
    uridecodebin name=decoder
    decoder. ! queue ! frameclassify ! fuse.video
    decoder. ! queue ! melspec ! frameclassify ! fuse.audio
    avfuse name=fuse ! fakesink name=sink sync=false
"""


def show(where, result):
    tags = ", ".join(f"{label} {score:.2f}" for label, score in zip(result["labels"], result["scores"]))
    sys.stdout.write(f"{where} {result['source']} {result['start'] / Gst.SECOND:.2f} s: {tags}\n")


def on_message(message):
    result = message.get_structure()
    if result is not None and result.get_name() == "instrument-tags":
        show("bus", result)


def on_buffer(_pad, info):
    meta = info.get_buffer().get_custom_meta("InstrumentTagsMeta")
    for result in meta.get_structure()["tags"] if meta else []:
        if result["fresh"]:  # later buffers carry the same result until the next one
            show("buffer", result)
    return Gst.PadProbeReturn.OK


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tags.py FILE")
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    pipeline.get_by_name("decoder").set_property("uri", Gst.filename_to_uri(sys.argv[1]))
    pipeline.get_by_name("sink").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_buffer)
    pipeline.set_state(Gst.State.PLAYING)
    wanted = Gst.MessageType.ELEMENT | Gst.MessageType.ERROR | Gst.MessageType.EOS
    while (message := pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, wanted)).type == Gst.MessageType.ELEMENT:
        on_message(message)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        error, _debug = message.parse_error()
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
