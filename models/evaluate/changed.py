# SPDX-License-Identifier: MPL-2.0
"""Copies of videos as they are made by accident: talk over the sound, pictures out of focus."""

import pathlib
import subprocess

KINDS = ("talk", "blur")
# Speech is this much louder than the music, dB.
TALK = 0.0
# Standard deviation of the blur in the height of the picture.
BLUR = 1 / 80


def filters(kind):
    """ffmpeg's graph from the streams of a video, and of speech for talk, to [v] and [a]."""
    if kind == "talk":
        level = "aresample=16000,aformat=channel_layouts=mono,dynaudnorm=f=500:g=3"
        return f"[0:a]{level}[m];[1:a]{level},volume={TALK}dB[s];[m][s]amix=inputs=2:duration=first:normalize=0,alimiter=limit=0.9[a];[0:v]null[v]"
    return f"[0:v]scale=-2:320,gblur=sigma={320 * BLUR}[v];[0:a]anull[a]"


def copy(path, kind, speech, out):
    """Writes a changed copy of the video; `speech`: WAV files, of which some are said one after the other."""
    said = out.with_suffix(".txt")
    chosen = [speech[(hash_of(path.stem) + 7919 * n) % len(speech)] for n in range(12)] if kind == "talk" else []
    said.write_text("".join(f"file '{file.resolve()}'\n" for file in chosen))
    inputs = ["-i", str(path), *(["-f", "concat", "-safe", "0", "-i", str(said)] if chosen else [])]
    encoder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-threads", "1", "-c:a", "aac", "-b:a", "96k", "-shortest"]
    graph = ["-filter_complex", filters(kind), "-map", "[v]", "-map", "[a]"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *graph, *encoder, str(out)], check=True)
    said.unlink()


def hash_of(name):
    return sum(31**i * ord(c) for i, c in enumerate(name)) % 1_000_003


def copies(files, kind, speech, folder):
    """Copies of `files` with the same names in `folder`; those that are there are kept."""
    speech = sorted(pathlib.Path(speech).rglob("*.wav")) if speech else []
    # Single words are no talk.
    speech = [file for file in speech if file.stat().st_size > 30000]
    if kind == "talk" and not speech:
        raise SystemExit("talk requires --speech, a folder of WAV files")
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        out = folder / path.name
        if not out.exists():
            partial = folder / f"partial-{path.name}"
            copy(path, kind, speech, partial)
            partial.rename(out)
    return [folder / path.name for path in files]
