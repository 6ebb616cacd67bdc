# SPDX-License-Identifier: MPL-2.0
"""The paper's sound networks, a row each."""

import collections

from ..networks.choi import Choi
from ..networks.han import Han
from ..networks.xception import Xception

Model = collections.namedtuple("Model", "make release segmentation frames batch rate")
MODELS = {
    # make(), number of the released weights, segmentation of a recording, frames of a training patch, batch, learning rate
    "han": Model(Han, 2, "spread", 43, 64, 1e-3),
    "choi": Model(Choi, 3, "uniform", 192, 32, 1e-3),
    "xception": Model(Xception, 2, "uniform", 96, 32, 1e-3),
}
EMBEDDING = 1024  # of all of them
