#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Makes band.mp4: three scenes of ten seconds, a guitar, a trumpet and a drum kit, each heard alone and seen in a photograph.

Needs the Debian packages fluidsynth, fluid-soundfont-gm, ffmpeg and tuxpaint-stamps-default:

    examples/media/make.py
"""

import pathlib
import subprocess
import sys
import tempfile
from typing import Iterable, NamedTuple

STAMPS = pathlib.Path("/usr/share/tuxpaint/stamps/hobbies/music")
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
SIZE, RATE, SCENE = "480x360", 25, 10  # pixels, pictures a second, seconds a scene
TICKS = 480  # MIDI ticks a quarter note


class Note(NamedTuple):
    start: float  # quarter notes since the scene began
    length: float  # quarter notes
    key: int  # MIDI key, 60 is middle C
    velocity: int


class Scene(NamedTuple):
    photograph: str  # under STAMPS, without .png
    program: int  # General MIDI program, from 0
    channel: int  # 9 is the drum kit's
    tempo: float  # quarter notes a minute
    notes: list[Note]


def guitar() -> list[Note]:
    """Picked chords: A minor, F, C, G and A minor, eight eighth notes each."""
    chords = [(45, 52, 57, 60, 64), (41, 53, 57, 60, 65), (48, 52, 55, 60, 64), (43, 50, 55, 59, 67), (45, 52, 57, 60, 64)]
    pattern = (0, 2, 3, 4, 3, 2, 4, 3)
    return [
        Note(4 * bar + step / 2, 1.8 if string == 0 else 1.2, chord[string], 96 if step % 4 == 0 else 80)
        for bar, chord in enumerate(chords)
        for step, string in enumerate(pattern)
    ]


def trumpet() -> list[Note]:
    """A fanfare in B flat: (key, quarter notes), key 0 is a rest."""
    melody = [(58, 0.5), (62, 0.5), (65, 1), (65, 0.5), (67, 0.5), (65, 1), (62, 0.5), (65, 0.5), (70, 1.5), (69, 0.5), (67, 1), (65, 1)]
    melody += [(0, 0.5), (70, 0.5), (72, 0.5), (74, 1), (72, 0.5), (70, 1), (67, 0.5), (69, 0.5), (70, 2.5)]
    notes, start = [], 0.0
    for key, length in melody:
        if key:
            notes.append(Note(start, 0.92 * length, key, 104))
        start += length
    return notes


def drums() -> list[Note]:
    """A rock beat of four bars and a half with fills: 36 bass drum, 38 snare, 42 hi-hat, 49 crash, 41 to 50 toms."""
    notes = [Note(0, 1, 49, 110)]
    for bar in range(5):
        for step in range(8):
            at = 4 * bar + step / 2
            notes.append(Note(at, 0.2, 42, 90 if step % 2 == 0 else 70))
            if step in (0, 3, 5):
                notes.append(Note(at, 0.3, 36, 112))
            if step in (2, 6):
                notes.append(Note(at, 0.3, 38, 108))
        if bar % 2 == 1:
            fill = (50, 50, 47, 47, 45, 45, 41, 41)
            notes += [Note(4 * bar + 2 + step / 4, 0.2, key, 104) for step, key in enumerate(fill)]
            notes.append(Note(4 * bar + 4, 1, 49, 110))
    return notes


SCENES = [
    Scene("string/guitar_classical", 24, 0, 112, guitar()),
    Scene("brass/trumpet", 56, 1, 108, trumpet()),
    Scene("percussion/drumkit", 0, 9, 116, drums()),
]


def variable_length(value: int) -> bytes:
    """A MIDI file's variable-length number: seven bits a byte, the top bit set on all but the last."""
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(value & 0x7F | 0x80)
    return bytes(reversed(septets))


def midi(scenes: Iterable[Scene]) -> bytes:
    """A MIDI file (format 0) with the scenes one after another, SCENE seconds each, at 120 quarter notes a minute."""
    second = 2 * TICKS
    events: list[tuple[int, bytes]] = []
    for index, scene in enumerate(scenes):
        origin = index * SCENE * second
        quarter = 60 / scene.tempo * second
        events.append((origin, bytes([0xC0 | scene.channel, scene.program])))
        for note in scene.notes:
            start = round(note.start * quarter)
            # The last notes end half a second before the scene does, so that each instrument is heard alone.
            end = min(round((note.start + note.length) * quarter), SCENE * second - second // 2)
            if start < end:
                events.append((origin + start, bytes([0x90 | scene.channel, note.key, note.velocity])))
                events.append((origin + end, bytes([0x80 | scene.channel, note.key, 0])))
    # Of the events of one tick, notes off (0x8.) come before notes on (0x9.).
    events.sort(key=lambda event: (event[0], event[1][0] & 0xF0 == 0x90))
    track, now = b"", 0
    for tick, event in events:
        track += variable_length(tick - now) + event
        now = tick
    track += variable_length(second // 2) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4) + (0).to_bytes(2) + (1).to_bytes(2) + TICKS.to_bytes(2)
    return header + b"MTrk" + len(track).to_bytes(4) + track


def pictures(scenes: list[Scene]) -> str:
    """ffmpeg's filter graph: each photograph on a white ground with a slow zoom, one after another, as [video]."""
    count = SCENE * RATE
    width, height = map(int, SIZE.split("x"))
    graph = ""
    for index in range(len(scenes)):
        # Four times the size while zooming: zoompan moves by whole pixels.
        graph += (
            f"[{index}]format=rgba,scale={3 * width}:{3 * height}:force_original_aspect_ratio=decrease:flags=lanczos,"
            f"pad={4 * width}:{4 * height}:-1:-1:color=white@0,split[picture{index}][size{index}];"
            f"[size{index}]drawbox=color=0xf4f1ea:t=fill:replace=1[ground{index}];"
            f"[ground{index}][picture{index}]overlay,"
            f"zoompan=z=1+0.25*on/{count}:x=(iw-iw/zoom)/2:y=(ih-ih/zoom)/2:d={count}:s={SIZE}:fps={RATE},format=yuv420p[scene{index}];"
        )
    return graph + "".join(f"[scene{index}]" for index in range(len(scenes))) + f"concat=n={len(scenes)}[video]"


def main() -> None:
    output = pathlib.Path(__file__).with_name("band.mp4")
    seconds = SCENE * len(SCENES)
    with tempfile.TemporaryDirectory() as folder:
        score, music = pathlib.Path(folder, "band.mid"), pathlib.Path(folder, "band.wav")
        score.write_bytes(midi(SCENES))
        print(f"rendering {seconds} s of music", file=sys.stderr)
        subprocess.run(["fluidsynth", "-qni", "-g", "0.8", "-r", "44100", "-F", music, SOUNDFONT, score], check=True, stdout=subprocess.DEVNULL)
        print(f"encoding {output}", file=sys.stderr)
        photographs = [argument for scene in SCENES for argument in ("-i", STAMPS / f"{scene.photograph}.png")]
        command = ["ffmpeg", "-v", "error", "-stats", "-y", *photographs, "-i", music]
        command += ["-filter_complex", pictures(SCENES), "-map", "[video]", "-map", f"{len(SCENES)}:a", "-t", str(seconds)]
        command += ["-c:v", "libx264", "-preset", "slow", "-crf", "24", "-c:a", "aac", "-b:a", "128k"]
        command += ["-map_metadata", "-1", "-bitexact", "-movflags", "+faststart", output]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
