#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Shows a file's pictures; prints what is heard, what is seen, and both together. Run it through scripts/env:
#     scripts/env examples/launch/watch.sh [FILE]
file=$(realpath "${1:-$(dirname "$0")/../media/band.mp4}")
exec gst-launch-1.0 -m uridecodebin uri="file://$file" name=d \
    d. ! queue ! frameclassify ! fuse.video \
    d. ! queue ! melspec ! frameclassify ! fuse.audio \
    avfuse name=fuse ! videoconvert ! autovideosink
