# SPDX-License-Identifier: MPL-2.0
"""What one of ONNX Runtime's options costs: pictures that come one by one, as in a stream, through EfficientNet-Lite.

    python benches/options.py CHANGED

CHANGED is one of CHOICES; all else is as `frameclassify` has it. Prints a JSON object.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

MODEL = Path(__file__).parent.parent / "models/efficientnet-lite-yt8m13.onnx"
CHOICES = ("as in `frameclassify`", "spinning threads", "one thread", "no arena", "graph optimisation EXTENDED", "graph optimisation BASIC")
PICTURES, PAUSE = 30, 0.05


def main(changed: str) -> None:
    assert changed in CHOICES, f"{changed} is none of {CHOICES}"
    options = onnxruntime.SessionOptions()
    spins = changed == "spinning threads"
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.intra_op_num_threads = 1 if changed == "one thread" else 0
    options.enable_cpu_mem_arena = changed != "no arena"
    if changed.startswith("graph"):
        level = "ORT_ENABLE_" + changed.split()[-1]
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(1).integers(0, 256, (1, 260, 260, 3), np.uint8)
    session.run(None, {"frame": picture})
    cpu, wall = time.process_time(), 0.0
    for _ in range(PICTURES):
        begin = time.perf_counter()
        session.run(None, {"frame": picture})
        wall += time.perf_counter() - begin
        time.sleep(PAUSE)
    lines = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    print(json.dumps({"cpu": (time.process_time() - cpu) / PICTURES, "wall": wall / PICTURES, "resident": resident / 1024}))


if __name__ == "__main__":
    main(sys.argv[1])
