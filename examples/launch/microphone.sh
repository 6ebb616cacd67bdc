#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Tags what the default microphone hears, a result a second. Run it through scripts/env and stop it with Ctrl-C:
#     scripts/env examples/launch/microphone.sh
exec gst-launch-1.0 -m autoaudiosrc ! queue ! melspec patch-interval=1000000000 ! frameclassify ! fakesink
