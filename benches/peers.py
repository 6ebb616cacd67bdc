# SPDX-License-Identifier: MPL-2.0
"""Times the plugin and its peers in turns; `scripts/bench` runs it.

A round times every job once, so that whatever else the machine does meets all alike; what counts are ratios of medians
over the rounds. Times are CPU seconds of all threads, and one thread is all that a job has, unless it says otherwise.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import cv2
import librosa
import numpy as np
import onnxruntime
import torch
import torchaudio

import options
import report
from report import CLIP_SECONDS, FILES, PICTURES, SECONDS, Times

ROOT = Path(__file__).parent.parent
BUILT = ROOT / ".bench"
CLIP = BUILT / "1080p25.mp4"
MODELS = ROOT / "models"
MEL = {"n_fft": 512, "hop_length": 256, "n_mels": 96, "power": 2.0}
PATCH = 512  # frames, of models that take patches of any length
STREAMS = (1, 2, 4, 8, 16, 32, 64)


class Served:
    """A bench program of this crate, which runs its jobs by name."""

    def __init__(self, name: str) -> None:
        program = (BUILT / name).read_text()
        self.process = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def job(self, name: str):
        def run() -> Times:
            print(name, file=self.process.stdin, flush=True)
            return Times(*map(float, self.process.stdout.readline().split()))

        return run


def timed(work):
    def run() -> Times:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        return Times(time.process_time() - cpu, time.perf_counter() - wall)

    return run


def child(*command: object):
    """A program of its own."""

    def run() -> Times:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"bench: {' '.join(str(word) for word in command)} failed")
        return Times(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin)

    return run


def measure(jobs: dict, rounds: int) -> dict[str, Times]:
    """The median times of each job, after one round that does not count."""
    times = {name: [] for name in jobs}
    for index in range(rounds + 1):
        for name, job in jobs.items():
            print(f"\rround {index + 1} of {rounds + 1}: {name:50}", end="", file=sys.stderr)
            taken = job()
            if index:
                times[name].append(taken)
    print("\r" + " " * 80, end="\r", file=sys.stderr)
    return {name: Times(*map(median, zip(*taken))) for name, taken in times.items()}


def noise(rate: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, int(SECONDS * rate)).astype(np.float32)


def mel_jobs(rust: Served, resamplers: Served) -> dict:
    """One patch of Choi's front end, from mono floats at 12 kHz and from 48 kHz S16 stereo."""
    sound = noise(12_000)
    stereo = (np.stack([noise(48_000)] * 2, axis=1) * 32768).astype(np.int16)

    def mel(sound: np.ndarray) -> np.ndarray:
        return librosa.amplitude_to_db(librosa.feature.melspectrogram(y=sound, sr=12_000, pad_mode="constant", **MEL))

    def mono() -> np.ndarray:
        return stereo.astype(np.float32).mean(axis=1) / 32768

    torch.set_num_threads(1)
    transform = torch.nn.Sequential(
        torchaudio.transforms.MelSpectrogram(12_000, **MEL, win_length=512, pad_mode="constant", norm="slaney", mel_scale="slaney"),
        torchaudio.transforms.AmplitudeToDB("magnitude", 80),
    )
    resample = torchaudio.transforms.Resample(48_000, 12_000, lowpass_filter_width=64)
    return {name: rust.job(name) for name in ("fft", "mel", "mel-48000-stereo", "mel-44100-stereo")} | {
        name: resamplers.job(name) for name in ("rubato-48000-stereo", "rubato-44100-stereo")
    } | {
        "librosa": timed(lambda: mel(sound)),
        "librosa, soxr": timed(lambda: mel(librosa.resample(mono(), orig_sr=48_000, target_sr=12_000, res_type="soxr_hq"))),
        "torchaudio": timed(lambda: transform(torch.from_numpy(sound))),
        "torchaudio, its resampler": timed(lambda: transform(resample(torch.from_numpy(mono())))),
    }


def other_front_ends() -> dict:
    """Libraries whose mel spectrogram is not the same, but the same amount of work."""
    import kaldi_native_fbank
    from essentia import Pool, run
    from essentia.streaming import FrameCutter, MelBands, Spectrum, VectorInput, Windowing

    sound = noise(12_000)
    samples = sound.tolist()
    settings = kaldi_native_fbank.FbankOptions()
    settings.frame_opts.samp_freq, settings.mel_opts.num_bins = 12_000, 96
    settings.frame_opts.frame_length_ms, settings.frame_opts.frame_shift_ms = 512 / 12, 256 / 12
    settings.frame_opts.dither = 0

    def kaldi() -> None:
        fbank = kaldi_native_fbank.OnlineFbank(settings)
        fbank.accept_waveform(12_000, samples)
        fbank.input_finished()

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

    return {"kaldi-native-fbank": timed(kaldi), "essentia, streaming": timed(essentia)}


def session(model: str) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(MODELS / f"{model}.onnx", settings, providers=["CPUExecutionProvider"])


def element_jobs(rust: Served) -> dict:
    """`melspec` in a pipeline, a pipeline without it, and the front end alone."""
    return {name: rust.job(name) for name in ("mel", "pipeline", "pipeline-melspec")}


def inference_jobs(rust: Served) -> dict:
    """`frameclassify` in pipelines, ONNX Runtime's bare loop, and a Python loop over large pictures."""
    lite = session("efficientnet-lite-yt8m13")
    pictures = np.random.default_rng(1).integers(0, 256, (PICTURES, 1, 260, 260, 3), np.uint8)
    large = np.random.default_rng(1).integers(0, 256, (PICTURES, 1620, 1920), np.uint8)
    cv2.setNumThreads(1)

    def python() -> None:
        for frame in large:
            rgb = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420)[:, 420:1500]
            lite.run(None, {"frame": cv2.resize(rgb, (260, 260), interpolation=cv2.INTER_AREA)[None]})

    return {
        "frameclassify": rust.job("frameclassify"),
        "bare loop": timed(lambda: [lite.run(None, {"frame": picture}) for picture in pictures]),
        "frameclassify-1080p": rust.job("frameclassify-1080p"),
        "Python, 1080p": timed(python),
    }


def script_jobs() -> dict:
    """The command and the script that one would write instead, both as programs that do the same work."""
    tag = [ROOT / "target/release/instruments", "tag", "--window", "5", "--stride", "5", "--decode", "all"]
    script = ROOT / "benches/script.py"
    return {
        "tag": child(*tag, CLIP),
        "tag, fp32": child(*tag, "--precision", "fp32", CLIP),
        "tag, key frames": child(*tag[:2], CLIP),
        "script": child(sys.executable, script, CLIP),
        "script, tuned": child(sys.executable, script, CLIP, "--tuned"),
        "script, key frames": child(sys.executable, script, CLIP, "--tuned", "--keyframes"),
        # What Python takes to start and load its libraries is not the script's work.
        "imports": child(sys.executable, "-c", "import av, cv2, librosa, onnxruntime; librosa.resample, librosa.feature"),
        "decoding": stream("--file", CLIP, "--seconds", CLIP_SECONDS, "--audio-model", "none", "--video-model", "none"),
    }


def archive_jobs() -> dict:
    """Many files by all cores: the command as it is without options, and the script in its tuned form."""
    folder = BUILT / "files"
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number}.mp4" for number in range(FILES)]
    for file in files:
        file.unlink(missing_ok=True)
        file.symlink_to(CLIP)
    tag, script = ROOT / "target/release/instruments", ROOT / "benches/script.py"
    python = [sys.executable, script, *files, "--tuned", "--jobs", os.cpu_count()]
    return {
        "tag": child(tag, "tag", "--format", "jsonl", *files),
        "tag, all pictures": child(tag, "tag", "--format", "jsonl", "--decode", "all", *files),
        "script, key frames": child(*python, "--keyframes"),
        "script": child(*python),
    }


def stream(*words: object):
    return child((BUILT / "streams").read_text(), *words)


def streams(*words: object) -> dict:
    """What one run of benches/streams.rs prints."""
    command = [(BUILT / "streams").read_text(), *map(str, words)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def many_streams(counts: tuple[int, ...], seconds: int, rounds: int) -> list[dict]:
    """For each number of streams the run of median CPU time."""
    runs = {count: [] for count in counts}
    for index in range(rounds):
        for count in counts:
            print(f"\rround {index + 1} of {rounds}: {count} streams    ", end="", file=sys.stderr)
            runs[count].append(streams("--streams", count, "--seconds", seconds))
    print("\r" + " " * 80, end="\r", file=sys.stderr)
    return [sorted(taken, key=lambda run: run["cpu"])[rounds // 2] for taken in runs.values()]


def model_streams(rounds: int) -> list[tuple[str, float, float]]:
    """For each model: its name, CPU seconds a second of a stream without decoding, and with it."""
    choices = {
        "none": ("none", "none"),
        "`ced-yt8m13`": ("ced-yt8m13", "none"),
        "`choi-yt8m13`": ("choi-yt8m13", "none"),
        "`han-yt8m13`": ("han-yt8m13", "none"),
        "`efficientnet-lite-yt8m13`": ("none", "efficientnet-lite-yt8m13"),
        "`ced-yt8m13` and `efficientnet-lite-yt8m13`": ("ced-yt8m13", "efficientnet-lite-yt8m13"),
        "the same, one patch every 5 s": ("ced-yt8m13", "efficientnet-lite-yt8m13"),
    }
    times = {name: ([], []) for name in choices}
    for index in range(rounds):
        for name, (audio, video) in choices.items():
            print(f"\rround {index + 1} of {rounds}: {name:50}", end="", file=sys.stderr)
            interval = 5 if name.endswith("5 s") else 1
            words = ["--seconds", CLIP_SECONDS, "--audio-model", audio, "--video-model", video, "--patch-interval", interval]
            for taken, file in zip(times[name], ([], ["--file", CLIP])):
                taken.append(streams(*words, *file)["cpu"])
    print("\r" + " " * 80, end="\r", file=sys.stderr)
    return [(name, median(bare), median(decoded)) for name, (bare, decoded) in times.items()]


def passing_streams(rounds: int) -> dict[str, float]:
    """CPU seconds a second of an encoded stream, by what is done with it."""
    untagged = ["--audio-model", "none", "--video-model", "none"]
    choices = {
        "passing through only": ["--tagger", "none"],
        "`instrumenttagger decode=keyframes`": ["--tagger", "keyframes"],
        "`instrumenttagger decode=all`": ["--tagger", "all"],
        "decoding all, without tagging": untagged,
    }
    times = {name: [] for name in choices}
    for index in range(rounds):
        for name, words in choices.items():
            print(f"\rround {index + 1} of {rounds}: {name:50}", end="", file=sys.stderr)
            times[name].append(streams("--file", CLIP, "--seconds", CLIP_SECONDS, *words)["cpu"])
    print("\r" + " " * 80, end="\r", file=sys.stderr)
    return {name: median(taken) for name, taken in times.items()}


def inference_times() -> dict[str, float]:
    """CPU seconds of one input by each model, one thread."""
    jobs = {}
    for name in ("ced-yt8m13", "choi-yt8m13", "choi-yt8m13.int8", "han-yt8m13", "efficientnet-lite-yt8m13", "efficientnet-lite-yt8m13.int8"):
        model = session(name)
        wanted = model.get_inputs()[0]
        shape = [size if isinstance(size, int) else PATCH for size in wanted.shape[1:]]
        values = np.random.default_rng(1).uniform(0, 100, [1, *shape])
        values = values.astype(np.uint8 if "uint8" in wanted.type else np.float32)
        jobs[name] = timed(lambda model=model, feed={wanted.name: values}: [model.run(None, feed) for _ in range(5)])
    return {name: taken.cpu / 5 for name, taken in measure(jobs, 5).items()}


def option_costs(rounds: int) -> dict[str, dict]:
    """What benches/options.py prints for each choice, the median of each figure."""
    runs = {choice: [] for choice in options.CHOICES}
    for _ in range(rounds):
        for choice, taken in runs.items():
            command = [sys.executable, ROOT / "benches/options.py", choice]
            environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
            printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            taken.append(json.loads(printed))
    return {choice: {key: median(run[key] for run in taken) for key in taken[0]} for choice, taken in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, no report; fails below the floors")
    parser.add_argument("--passing", action="store_true", help="only print the table of encoded streams that pass")
    args = parser.parse_args()
    if args.passing:
        print(report.passing(passing_streams(5)))
        return
    quick = args.quick

    def chosen(jobs: dict, *names: str) -> dict:
        """Of all jobs those that the floors are about, if that is all that is asked."""
        return {name: jobs[name] for name in names} if quick else jobs

    front_end, resamplers, elements = Served("mel"), Served("resamplers"), Served("pipeline")
    mel = measure(mel_jobs(front_end, resamplers) | ({} if quick else other_front_ends()), 9 if quick else 25)
    pipeline = measure(element_jobs(elements), 5 if quick else 15)
    # What is measured against the bare loop differs by a hundredth or two, which takes many rounds to see.
    pipeline |= measure(chosen(inference_jobs(elements), "frameclassify", "bare loop"), 15 if quick else 45)
    script = measure(chosen(script_jobs(), "tag", "script", "imports", "decoding"), 3 if quick else 5)
    archive = measure(chosen(archive_jobs(), "tag", "script, key frames"), 1 if quick else 3)
    many = many_streams((1, 8) if quick else STREAMS, 10, 5 if quick else 3)
    found = report.floors(mel, pipeline, script, archive, many)
    for name, ratio, floor in found:
        print(f"{'ok    ' if ratio >= floor else 'BELOW '} {ratio:6.2f} (at least {floor:.2f})  {name}")
    if not quick:
        text = report.page(mel, pipeline, script, archive, many, model_streams(3), passing_streams(5), inference_times(), option_costs(5), found)
        (ROOT / "docs/performance.md").write_text(text)
    if any(ratio < floor for _, ratio, floor in found):
        sys.exit("bench: below a floor")


if __name__ == "__main__":
    main()
