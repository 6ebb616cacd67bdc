#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Makes the golden data beside it: a short piece of music and its mel patches as librosa computes them.

    python tests/data/mel/make.py [SOUNDFONT]

Needs fluidsynth, a General MIDI soundfont (default: the one of Debian's timgm6mb-soundfont), librosa and
soundfile. Writes music-RATE.wav (mono, S16) and PRESET.f32 (patches [bands, frames], little-endian float32).
"""

import pathlib
import struct
import subprocess
import sys
import tempfile

import librosa
import numpy as np
import soundfile

HERE = pathlib.Path(__file__).parent
SOUNDFONT = "/usr/share/sounds/sf2/TimGM6mb.sf2"
SECONDS = 5
TICKS = 480  # a quarter note, half a second at MIDI's default tempo


def variable_length(value):
    data = [value & 0x7F]
    while value := value >> 7:
        data.insert(0, 0x80 | (value & 0x7F))
    return bytes(data)


def piece():
    """A MIDI file: piano arpeggios, a cello line, a flute above it and drums; the last notes die away."""
    events = [(0, bytes([0xC0, 0])), (0, bytes([0xC1, 42])), (0, bytes([0xC2, 73]))]

    def note(channel, start, beats, pitch, velocity):
        events.append((int(start * TICKS), bytes([0x90 | channel, pitch, velocity])))
        events.append((int((start + beats) * TICKS) - 1, bytes([0x80 | channel, pitch, 0])))

    for beat, (root, third) in enumerate([(45, 3), (45, 3), (41, 4), (41, 4), (48, 4), (43, 4), (45, 3), (45, 3)]):
        for step, interval in enumerate([0, 7, 12, 12 + third]):
            note(0, beat + step / 4, 0.5, root + interval, 70 + 10 * (step == 0))
        note(1, beat, 1, root, 90)
        note(9, beat, 0.25, 36, 100)
        note(9, beat + 0.5, 0.25, 42, 70)
        if beat % 2:
            note(9, beat, 0.25, 38, 95)
    for start, beats, pitch in [(0, 1.5, 76), (1.5, 0.5, 74), (2, 1, 72), (3, 1, 77), (4, 1.5, 79), (5.5, 0.5, 83), (6, 2, 81)]:
        note(2, start, beats, pitch, 85)

    track, now = b"", 0
    for time, event in sorted(events, key=lambda e: e[0]):
        track += variable_length(time - now) + event
        now = time
    track += bytes([0, 0xFF, 0x2F, 0])
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def render(soundfont):
    """The piece as mono float samples at 44.1 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = pathlib.Path(folder, "piece.mid"), pathlib.Path(folder, "piece.wav")
        midi.write_bytes(piece())
        subprocess.run(["fluidsynth", "-niq", "-g", "0.8", "-r", "44100", "-F", wav, soundfont, midi], check=True)
        samples, _ = soundfile.read(wav)
    return samples.mean(axis=1)[:SECONDS * 44100]


def mel(samples, rate, pad_mode="constant", **parameters):
    return librosa.feature.melspectrogram(y=samples, sr=rate, pad_mode=pad_mode, **parameters)


def cut(spectrogram, frames):
    """The whole patches of a spectrogram, one after the other."""
    return [spectrogram[:, start:start + frames] for start in range(0, spectrogram.shape[1] - frames + 1, frames)]


def choi(samples):
    power = mel(samples, 12000, n_fft=512, hop_length=256, n_mels=96)
    return [librosa.power_to_db(power ** 2, ref=1.0, amin=1e-10, top_db=80)]


def han(samples):
    power = mel(samples, 22050, n_fft=1024, hop_length=512, n_mels=128)
    return [librosa.power_to_db(patch, ref=1.0, amin=1e-10, top_db=80) for patch in cut(power, 43)]


def yamnet(samples):
    magnitude = mel(samples, 16000, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=125, fmax=7500,
                    htk=True, norm=None, power=1, center=False)
    return cut(np.log(magnitude + 0.001), 96)


def musicnn(samples):
    power = mel(samples, 16000, n_fft=512, hop_length=256, n_mels=96)
    return cut(np.log10(1 + 10000 * power), 187)


def ced(samples):
    """Patches of 100 frames one after the other, each the mirrored signal of its own 99 hops."""
    hop, frames = 160, 100
    patches = [
        mel(samples[start:start + (frames - 1) * hop], 16000, "reflect", n_fft=512, hop_length=hop, n_mels=64, fmin=0, fmax=8000, htk=True, norm=None)
        for start in range(0, len(samples) - (frames - 1) * hop + 1, frames * hop)
    ]
    return [librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None) for power in patches]


def main():
    music = render(sys.argv[1] if len(sys.argv) > 1 else SOUNDFONT)
    for rate in (12000, 16000, 22050):
        samples = librosa.resample(music, orig_sr=44100, target_sr=rate)
        soundfile.write(HERE / f"music-{rate}.wav", samples, rate, subtype="PCM_16")
    for front_end, rate in ((choi, 12000), (han, 22050), (yamnet, 16000), (musicnn, 16000), (ced, 16000)):
        samples, _ = soundfile.read(HERE / f"music-{rate}.wav", dtype="float32")
        patches = np.stack(front_end(samples)).astype("<f4")
        patches.tofile(HERE / f"{front_end.__name__}.f32")
        print(front_end.__name__, patches.shape, f"{patches.min():.2f} to {patches.max():.2f}")


if __name__ == "__main__":
    main()
