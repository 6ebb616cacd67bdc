#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Prints the instrument tags of a file's sound from GStreamer's own analytics metadata; needs GStreamer 1.24 or newer.

    scripts/env examples/python/analytics.py examples/media/band.mp4
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstAnalytics", "1.0")
from gi.repository import GLib, Gst, GstAnalytics

PIPELINE = "uridecodebin3 name=decoder ! melspec ! frameclassify ! fakesink name=sink sync=false"

latest = None


def classifications(buffer):
    """The labels with their confidences of each classification on the buffer, the best label first."""
    meta = GstAnalytics.buffer_get_analytics_relation_meta(buffer)
    for number in range(GstAnalytics.relation_get_length(meta) if meta else 0):
        found, result = meta.get_cls_mtd(number)
        if found:
            yield [(GLib.quark_to_string(result.get_quark(i)), result.get_level(i)) for i in range(result.get_length())]


def on_buffer(_pad, info):
    global latest
    buffer = info.get_buffer()
    for result in classifications(buffer):
        tags = ", ".join(f"{label} {level:.2f}" for label, level in result)
        if tags != latest:  # later buffers carry the same result until the next one
            latest = tags
            sys.stdout.write(f"{buffer.pts / Gst.SECOND:.2f} s: {tags}\n")
    return Gst.PadProbeReturn.OK


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: analytics.py FILE")
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    pipeline.get_by_name("decoder").set_property("uri", Gst.filename_to_uri(sys.argv[1]))
    pipeline.get_by_name("sink").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_buffer)
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.ERROR | Gst.MessageType.EOS)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        error, _debug = message.parse_error()
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
