// SPDX-License-Identifier: MPL-2.0

//! `instruments tag`, run as a user runs it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const CLIP: &str = "examples/media/band.mp4";

/// The command, run in the root folder.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instruments"));
    command.args(args).current_dir(ROOT);
    command
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Runs `instruments tag`: exit code, lines of standard output, lines of standard error.
fn tag(args: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(&["tag"]).args(args).output().unwrap();
    (status.code().unwrap(), lines(&stdout), lines(&stderr))
}

/// A file in a folder for this test's process, made by a GStreamer pipeline that is given up to its sink.
fn media(name: &str, pipeline: &str) -> String {
    let path = scratch(name);
    gst::init().unwrap();
    let pipeline = format!("{pipeline} ! filesink location={path}");
    let pipeline = gst::parse::launch(&pipeline).unwrap();
    use gst::prelude::*;
    pipeline.set_state(gst::State::Playing).unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &end)
        .unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

fn scratch(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tag");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name).to_str().unwrap().to_owned()
}

fn json(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn json_lines_of_the_bundled_clip() {
    let (code, stdout, stderr) = tag(&[
        "--json", "--window", "10", "--stride", "5", "--decode", "all", CLIP,
    ]);
    assert_eq!((code, stderr), (0, vec![]));
    let lines = json(&stdout);
    for line in &lines {
        assert!(
            line["uri"].as_str().unwrap().ends_with(&format!("/{CLIP}")),
            "{line}"
        );
        assert!(number(&line["start"]) < number(&line["end"]), "{line}");
        let tags = line["tags"].as_array().unwrap();
        assert_eq!(tags.len(), 13, "{line}");
        let scores: Vec<f64> = tags.iter().map(|tag| number(&tag["score"])).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{line}");
        assert!(
            scores.iter().all(|score| (0.0..=1.0).contains(score)),
            "{line}"
        );
    }
    let (clip, windows): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["clip"] == true);
    let count = |source| {
        windows
            .iter()
            .filter(|line| line["source"] == source)
            .count()
    };
    assert_eq!(["audio", "video", "fused"].map(count), [6, 30, 6]);

    // Three scenes of ten seconds.
    for (end, label) in [(10.0, "Guitar"), (20.0, "Trumpet"), (30.0, "Drums")] {
        let scene =
            |line: &&&Value| line["source"] == "fused" && (number(&line["end"]) - end).abs() < 0.2;
        let line = windows
            .iter()
            .find(scene)
            .unwrap_or_else(|| panic!("no window ends at {end} s"));
        assert_eq!(line["tags"][0]["label"], label, "{line}");
    }

    // At the end of the file, one for each source.
    assert!(lines.ends_with(&clip.iter().map(|&line| line.clone()).collect::<Vec<_>>()));
    let mut sources: Vec<_> = clip
        .iter()
        .map(|line| line["source"].as_str().unwrap())
        .collect();
    sources.sort();
    assert_eq!(sources, ["audio", "fused", "video"]);
    for line in clip {
        assert!((number(&line["duration"]) - 30.0).abs() < 0.1, "{line}");
        assert!(number(&line["elapsed"]) > 0.0, "{line}");
    }
}

#[test]
fn table_of_the_bundled_clip() {
    let (code, stdout, stderr) = tag(&[CLIP]);
    assert_eq!((code, stderr), (0, vec![]));
    assert_eq!(stdout[0], CLIP);
    assert!(stdout[1].starts_with("time"), "{}", stdout[1]);
    // Three scenes of ten seconds, whose boundaries are found to within a stride.
    let rows: Vec<_> = stdout[2..]
        .iter()
        .take_while(|line| line.contains(" – "))
        .map(|line| {
            let (times, rest) = line.split_at(15);
            let start = times.split(" – ").next().unwrap();
            let (minutes, seconds) = start.split_once(':').unwrap();
            let start = 60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap();
            (start, rest.split_whitespace().next().unwrap().to_owned())
        })
        .collect();
    let labels: Vec<_> = rows.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(labels, ["Guitar", "Trumpet", "Drums"], "{stdout:#?}");
    // Each is heard and seen.
    for (row, label) in stdout[2..].iter().zip(&labels) {
        assert_eq!(row.matches(label).count(), 3, "{row}");
    }
    for ((start, _), expected) in rows.iter().zip([0.0, 10.0, 20.0]) {
        assert!((start - expected).abs() <= 2.5, "{stdout:#?}");
    }
    // The sum has the same instruments as the rows.
    let all = stdout
        .iter()
        .find(|line| line.starts_with("in all "))
        .unwrap();
    assert_eq!(all.matches(':').count(), 3, "{all}");
    assert!(labels.iter().all(|label| all.contains(label)), "{all}");
    assert!(
        stdout
            .iter()
            .any(|line| line.starts_with("30.0 s tagged in ")),
        "{stdout:?}"
    );
}

/// The sound of the bundled clip as a WAV file, `name`.
fn sound(name: &str) -> String {
    let demuxed = format!("filesrc location={ROOT}/{CLIP} ! qtdemux name=d d.audio_0 ! queue");
    media(
        name,
        &format!("{demuxed} ! decodebin ! audioconvert ! wavenc"),
    )
}

#[test]
fn a_file_of_sound_alone_is_only_heard() {
    let file = sound("band.wav");
    let (code, stdout, stderr) = tag(&["--format", "jsonl", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let mut segments = json(&stdout);
    let whole = segments.pop().unwrap();
    let labels: Vec<_> = segments
        .iter()
        .map(|line| line["label"].as_str().unwrap())
        .collect();
    for label in ["Guitar", "Trumpet", "Drums"] {
        assert!(labels.contains(&label), "{labels:?}");
    }
    for line in &segments {
        assert_eq!(
            (&line["source"], &line["seen"]),
            (&"audio".into(), &Value::Null),
            "{line}"
        );
        assert!(number(&line["heard"]) > 0.3, "{line}");
    }
    assert_eq!(segments.last().unwrap()["end"], whole["duration"]);
    // Without pictures there is no need to say so.
    let (_, cues, _) = tag(&["--format", "vtt", &file]);
    assert!(
        cues.iter().any(|line| line.starts_with("Guitar"))
            && !cues.iter().any(|line| line.contains("heard")),
        "{cues:?}"
    );
}

/// The fusion leaves out a still picture beside sound; at the beginning, before the first patch of sound is complete, it
/// has nothing else.
#[test]
fn a_still_cover_is_neither_first_nor_an_instrument() {
    let (cover, file) = (scratch("cover.jpg"), scratch("cover.mp4"));
    let run = |args: &[&str]| {
        let all = [&["-loglevel", "error", "-y"], args].concat();
        let status = Command::new("ffmpeg").args(all).current_dir(ROOT).status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    // Drums for guitar and trumpet.
    run(&["-ss", "22", "-i", CLIP, "-frames:v", "1", &cover]);
    let inputs = [
        "-loop", "1", "-i", &cover, "-i", CLIP, "-map", "0:v", "-map", "1:a",
    ];
    run(&[
        &inputs as &[_],
        &["-t", "20", "-r", "25", "-c:a", "copy", &file],
    ]
    .concat());
    let (code, stdout, stderr) = tag(&["--format", "jsonl", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let mut segments = json(&stdout);
    let whole = segments.pop().unwrap();
    let found: Vec<_> = segments
        .iter()
        .map(|line| (&line["label"], &line["source"]))
        .collect();
    let audio = Value::from("audio");
    assert_eq!(found[0], (&"Guitar".into(), &audio));
    assert!(found.contains(&(&"Trumpet".into(), &audio)), "{found:?}");
    assert!(
        found.iter().all(|(_, source)| *source == &audio),
        "{found:?}"
    );
    assert_eq!(segments[0]["start"], 0.0);
    for total in whole["instruments"].as_array().unwrap() {
        assert!(
            number(&total["time"]) < number(&whole["duration"]),
            "{whole}"
        );
    }
}

/// Without a fusion, what is heard and what is seen stand side by side, and count once where they are the same.
#[test]
fn without_fusion_nothing_counts_twice() {
    let (code, stdout, stderr) = tag(&["--fusion-model", "none", "--format", "jsonl", CLIP]);
    assert_eq!((code, stderr), (0, vec![]));
    let mut segments = json(&stdout);
    let whole = segments.pop().unwrap();
    for total in whole["instruments"].as_array().unwrap() {
        let own = segments
            .iter()
            .filter(|line| line["label"] == total["label"]);
        let sum: f64 = own
            .map(|line| number(&line["end"]) - number(&line["start"]))
            .sum();
        assert!((sum - number(&total["time"])).abs() < 1e-3, "{total}");
        assert!((sum - 10.0).abs() < 2.5, "{total}");
    }
    assert!(
        segments.iter().any(|line| line["source"] == "fused"),
        "{segments:?}"
    );
}

#[test]
fn windows_of_the_bundled_clip() {
    let (code, stdout, stderr) = tag(&["--windows", "--stride", "5", CLIP]);
    assert_eq!((code, stderr), (0, vec![]));
    let scene = stdout.iter().find(|line| line.starts_with("0:20 – 0:30"));
    let columns: Vec<_> = scene
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty())
        .collect();
    assert_eq!(columns.len(), 4, "{scene:?}");
    assert!(
        columns[2].starts_with("Drums ") && columns[3].starts_with("Drums "),
        "{scene:?}"
    );
}

#[test]
fn audio_alone() {
    let file = media(
        "tone.wav",
        "audiotestsrc num-buffers=300 ! audio/x-raw,rate=44100 ! wavenc",
    );
    let (code, stdout, stderr) = tag(&["--json", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let clip = json(&stdout)
        .into_iter()
        .filter(|line| line["clip"] == true);
    let mut sources: Vec<_> = clip
        .map(|line| line["source"].as_str().unwrap().to_owned())
        .collect();
    sources.sort();
    assert_eq!(sources, ["audio", "fused"]);
}

/// Sound of any length has results to its end and none beyond.
#[test]
fn sound_is_tagged_to_its_end() {
    for tenths in [60, 73, 112, 8] {
        let file = media(
            &format!("{tenths}.wav"),
            &format!(
                "audiotestsrc wave=pink-noise samplesperbuffer=1600 num-buffers={tenths} ! audio/x-raw,rate=16000 ! wavenc"
            ),
        );
        let (code, stdout, stderr) = tag(&["--json", &file]);
        assert_eq!((code, stderr), (0, vec![]));
        let ends = json(&stdout).into_iter().map(|line| number(&line["end"]));
        let last = ends.fold(0.0, f64::max);
        assert_eq!(last, f64::from(tenths) / 10.0);
    }
}

#[test]
fn video_alone() {
    let file = media(
        "bars.avi",
        "videotestsrc num-buffers=40 ! video/x-raw,framerate=10/1 ! jpegenc ! avimux",
    );
    let (code, stdout, stderr) = tag(&["--json", "--interval", "2", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let lines = json(&stdout);
    let count = |source, clip| {
        lines
            .iter()
            .filter(|line| line["source"] == source && (line["clip"] == true) == clip)
            .count()
    };
    assert_eq!(count("video", false), 2);
    assert_eq!(
        ["audio", "video", "fused"].map(|source| count(source, true)),
        [0, 1, 1]
    );
}

const TEST_MODELS: &str = "tests/data/models";

/// What was found in the lines of one source: over time, and in all of the clip.
fn of_source(lines: &[String], source: &str) -> (Vec<Value>, Option<Value>) {
    let (clip, windows): (Vec<_>, Vec<_>) = json(lines)
        .into_iter()
        .filter(|line| line["source"] == source)
        .partition(|line| line["clip"] == true);
    (windows, clip.into_iter().next())
}

/// The score of each label.
fn scores(line: &Value) -> [f64; 3] {
    ["Guitar", "Piano", "Drums"].map(|label| {
        let tags = line["tags"].as_array().unwrap();
        let tag = tags.iter().find(|tag| tag["label"] == label);
        number(&tag.unwrap_or_else(|| panic!("{line} has no {label}"))["score"])
    })
}

#[track_caller]
fn assert_mean<'a>(of: impl IntoIterator<Item = &'a Value>, is: &Value) {
    let all: Vec<_> = of.into_iter().map(scores).collect();
    for (index, score) in scores(is).into_iter().enumerate() {
        let mean = all.iter().map(|scores| scores[index]).sum::<f64>() / all.len() as f64;
        assert!((mean - score).abs() < 2e-4, "{mean} is not in {is}");
    }
}

#[test]
fn the_papers_segmentations_in_files_of_every_kind() {
    let model = format!("{TEST_MODELS}/audio.onnx");
    for (name, encoder) in [
        ("ten.wav", "wavenc"),
        ("ten.flac", "flacenc"),
        ("ten.ogg", "vorbisenc ! oggmux"),
        ("ten.mkv", "vorbisenc ! matroskamux"),
    ] {
        let source =
            "audiotestsrc wave=ticks samplesperbuffer=800 num-buffers=100 ! audio/x-raw,rate=8000";
        let file = media(name, &format!("{source} ! audioconvert ! {encoder}"));
        for (segmentation, spans) in [
            // A patch takes 7 hops, 0.112 s, of 10 s.
            ("central", vec![(4.944, 5.056)]),
            ("uniform", vec![(0.494, 9.506)]),
            (
                "ten",
                (0..10)
                    .map(|i| 0.4944 + 0.9888 * i as f64)
                    .map(|start| (start, start + 0.12))
                    .collect(),
            ),
        ] {
            let (code, stdout, stderr) = tag(&[
                "--json",
                "--audio-model",
                &model,
                "--fusion-model",
                "none",
                "--segmentation",
                segmentation,
                &file,
            ]);
            assert_eq!((code, stderr), (0, vec![]), "{name}");
            let (patches, clip) = of_source(&stdout, "audio");
            assert_eq!(patches.len(), spans.len(), "{name} {segmentation}");
            for (patch, (start, end)) in patches.iter().zip(spans) {
                // To a frame's 16 ms, and what a container rounds.
                let (start, end) = (number(&patch["start"]) - start, number(&patch["end"]) - end);
                assert!(
                    start.abs() < 0.02 && end.abs() < 0.02,
                    "{name} {segmentation}: {patch}"
                );
            }
            assert!(clip.is_some(), "{name} {segmentation}");
        }
    }
}

#[test]
fn the_result_of_k_pictures_spread_evenly_over_the_file() {
    let [video, fusion] = ["video", "fusion"].map(|name| format!("{TEST_MODELS}/{name}.onnx"));
    let (code, stdout, stderr) = tag(&[
        "--json",
        "--without",
        "audio",
        "--decode",
        "all",
        "--frames",
        "4",
        "--video-model",
        &video,
        "--fusion-model",
        &fusion,
        CLIP,
    ]);
    assert_eq!((code, stderr), (0, vec![]));
    let (pictures, clip) = of_source(&stdout, "video");
    assert_eq!(pictures.len(), 30);
    assert_eq!(clip.as_ref().unwrap()["model"], "video");
    // The middles of the quarters of every second of 30: four are kept for each one that is picked.
    let four = [2, 10, 18, 26].map(|index| &pictures[index]);
    assert_mean(four, &clip.unwrap());
    // The fusion model is the mean of its pictures.
    let (_, fused) = of_source(&stdout, "fused");
    assert_mean(four, &fused.unwrap());
    assert_eq!(of_source(&stdout, "audio").1, None);
}

/// Each bad input gets one sentence that names it, and the good one after them is still tagged.
#[test]
fn bad_inputs_do_not_stop_the_good_one() {
    let text = scratch("words.txt");
    std::fs::write(&text, "These are words, and no music at all.\n".repeat(100)).unwrap();
    let subtitles = scratch("words.srt");
    std::fs::write(
        &subtitles,
        "1\n00:00:00,000 --> 00:00:01,000\nWords\n\n".repeat(100),
    )
    .unwrap();
    let truncated = scratch("truncated.mp4");
    std::fs::write(
        &truncated,
        &std::fs::read(format!("{ROOT}/{CLIP}")).unwrap()[..3000],
    )
    .unwrap();
    let empty = scratch("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let good = media(
        "good.wav",
        "audiotestsrc num-buffers=100 ! audio/x-raw,rate=44100 ! wavenc",
    );

    let bad = [
        ("missing.mp4", "cannot be opened: No such file"),
        ("docs", "contains no audio or video files"),
        ("file:///missing.mp4", "cannot be opened: No such file"),
        ("http://127.0.0.1:9/a.mp4", "cannot be read"),
        ("/dev/null", "is a device, not a file"),
        (&text, "has neither audio nor video"),
        (&subtitles, "has neither audio nor video"),
        (&truncated, "cannot be "),
        (&empty, "cannot be "),
    ];
    let mut args = vec!["--json"];
    args.extend(bad.iter().map(|(input, _)| *input));
    args.push(&good);
    let (code, stdout, stderr) = tag(&args);
    assert_eq!(code, 1);
    assert_eq!(stderr.len(), bad.len(), "{stderr:#?}");
    for ((input, words), line) in bad.iter().zip(&stderr) {
        assert!(
            line.starts_with(&format!("error: {input}: {words}")),
            "{line}"
        );
    }
    let lines = json(&stdout);
    assert!(!lines.is_empty());
    assert!(
        lines
            .iter()
            .all(|line| line["uri"].as_str().unwrap().ends_with("good.wav")),
        "{stdout:#?}"
    );
}

#[test]
fn wrong_options_are_refused() {
    for args in [
        &["--window", "0", CLIP] as &[_],
        &["--interval", "soon", CLIP],
        &["--provider", "abacus", CLIP],
        &["--segmentation", "eleven", CLIP],
        &["--frames", "0", CLIP],
        &[],
    ] {
        let (code, stdout, stderr) = tag(args);
        assert_eq!((code, stdout), (2, vec![]), "{args:?}");
        assert!(stderr[0].starts_with("error: "), "{args:?}: {stderr:?}");
    }
}

/// A muxer, which the streams before it feed.
fn streams(name: &str, muxer: &str, streams: &[&str]) -> String {
    let streams = streams.iter().map(|stream| {
        format!("{stream} ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! mux. ")
    });
    media(
        name,
        &format!("{} {muxer} name=mux", streams.collect::<String>()),
    )
}

#[test]
fn a_stream_that_is_short_or_late_is_tagged_or_named() {
    let pictures = "videotestsrc num-buffers=120 ! video/x-raw,framerate=2/1,width=320,height=240";
    let sound = |seconds: u64, late: u64| {
        format!(
            "audiotestsrc samplesperbuffer=2205 num-buffers={} timestamp-offset={} ! audio/x-raw,rate=22050,channels=1,format=S16LE",
            10 * seconds,
            late * 1_000_000_000
        )
    };
    let jpeg = format!("{pictures} ! jpegenc");
    let file = streams("short.avi", "avimux", &[&jpeg, &sound(4, 0)]);
    let (code, stdout, stderr) = tag(&["--json", "--interval", "5", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let (_, clip) = of_source(&stdout, "audio");
    let end = number(&clip.expect("sound")["end"]);
    assert!((end - 4.0).abs() < 0.6, "{end}");
    assert!(of_source(&stdout, "video").0.len() >= 10);

    let flash = format!("{pictures} ! avenc_flv");
    let file = streams("late.flv", "flvmux", &[&flash, &sound(20, 30)]);
    let (code, stdout, stderr) = tag(&["--json", "--interval", "5", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let (windows, _) = of_source(&stdout, "audio");
    assert!(
        (number(&windows[0]["start"]) - 30.0).abs() < 0.1,
        "{windows:?}"
    );
}

#[test]
fn a_stream_without_a_decoder_is_named_and_the_other_one_is_tagged() {
    let pictures =
        "videotestsrc num-buffers=40 ! video/x-raw,framerate=10/1,width=64,height=64 ! jpegenc";
    let sound = "audiotestsrc num-buffers=100 ! audio/x-raw,rate=44100,channels=1";
    for (name, all) in [
        ("unknown.avi", &[pictures, sound] as &[_]),
        ("unknown-alone.avi", &[pictures]),
    ] {
        let file = streams(name, "avimux", all);
        let text = std::fs::read(&file).unwrap();
        let codec = text
            .windows(4)
            .enumerate()
            .filter(|(_, four)| *four == b"MJPG");
        let places: Vec<_> = codec.map(|(place, _)| place).collect();
        let mut text = text.clone();
        for place in places {
            text[place..place + 4].copy_from_slice(b"QZQZ");
        }
        std::fs::write(&file, text).unwrap();
        let (code, stdout, stderr) = tag(&["--format", "jsonl", &file]);
        if all.len() == 2 {
            assert_eq!((code, stderr), (0, vec![]));
            let note = json(&stdout).pop().unwrap()["notes"][0].clone();
            let note = note.as_str().unwrap();
            assert!(
                note.starts_with("its video is not tagged: GStreamer has no decoder for ")
                    && note.contains("(video/x-"),
                "{note}"
            );
        } else {
            assert_eq!((code, stdout), (1, vec![]));
            assert!(
                stderr[0].contains("cannot be decoded: GStreamer has no decoder for ")
                    && stderr[0].contains("(video/x-"),
                "{stderr:?}"
            );
        }
    }
}

#[test]
fn of_several_streams_of_a_kind_the_first_is_tagged() {
    let sound = "audiotestsrc num-buffers=100 ! audio/x-raw,rate=44100,channels=1 ! flacenc";
    let file = streams("two.mkv", "matroskamux", &[sound, sound]);
    let (code, stdout, stderr) = tag(&["--format", "jsonl", &file]);
    assert_eq!((code, stderr), (0, vec![]));
    let line = json(&stdout).pop().unwrap();
    assert_eq!(
        line["notes"][0],
        "only one of its 2 audio streams is tagged: choose another with --audio-track"
    );
}

#[test]
fn leaving_out_all_that_there_is_is_explained() {
    let file = media(
        "only-audio.wav",
        "audiotestsrc num-buffers=20 ! audio/x-raw,rate=44100 ! wavenc",
    );
    let (code, stdout, stderr) = tag(&["--without", "audio", &file]);
    assert_eq!((code, stdout), (1, vec![]));
    let expected =
        format!("error: {file}: has only audio, and --without audio leaves nothing to tag");
    assert_eq!(stderr, [expected]);
}

#[test]
fn names_that_are_no_text_and_named_pipes() {
    let good = media(
        "odd.wav",
        "audiotestsrc num-buffers=100 ! audio/x-raw,rate=44100 ! wavenc",
    );
    let folder = PathBuf::from(scratch("odd-names"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let odd = folder.join(OsStr::from_bytes(b"gr\xfcn.wav"));
    std::fs::copy(good, &odd).unwrap();
    let pipe = folder.join("pipe.wav");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let started = Instant::now();
    let output = command(&["tag", "--json"])
        .args([&pipe, &odd])
        .output()
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "the pipe hangs"
    );
    assert_eq!(output.status.code(), Some(1));
    let stderr = lines(&output.stderr);
    assert_eq!(stderr.len(), 1, "{stderr:?}");
    assert!(
        stderr[0].ends_with("is a named pipe, not a file: give a file or a URI"),
        "{stderr:?}"
    );
    let stdout = json(&lines(&output.stdout));
    assert!(!stdout.is_empty());
    assert!(
        stdout
            .iter()
            .all(|line| line["uri"].as_str().unwrap().ends_with("/gr%FCn.wav"))
    );
    // In a folder, what is no file is no input.
    let output = command(&["tag", "--json"]).arg(&folder).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn passwords_are_not_printed() {
    for uri in [
        "http://anna:s%65cret@127.0.0.1:9/a.mp4",
        "rtsp://anna:s%65cret@127.0.0.1:9/a",
    ] {
        let output = command(&["tag", "--json", uri]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.starts_with("error: ") && text.contains("://anna:***@127.0.0.1:9/"),
            "{text}"
        );
        assert!(
            !text.contains("s%65cret") && !text.contains("secret"),
            "{text}"
        );
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_without_a_word() {
    let mut child = command(&["tag", "--json", "--jobs", "1", CLIP, CLIP, CLIP])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::with_capacity(64, child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(lines(&output.stderr), Vec::<String>::new());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_interruption_keeps_what_is_done() {
    let inputs = [CLIP; 40];
    let mut child = command(&["tag", "--format", "jsonl", "--jobs", "1"])
        .args(inputs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("\"file\"") {
        stdout.read_line(&mut text).unwrap();
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    stdout.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{:?}",
        lines(&output.stderr)
    );
    let files: Vec<_> = json(&lines(text.as_bytes()))
        .into_iter()
        .filter(|line| line["type"] == "file")
        .collect();
    assert!((1..40).contains(&files.len()), "{}", files.len());
    assert_eq!(files[0]["interrupted"], Value::Null);
}

#[test]
fn a_list_on_standard_input_in_its_order_whatever_is_done_first() {
    let short = media(
        "short.wav",
        "audiotestsrc num-buffers=20 ! audio/x-raw,rate=44100 ! wavenc",
    );
    let mut child = command(&["tag", "--format", "csv", "--jobs", "3", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let list = format!("{CLIP}\nmissing.wav\n{short}\n");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(list.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = lines(&output.stdout);
    assert_eq!(
        stdout[0],
        "uri,start,end,instrument,source,score,heard,seen"
    );
    let of = |name: &str| stdout.iter().position(|line| line.contains(name));
    assert!(of("band.mp4").is_some(), "{stdout:?}");
    assert!(
        of("short.wav").is_none_or(|short| Some(short) > of("band.mp4")),
        "{stdout:?}"
    );
}

#[test]
fn outputs_are_written_into_a_folder() {
    let folder = scratch("outputs");
    let _ = std::fs::remove_dir_all(&folder);
    let (code, stdout, stderr) = tag(&["--format", "jsonl", "--out", &folder, CLIP, "missing.wav"]);
    assert_eq!((code, stdout.len(), stderr.len()), (1, 0, 1), "{stderr:?}");
    let names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["band.mp4.jsonl"]);
    let text = std::fs::read_to_string(format!("{folder}/band.mp4.jsonl")).unwrap();
    assert_eq!(json(&lines(text.as_bytes())).pop().unwrap()["type"], "file");
}

/// Key frames suffice where they are near; the models then see no picture between them.
#[test]
fn the_plot_as_a_picture() {
    let path = scratch("plot.png");
    let output = command(&["tag", "--format", "png", CLIP]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(&path, output.stdout).unwrap();
    let pixels = scratch("plot.rgb");
    media(
        "plot.rgb",
        &format!("filesrc location={path} ! pngdec ! videoconvert ! video/x-raw,format=RGB"),
    );
    let pixels = std::fs::read(pixels).unwrap();
    assert!(
        pixels.len().is_multiple_of(1920 * 3),
        "{} bytes are no rows of 1920",
        pixels.len()
    );
    // The bar of the guitar that is heard and seen, and dark letters.
    let of = |colour: [u8; 3]| pixels.chunks(3).filter(|pixel| *pixel == colour).count();
    assert!(of([0x5b, 0x54, 0xe0]) > 10_000);
    assert!(of([0x1c, 0x1d, 0x22]) > 100);
}

#[test]
fn only_key_frames_are_decoded_where_they_are_near() {
    let encoded = |name: &str, distance: u32| {
        let encoder = format!("openh264enc gop-size={distance} ! h264parse");
        let pictures =
            "videotestsrc num-buffers=200 ! video/x-raw,framerate=10/1,width=64,height=64";
        media(name, &format!("{pictures} ! {encoder} ! mp4mux"))
    };
    let seen = |file: &str, decode: &str| {
        let (code, stdout, stderr) = tag(&["--json", "--decode", decode, file]);
        assert_eq!((code, stderr), (0, vec![]), "{file}");
        let (pictures, _) = of_source(&stdout, "video");
        pictures
            .iter()
            .map(|line| number(&line["start"]))
            .collect::<Vec<_>>()
    };
    let near = encoded("near.mp4", 40);
    let far = encoded("far.mp4", 80);
    assert_eq!(seen(&near, "auto"), [0.0, 4.0, 8.0, 12.0, 16.0]);
    assert!(seen(&near, "all").len() > 10);
    // Of the last group, which ends with the file after 4 s, the key frame is enough.
    let all = seen(&far, "all");
    let long = all.iter().copied().filter(|time| *time <= 16.0);
    assert_eq!(seen(&far, "auto"), long.collect::<Vec<_>>());
    assert_eq!(seen(&far, "keyframes"), [0.0, 8.0, 16.0]);
}

#[test]
fn completions_and_manual_name_the_options() {
    for (args, words) in [
        (&["completions", "bash"] as &[_], "--fusion-model"),
        (&["man"], "instruments"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["tag", "--help"], "130  interrupted"),
    ] {
        let output = command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
