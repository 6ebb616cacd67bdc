# SPDX-License-Identifier: MPL-2.0
"""Times the plugin and its peers in turns; `scripts/bench` runs it.

All times are CPU seconds of all threads, and all peers have one thread. A round times every job once, so that
whatever else the machine does meets all alike; what counts are ratios of medians over the rounds.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import librosa
import numpy as np
import onnxruntime

try:
    import torch
    import torchaudio
except ImportError:
    torchaudio = None

ROOT = Path(__file__).parent.parent
MEDIA = ROOT / "examples/media/band.mp4"
SECONDS = 29.12
PICTURES = 20  # of one run of the inference jobs, as in benches/pipeline.rs
PIPELINE_SECONDS = 120  # of sound in one run of the pipeline jobs, as there
MEL = {"n_fft": 512, "hop_length": 256, "n_mels": 96, "power": 2.0}


class Served:
    """A bench program of this crate, which runs its jobs by name."""

    def __init__(self, name: str) -> None:
        program = (ROOT / ".bench" / name).read_text()
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def job(self, name: str):
        def run() -> float:
            print(name, file=self.process.stdin, flush=True)
            return float(self.process.stdout.readline())

        return run


def timed(work):
    def run() -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    return run


def child(*command: str):
    """The CPU time of a program of its own."""

    def run() -> float:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"bench: {' '.join(command)} failed")
        return usage.ru_utime + usage.ru_stime

    return run


def measure(jobs: dict, rounds: int) -> dict[str, float]:
    """The median time of each job."""
    times = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            times[name].append(job())
    return {name: median(values[1:]) for name, values in times.items()}  # the first warms up


def noise(rate: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, int(SECONDS * rate)).astype(np.float32)


def mel_jobs(quick: bool) -> dict:
    """One patch of Choi's front end, from mono floats at 12 kHz and from 48 kHz S16 stereo."""
    rust = Served("mel")
    sound = noise(12_000)
    stereo = (np.stack([noise(48_000)] * 2, axis=1) * 32768).astype(np.int16)

    def mel(sound: np.ndarray) -> np.ndarray:
        return librosa.amplitude_to_db(librosa.feature.melspectrogram(y=sound, sr=12_000, pad_mode="constant", **MEL))

    def mono() -> np.ndarray:
        return stereo.astype(np.float32).mean(axis=1) / 32768

    jobs = {name: rust.job(name) for name in ("fft", "mel", "mel-48000-stereo", "mel-44100-stereo")}
    jobs["librosa"] = timed(lambda: mel(sound))
    jobs["librosa, soxr"] = timed(
        lambda: mel(librosa.resample(mono(), orig_sr=48_000, target_sr=12_000, res_type="soxr_hq"))
    )
    if torchaudio:
        torch.set_num_threads(1)
        transform = torch.nn.Sequential(
            torchaudio.transforms.MelSpectrogram(
                12_000, **MEL, win_length=512, pad_mode="constant", norm="slaney", mel_scale="slaney"
            ),
            torchaudio.transforms.AmplitudeToDB("magnitude", 80),
        )
        resample = torchaudio.transforms.Resample(48_000, 12_000, lowpass_filter_width=64)
        tensor = torch.from_numpy(sound)
        jobs["torchaudio"] = timed(lambda: transform(tensor))
        jobs["torchaudio, its resampler"] = timed(lambda: transform(resample(torch.from_numpy(mono()))))
    if not quick:
        jobs |= other_front_ends(sound)
    return jobs


def other_front_ends(sound: np.ndarray) -> dict:
    """Libraries whose mel spectrogram is not the same, but the same amount of work."""
    jobs = {}
    try:
        import kaldi_native_fbank

        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq, options.mel_opts.num_bins = 12_000, 96
        options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 512 / 12, 256 / 12
        options.frame_opts.dither = 0
        samples = sound.tolist()

        def kaldi() -> None:
            fbank = kaldi_native_fbank.OnlineFbank(options)
            fbank.accept_waveform(12_000, samples)
            fbank.input_finished()

        jobs["kaldi-native-fbank"] = timed(kaldi)
    except ImportError:
        pass
    try:
        from essentia import Pool, run
        from essentia.streaming import FrameCutter, MelBands, Spectrum, VectorInput, Windowing

        def essentia() -> None:
            source, pool = VectorInput(sound), Pool()
            cut = FrameCutter(frameSize=512, hopSize=256)
            window, spectrum = Windowing(type="hann"), Spectrum(size=512)
            bands = MelBands(numberBands=96, sampleRate=12_000, highFrequencyBound=6_000, inputSize=257, log=True)
            source.data >> cut.signal
            cut.frame >> window.frame >> spectrum.frame
            spectrum.spectrum >> bands.spectrum
            bands.bands >> (pool, "bands")
            run(source)

        jobs["essentia, streaming"] = timed(essentia)
    except ImportError:
        pass
    return jobs


def pipeline_jobs() -> dict:
    """Elements in pipelines, the front end without one, and ONNX Runtime's bare loop."""
    rust = Served("pipeline")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = ROOT / "models/efficientnet-lite-yt8m13.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(1).integers(0, 256, (PICTURES, 1, 224, 224, 3), np.uint8)
    jobs = {name: rust.job(name) for name in ("mel", "pipeline", "pipeline-melspec", "frameclassify")}
    jobs["bare loop"] = timed(lambda: [session.run(None, {"frame": picture}) for picture in pictures])
    return jobs


def script_jobs() -> dict:
    """The tagger of examples/ and the script that one would write instead, both as programs."""
    script = str(ROOT / "benches/script.py")
    return {
        "tag": child(str(ROOT / "target/release/examples/tag"), str(MEDIA)),
        "script": child(sys.executable, script, str(MEDIA)),
        # What Python takes to start and load its libraries is not the script's work.
        "imports": child(sys.executable, "-c", "import av, cv2, librosa, onnxruntime; librosa.resample, librosa.feature"),
    }


def floors(mel: dict, pipeline: dict, script: dict) -> list[tuple[str, float, float]]:
    """What is asked for: its name, the ratio, and the least that it must be."""
    stereo = mel["mel-48000-stereo"]
    element = (pipeline["pipeline-melspec"] - pipeline["pipeline"]) / pipeline["mel"]
    found = [
        ("mel front end against its FFTs alone (realfft)", mel["fft"] / mel["mel"], 0.70),
        ("mel front end against librosa", mel["librosa"] / mel["mel"], 5.0),
        (
            "from 48 kHz S16 stereo: of 10,000 times real time, or of 3 times librosa with soxr",
            max(SECONDS / stereo / 10_000, mel["librosa, soxr"] / stereo / 3),
            1.0,
        ),
        ("mel front end alone against melspec's share of a pipeline", 1 / element, 1 / 1.25),
        ("frameclassify against a bare loop of ONNX Runtime", pipeline["bare loop"] / pipeline["frameclassify"], 0.97),
        (
            "examples/tag against the Python script, its start not counted",
            (script["script"] - script["imports"]) / script["tag"],
            2.0,
        ),
    ]
    if torchaudio:
        found.insert(1, ("mel front end against torchaudio", mel["torchaudio"] / mel["mel"], 3.0))
    return found


def versions() -> str:
    names = ("librosa", "soxr", "torchaudio", "essentia", "kaldi-native-fbank", "onnxruntime", "av", "opencv-python-headless")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            pass
    return ", ".join([f"Python {platform.python_version()}", *found])


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    name = f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} while it was measured"


def report(mel: dict, pipeline: dict, script: dict, found: list) -> str:
    def table(title: str, rows: list[tuple[str, ...]]) -> str:
        head, *body = rows
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
        return f"## {title}\n\n" + "\n".join(lines) + "\n"

    def speeds(names: list[str], against: str) -> list[tuple[str, ...]]:
        rows = [("what", "CPU ms", "times real time", f"speed against {against}")]
        for name in names:
            if name in mel:
                rows.append(
                    (name, f"{mel[name] * 1e3:.2f}", f"{SECONDS / mel[name]:,.0f}", f"{mel[against] / mel[name]:.2f}")
                )
        return rows

    melspec = pipeline["pipeline-melspec"] - pipeline["pipeline"]
    sections = [
        table("Floors", [("ratio", "measured", "at least")]
              + [(name, f"{ratio:.2f}", f"{floor:.2f}") for name, ratio, floor in found]),
        table("Mel front end (Choi's), 29.12 s of mono floats at 12 kHz, one thread",
              speeds(["fft", "mel", "torchaudio", "librosa", "kaldi-native-fbank", "essentia, streaming"], "librosa")),
        table("The same from stereo S16, resampling included", speeds(
            ["mel-48000-stereo", "mel-44100-stereo", "torchaudio, its resampler", "librosa, soxr"], "librosa, soxr")),
        table(f"`melspec` in a pipeline, {PIPELINE_SECONDS} s of 48 kHz stereo S16, a patch each second",
              [("what", "CPU ms"), ("the module alone", f"{pipeline['mel'] * 1e3:.1f}"),
               ("a pipeline with melspec, less one with identity", f"{melspec * 1e3:.1f}")]),
        table("EfficientNet-Lite, one thread",
              [("what", "CPU ms a picture"),
               ("bare loop of ONNX Runtime", f"{pipeline['bare loop'] / PICTURES * 1e3:.2f}"),
               ("frameclassify in a pipeline, started and stopped", f"{pipeline['frameclassify'] / PICTURES * 1e3:.2f}")]),
        table(f"All of a video ({MEDIA.name}): decoding, both taggers, fusion",
              [("what", "CPU s"), ("examples/tag", f"{script['tag']:.2f}"),
               ("benches/script.py", f"{script['script']:.2f}"),
               ("of which imports", f"{script['imports']:.2f}")]),
    ]
    return (
        "# Performance\n\n"
        "Written by `scripts/bench`; `scripts/bench --quick` checks the floors. CPU time of all threads, medians of rounds in which\n"
        "all jobs take turns, one thread each. Ratios count: the absolute figures are those of a busy machine.\n\n"
        f"Machine: {machine()}.\n\n{versions()}.\n\n" + "\n".join(sections)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, no report; fails below the floors")
    arguments = parser.parse_args()
    rounds = 5 if arguments.quick else 15
    mel = measure(mel_jobs(arguments.quick), rounds)
    pipeline = measure(pipeline_jobs(), rounds)
    script = measure(script_jobs(), 1 if arguments.quick else 5)
    found = floors(mel, pipeline, script)
    for name, ratio, floor in found:
        print(f"{'ok    ' if ratio >= floor else 'BELOW '} {ratio:6.2f} (at least {floor:.2f})  {name}")
    if not arguments.quick:
        (ROOT / "docs/performance.md").write_text(report(mel, pipeline, script, found))
    elif any(ratio < floor for _, ratio, floor in found):
        sys.exit("bench: below a floor")


if __name__ == "__main__":
    main()
