# SPDX-License-Identifier: MPL-2.0
import os

# ONNX Runtime sends telemetry unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
