# SPDX-License-Identifier: MPL-2.0
"""The plugin's protocol in Python: a file through a sound model, a picture model and their fusion, with ONNX Runtime."""

import hashlib
import pathlib

import numpy as np
import onnxruntime

from train.export import card

from . import decode, front_end


def spread(n, k):
    """Indices of `k` of `n`, evenly spread: the middle of each of k equal parts."""
    return [(2 * part + 1) * n // (2 * k) for part in range(k)]


def kept(n, k):
    """Indices of the pictures that the plugin keeps of a stream of `n` to choose `k` from: beyond 2 k, every second, fourth, ..."""
    step = 1
    while -(-n // step) > 2 * k:
        step *= 2
    return list(range(0, n, step))


def cached(folder, path, kind, make):
    """What `make()` returns for a file, a dict of arrays, kept in `folder` (None: not kept) until the file changes."""
    if not folder:
        return make()
    stat = path.stat()
    key = hashlib.md5(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns} {kind}".encode()).hexdigest()[:16]
    store = folder / f"{path.stem}-{key}.npz"
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        np.savez(store, **make())
    with np.load(store) as file:
        return dict(file)


class Model:
    """An exported model and its card; what it said of a file is kept in a folder of `cache`."""

    def __init__(self, path, cache=None, threads=1):
        self.path, self.card = pathlib.Path(path), card.read(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.cache = cache and cache / f"{self.path.stem}-{hashlib.md5(self.path.read_bytes()).hexdigest()[:8]}"

    def run(self, inputs, batch=8):
        """tags [n, C] and embedding [n, D] of inputs [n, ...]."""
        name = self.session.get_inputs()[0].name
        parts = [self.session.run(["tags", "embedding"], {name: inputs[i : i + batch]}) for i in range(0, len(inputs), batch)]
        return tuple(np.concatenate(p) for p in zip(*parts))


def hear(model, path, segmentation, partial, window, stride):
    """{"tags" [n, C], "embeddings" [n, D], "spans" [n, 2]} of a file's sound, or None when it has none."""

    def make():
        f = front_end.settings(model.card)
        samples = decode.sound(path, f["rate"])
        mels, spans = front_end.patches(samples, f, segmentation, partial, window, stride) if samples is not None else ([], [])
        if not len(mels):
            return {"spans": np.zeros((0, 2))}
        tags, embeddings = model.run(mels)
        return {"tags": tags, "embeddings": embeddings, "spans": np.array(spans)}

    found = cached(model.cache, path, f"{segmentation} {partial} {window} {stride}", make)
    return found if len(found["spans"]) else None


def look(model, path):
    """{"tags" [n, C], "embeddings" [n, D]} of a file's pictures, one a second, or None when it has none."""

    def make():
        size = model.session.get_inputs()[0].shape[1]
        frames = decode.pictures(path, size, model.card["frame.fit"], float(model.card["frame.crop-fraction"]))
        if frames is None:
            return {"count": 0}
        tags, embeddings = model.run(frames)
        return {"count": len(frames), "tags": tags, "embeddings": embeddings}

    found = cached(model.cache, path, "pictures", make)
    return found if found["count"] else None


def fuse(model, seen, heard, k):
    """Fused scores [C] of what `look` and `hear` found (either may be None), with `k` pictures."""
    shapes = {i.name: i.shape for i in model.session.get_inputs()}
    video = np.zeros((1, 1, shapes["video"][2]), np.float32)
    sound = np.zeros((1, shapes["audio"][1]), np.float32)
    fixed = model.card.get("fusion.frames", "any")
    if seen is not None:
        if fixed == "any":
            rows = kept(len(seen["embeddings"]), k)
            rows = [rows[i] for i in spread(len(rows), min(k, len(rows)))]
        else:
            rows = spread(len(seen["embeddings"]), int(fixed))
        video = seen["embeddings"][rows][None]
    elif fixed != "any":
        video = np.zeros((1, int(fixed), shapes["video"][2]), np.float32)
    if heard is not None:
        lengths = heard["spans"][:, 1] - heard["spans"][:, 0]
        sound = np.average(heard["embeddings"], axis=0, weights=lengths)[None].astype(np.float32)
    present = np.array([[seen is not None, heard is not None]], np.float32)
    return model.session.run(["tags"], {"video": video, "audio": sound, "present": present})[0][0]
