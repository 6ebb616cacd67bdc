# SPDX-License-Identifier: MPL-2.0
"""An exported picture model as a function from frames to embeddings."""

import numpy as np

from ..export.session import session


class Embedder:
    """An exported picture model: uint8 frames of its own size [n, H, W, 3] to embeddings float32 [n, D]; `view` makes such frames."""

    def __init__(self, path, described):
        self.session = session(path)
        given = self.session.get_inputs()[0]
        self.name, self.size = given.name, self.session.get_outputs()[1].shape[1]
        self.view = (given.shape[1], described["frame.fit"], float(described["frame.crop-fraction"]))

    def __call__(self, frames):
        # One at a time is three times faster in ONNX Runtime on a CPU than all together.
        return np.concatenate([self.session.run(["embedding"], {self.name: np.asarray(frame)[None]})[0] for frame in frames])
