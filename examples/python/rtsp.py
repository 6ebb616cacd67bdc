#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Serves an MP4 file of H.264 and AAC at rtsp://127.0.0.1:8554/tagged, and prints its instruments while a client plays it.

    scripts/env examples/python/rtsp.py examples/media/band.mp4

The streams are served as they are in the file; the program reads the tags in a pad probe in front of the payloader.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

PIPELINE = """( instrumenttagger name=tagger
    filesrc location="{}" ! qtdemux name=demuxer
    demuxer.video_0 ! queue ! h264parse ! tagger.video tagger.video_src ! queue ! rtph264pay name=pay0 pt=96 config-interval=1
    demuxer.audio_0 ! queue ! aacparse ! tagger.audio tagger.audio_src ! queue ! rtpmp4gpay name=pay1 pt=97 )"""


def on_buffer(_pad, info):
    meta = info.get_buffer().get_custom_meta("InstrumentTagsMeta")
    for result in meta.get_structure()["tags"] if meta else []:
        if result["fresh"]:  # later buffers carry the same result until the next one
            tags = ", ".join(f"{label} {score:.2f}" for label, score in zip(result["labels"], result["scores"]))
            print(f"{result['source']} {result['start'] / Gst.SECOND:.2f} s: {tags}", flush=True)
    return Gst.PadProbeReturn.OK


def on_media(_factory, media):
    payloader = media.get_element().get_by_name("pay0")
    payloader.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_buffer)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: rtsp.py FILE")
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(sys.argv[1]))
    factory.set_shared(True)  # all clients watch the same pipeline
    factory.connect("media-configure", on_media)
    server = GstRtspServer.RTSPServer()
    server.get_mount_points().add_factory("/tagged", factory)
    if server.attach(None) == 0:
        sys.exit("error: port 8554 is in use")
    print("rtsp://127.0.0.1:8554/tagged", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
