# SPDX-License-Identifier: MPL-2.0
"""What `benches/peers.py` measured, as the floors that it must keep and as a page with plots."""

import os
import platform
import subprocess
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

from matplotlib import pyplot

IMAGES = Path(__file__).parent.parent / "docs/images"
SECONDS = 29.12  # of sound in the mel jobs: a patch of Choi's
PICTURES = 20  # of one run of the inference jobs, as in benches/pipeline.rs
PIPELINE_SECONDS = 120  # of sound in one run of the pipeline jobs, as there
CLIP_SECONDS = 30  # of the video that scripts/bench makes
FILES = 20  # copies of it that make an archive

Times = namedtuple("Times", "cpu wall")


def floors(mel: dict, pipeline: dict, script: dict, archive: dict, many: list[dict]) -> list[tuple[str, float, float]]:
    """What is asked for: its name, the ratio, and the least that it must be."""
    stereo = mel["mel-48000-stereo"].cpu
    element = pipeline["pipeline-melspec"].cpu - pipeline["pipeline"].cpu
    costs = [run["cpu"] for run in many]
    memory = (many[-1]["resident"] - many[0]["resident"]) / (many[-1]["streams"] - many[0]["streams"])
    scripts = {"script, key frames": ("that also decodes only key frames", 1.5), "script": ("that decodes all pictures", 8.0)}
    return [
        ("mel front end relative to its FFTs alone (realfft)", mel["fft"].cpu / mel["mel"].cpu, 0.70),
        ("mel front end relative to torchaudio", mel["torchaudio"].cpu / mel["mel"].cpu, 3.0),
        ("mel front end relative to librosa", mel["librosa"].cpu / mel["mel"].cpu, 5.0),
        (
            "mel front end from 48 kHz S16 stereo, relative to 10,000 times real time or to 3 times librosa with soxr (higher ratio)",
            max(SECONDS / stereo / 10_000, mel["librosa, soxr"].cpu / stereo / 3),
            1.0,
        ),
        ("CPU time of the mel module alone relative to melspec in a pipeline", pipeline["mel"].cpu / element, 1 / 1.25),
        ("frame rate of frameclassify relative to a bare ONNX Runtime loop", pipeline["bare loop"].wall / pipeline["frameclassify"].wall, 0.97),
        (
            "instruments tag relative to the Python script: CPU time without decoding and the start of Python",
            (script["script"].cpu - script["imports"].cpu - script["decoding"].cpu) / (script["tag"].cpu - script["decoding"].cpu),
            2.0,
        ),
        *(
            (f"archive: instruments tag relative to the tuned Python script {what}", archive[name].cpu / archive["tag"].cpu, least)
            for name, (what, least) in scripts.items()
            if name in archive
        ),
        (f"CPU time of a single stream relative to one of {many[-1]['streams']} streams", costs[0] / costs[-1], 0.95),
        (f"8 MB relative to the memory of each additional stream, up to {many[-1]['streams']} streams", 8 / max(memory, 0.001), 1.0),
    ]


def versions() -> str:
    names = ("librosa", "soxr", "torch", "torchaudio", "essentia", "kaldi-native-fbank", "onnxruntime", "av", "opencv-python-headless")
    gstreamer = subprocess.run(["gst-launch-1.0", "--version"], capture_output=True, text=True).stdout.split("\n")[1]
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split(" (")[0]
    return ", ".join([rust, gstreamer, f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}
    name = f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    return f"{name}, {os.cpu_count()} cores"


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def bars(path: Path, title: str, unit: str, values: dict[str, float], ours: set[str]) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 0.5 + 0.36 * len(values)))
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names], color=["#1b6ca8" if name in ours else "#b8b8b8" for name in names])
    for position, name in enumerate(names):
        axes.annotate(f" {values[name]:,.0f}", (values[name], position), va="center", fontsize=8)
    axes.set(xlabel=unit, title=title)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def stream_plot(path: Path, many: list[dict]) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3))
    counts = [run["streams"] for run in many]
    left.plot(counts, [1000 * run["cpu"] for run in many], "o-", color="#1b6ca8")
    left.set(ylabel="CPU ms for a second of a stream", ylim=(0, None))
    right.plot(counts, [run["resident"] for run in many], "o-", color="#1b6ca8")
    right.set(ylabel="resident MB in all", ylim=(0, None))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, counts)
        axes.set_xlabel("streams in one process")
        axes.grid(alpha=0.3)
    save(figure, path)


def costs(archive: dict) -> dict[str, float]:
    """Core hours for a million hours of video, and what does it."""
    titles = {
        "tag": "`instruments tag`",
        "tag, all pictures": "`instruments tag --decode all`",
        "script, key frames": "the tuned script, key frames only",
        "script": "the tuned script",
    }
    return {title: archive[name].cpu / (FILES * CLIP_SECONDS) * 1e6 for name, title in titles.items()}


def passing(encoded: dict[str, float]) -> str:
    """The costs of an encoded stream, beside that of decoding it."""
    decoding = list(encoded.values())[-1]
    return table(
        ("what", "CPU ms per second of stream", "relative to decoding all"),
        [(name, f"{cpu * 1e3:.1f}", f"{cpu / decoding:.2f}") for name, cpu in encoded.items()],
    )


def page(mel: dict, pipeline: dict, script: dict, archive: dict, many: list, by_model: list, encoded: dict, inference: dict, options: dict, found: list) -> str:
    def speeds(rows: dict[str, str], against: str) -> str:
        return table(
            ("what", "CPU ms", "times real time", f"speed relative to {rows[against]}"),
            [(title, f"{mel[name].cpu * 1e3:.2f}", f"{SECONDS / mel[name].cpu:,.0f}", f"{mel[against].cpu / mel[name].cpu:.2f}")
             for name, title in rows.items()],
        )

    mono = {"fft": "FFTs alone (realfft)", "mel": "**mel front end**", "torchaudio": "torchaudio", "librosa": "librosa",
            "kaldi-native-fbank": "kaldi-native-fbank", "essentia, streaming": "essentia, streaming"}
    stereo = {"mel-48000-stereo": "**48 kHz**", "mel-44100-stereo": "**44.1 kHz**",
              "rubato-48000-stereo": "48 kHz, resampled by rubato", "rubato-44100-stereo": "44.1 kHz, resampled by rubato",
              "torchaudio, its resampler": "48 kHz, torchaudio",
              "librosa, soxr": "48 kHz, librosa with soxr (HQ)"}
    bars(IMAGES / "performance-mel.svg", "Choi's front end on one core", "times real time",
         {title.strip("*"): SECONDS / mel[name].cpu for name, title in (mono | stereo).items()},
         {title.strip("*") for name, title in (mono | stereo).items() if name.startswith("mel")})
    stream_plot(IMAGES / "performance-streams.svg", many)
    core_hours = costs(archive)
    bars(IMAGES / "performance-cost.svg", "A million hours of 1080p25", "core hours",
         {title.replace("`", ""): hours for title, hours in core_hours.items()},
         {title.replace("`", "") for title in core_hours if title.startswith("`")})
    busy = archive["tag"].cpu / archive["tag"].wall / os.cpu_count()
    melspec = pipeline["pipeline-melspec"].cpu - pipeline["pipeline"].cpu
    nothing, decoding = by_model[0][1:]

    def milliseconds(name: str) -> str:
        return f"{pipeline[name].cpu / PICTURES * 1e3:.2f}"

    def program(name: str, title: str) -> tuple[str, ...]:
        start = script["imports"] if name.startswith("script") else Times(0.0, 0.0)
        taken = Times(script[name].cpu - start.cpu, script[name].wall - start.wall)
        # What decodes key frames only cannot be compared with decoding everything.
        rest = "" if name.endswith("key frames") else f"{taken.cpu - script['decoding'].cpu:.2f}"
        return (title, f"{taken.cpu:.2f}", f"{taken.wall:.2f}", rest)

    return f"""# Performance

This page is for people who plan capacity or compare tools. It is written by `scripts/bench`, which runs all programs in turns on one machine; `scripts/bench --quick` checks the ratios of the first table in under two minutes.
CPU times are the sum over all threads; figures are medians over the rounds. Only the ratios can be transferred to other machines.

Machine: {machine()}. {versions()}.

{table(("ratio", "measured", "minimum", ""), [(name, f"{ratio:.2f}", f"{floor:.2f}", "" if ratio >= floor else "**below**") for name, ratio, floor in found])}
## Mel

Choi's front end, 29.12 s of mono floats at 12 kHz, one thread. kaldi and essentia compute a different mel spectrogram with the same amount of work; kaldi takes the samples as a Python list, and its time includes this conversion.

{speeds(mono, "librosa")}
The same from S16 stereo, including resampling:

{speeds(stereo, "librosa, soxr")}
![Speeds of the mel front ends](images/performance-mel.svg)

`melspec` in a pipeline, {PIPELINE_SECONDS} s of 48 kHz S16 stereo in buffers of 1024 frames, one patch per second:

{table(("what", "CPU ms"), [("the mel module alone", f"{pipeline['mel'].cpu * 1e3:.1f}"), ("a pipeline with `melspec`, minus one with `identity`", f"{melspec * 1e3:.1f}")])}
## Inference

`efficientnet-lite-yt8m13` in fp32 on one thread, one picture at a time. The bare loop and the Python loop use onnxruntime's Python package.

{table(("what", "CPU ms per picture"), [
    ("bare ONNX Runtime loop, pictures of the model's input size", milliseconds("bare loop")),
    ("`frameclassify`, same pictures", milliseconds("frameclassify")),
    ("Python loop with OpenCV, 1080p (I420)", milliseconds("Python, 1080p")),
    ("`frameclassify`, same pictures", milliseconds("frameclassify-1080p"))])}
CPU time per input on one thread: {", ".join(f"{seconds * 1e3:.1f} ms (`{name}`)" for name, seconds in inference.items())}.

Effect of ONNX Runtime's options, with pictures that arrive 50 ms after the previous one is finished, one process per option (`benches/options.py`):

{table(("options", "CPU ms per picture", "wall-clock ms", "resident MB"), [
    (name, f"{run['cpu'] * 1e3:.1f}", f"{run['wall'] * 1e3:.1f}", f"{run['resident']:.0f}") for name, run in options.items()])}
## A whole video

{CLIP_SECONDS} s of 1080p25 in H.264 with 48 kHz stereo in AAC: decoding, one picture per second, 5 s of sound every 5 s, fusion; each program uses its default number of threads.
`instruments tag` uses the 8-bit picture model unless `--precision` is set. `benches/script.py` is the script that one would write with PyAV, OpenCV, librosa and onnxruntime, in fp32; its time excludes the imports ({script["imports"].cpu:.2f} s), while the time of `instruments tag` includes its start.

{table(("what", "CPU s", "wall-clock s", "CPU s without decoding"), [
    program("tag", "`instruments tag`"), program("tag, fp32", "`instruments tag --precision fp32`"), program("script", "the script"), program("script, tuned", "the script, one thread without spinning"),
    program("tag, key frames", "`instruments tag` with default options: key frames, a window of 10 s every 2.5 s"), program("script, key frames", "the script, one thread, key frames only"),
    ("decoding alone (GStreamer)", f"{script['decoding'].cpu:.2f}", f"{script['decoding'].wall:.2f}", "")])}
## Many streams

Decoded streams of 48 kHz stereo and 1080p25, processed in one process as fast as possible: both taggers, one picture and one patch (5.12 s) per second, one thread per model, the 8-bit picture model.

{table(("streams", "CPU ms per second of stream", "resident MB", "p99 latency of a picture, ms", "p99 latency of a patch, ms"), [
    (run["streams"], f"{run['cpu'] * 1e3:.1f}", f"{run['resident']:.0f}", f"{run['sees']['p99']:.0f}", f"{run['hears']['p99']:.0f}") for run in many])}
On a CPU each model processes one input at a time unless `batch-size` is set. The latencies are those of a fully loaded machine: all streams send requests at the same time and continue as soon as they get their results.

![CPU and memory of many streams](images/performance-streams.svg)

Real-time streams that one core can process, with one picture and one patch per second:

{table(("models", "CPU ms per second of stream", "streams per core", "streams per core with decoding of 1080p25"), [
    (name, f"{bare * 1e3:.1f}", f"{1 / bare:.0f}", f"{1 / decoded:.1f}") for name, bare, decoded in by_model if name != "none"]
    + [("no tagging", f"{nothing * 1e3:.1f}", "", f"{1 / decoding:.1f}")])}
A stream that stays encoded, as in [live.md](live.md): 1080p25 in H.264 and 48 kHz stereo in AAC, both taggers, one patch per second, one thread per model (`scripts/bench --passing`):

{passing(encoded)}
## Cost at scale

{FILES} files of {CLIP_SECONDS} s of 1080p25 on all cores: `instruments tag` with its default options, which decode only key frames if these are frequent enough, compared with the script with `--jobs` (multiprocessing, models opened once per process). Both analyse each second of sound once; `instruments tag` has a result every 2.5 s, the script one every 5 s. It keeps the cores {100 * busy:.0f} % busy.

{table(("what", "CPU s", "wall-clock s", "core hours per million hours of video"), [
    (title, f"{archive[name].cpu:.1f}", f"{archive[name].wall:.1f}", f"{hours:,.0f}") for (name, title), hours in zip(zip(archive, core_hours), core_hours.values())])}
![Core hours for a million hours](images/performance-cost.svg)
"""
