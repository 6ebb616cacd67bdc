# SPDX-License-Identifier: MPL-2.0
"""ONNX Runtime for a model that Python runs."""

import onnxruntime


def session(model):
    """The session of a path or an onnx.ModelProto: one thread, which sleeps when it has nothing to do, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model.SerializeToString() if hasattr(model, "SerializeToString") else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
