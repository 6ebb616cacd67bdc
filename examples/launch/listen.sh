#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Tags a file's audio only, as fast as it can be decoded. Run it through scripts/env:
#     scripts/env examples/launch/listen.sh [FILE]
file=$(realpath "${1:-$(dirname "$0")/../media/band.mp4}")
exec gst-launch-1.0 -m uridecodebin uri="file://$file" expose-all-streams=false caps=audio/x-raw \
    ! melspec ! frameclassify ! fakesink
