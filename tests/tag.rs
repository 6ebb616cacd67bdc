// SPDX-License-Identifier: MPL-2.0

//! The command-line tagger, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CLIP: &str = "examples/media/band.mp4";

/// Runs the tagger in the root folder: exit code, lines of standard output, lines of standard error.
fn tag(args: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let test = std::env::current_exe().unwrap();
    let tagger = test
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/tag");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(&tagger)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", tagger.display()));
    let lines = |bytes| {
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    (status.code().unwrap(), lines(stdout), lines(stderr))
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
    let (code, stdout, stderr) = tag(&["--json", "--window", "10", "--stride", "5", CLIP]);
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
    let scene = stdout
        .iter()
        .find(|line| line.starts_with("0:25 – 0:30"))
        .unwrap();
    let columns: Vec<_> = scene
        .split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty())
        .collect();
    assert_eq!(columns.len(), 4, "{scene}");
    assert!(
        columns[2].starts_with("Drums ") && columns[3].starts_with("Drums "),
        "{scene}"
    );
    assert!(
        stdout.iter().any(|line| line.starts_with("all of it ")),
        "{stdout:?}"
    );
    assert!(
        stdout
            .iter()
            .any(|line| line.starts_with("30.0 s tagged in ")),
        "{stdout:?}"
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
    // The middles of the quarters of 30.
    let four = [3, 11, 18, 26].map(|index| &pictures[index]);
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
        &std::fs::read(format!("{}/{CLIP}", env!("CARGO_MANIFEST_DIR"))).unwrap()[..3000],
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
        ("examples", "is a directory"),
        ("file:///missing.mp4", "cannot be read"),
        (&text, "cannot be decoded"),
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
