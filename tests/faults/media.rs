// SPDX-License-Identifier: MPL-2.0

//! Files that are cut, joined or damaged: what can be decoded passes as without the elements, what cannot is an
//! error of the element that reads it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::{Outcome, Record, folder, launch, ms, play, stop};

/// Three seconds of pictures and of sound.
const PICTURES: &str =
    "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1";
const SOUND: &str = "audiotestsrc num-buffers=30 samplesperbuffer=1600 wave=white-noise
    ! audio/x-raw,rate=16000,channels=1,format=S16LE";

/// Writes a file with the encoders and the muxer of `kind`.
fn make(kind: &str, folder: &Path) -> PathBuf {
    let file = folder.join(kind);
    let (pictures, sound, mux) = match kind {
        "mkv" => ("jpegenc", "flacenc", "matroskamux name=mux"),
        "avi" => ("jpegenc", "identity", "avimux name=mux"),
        "ogg" => ("theoraenc", "audioconvert ! vorbisenc", "oggmux name=mux"),
        "ts" => ("openh264enc ! h264parse", "avenc_mp2", "mpegtsmux name=mux"),
        "mp4" => (
            "openh264enc ! h264parse",
            "audioconvert ! avenc_aac",
            "mp4mux name=mux",
        ),
        "flac" => ("", "flacenc", "identity name=mux"),
        "mp3" => ("", "lamemp3enc", "identity name=mux"),
        "wav" => ("", "identity", "wavenc name=mux"),
        _ => panic!("{kind}"),
    };
    let pictures = match pictures {
        "" => String::new(),
        encoder => format!("{PICTURES} ! {encoder} ! queue ! mux."),
    };
    let outcome = play(&launch(&format!(
        "{pictures} {SOUND} ! {sound} ! queue ! mux. {mux} ! filesink location={}",
        file.display()
    )));
    assert_eq!(outcome.error, None, "{kind}");
    file
}

/// Damages `bytes` in the way number `way`, the same each time.
fn damage(bytes: &[u8], way: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(way as u64 + 1);
    let mut place = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % length
    };
    match way {
        0 => bytes.truncate(length / 2),
        1 => bytes.truncate(length - 1),
        2 => bytes.truncate(40),
        3 => drop(bytes.drain(length / 3..length / 2)),
        4 => bytes.extend_from_within(..),
        5 => bytes[length / 2..length * 3 / 4].fill(0),
        6 => bytes[length / 4..length / 3].reverse(),
        7 => drop(bytes.drain(..length / 3)),
        _ => (0..10 * (way - 7)).for_each(|_| bytes[place()] ^= 1 << (way % 8)),
    }
    bytes
}

const WAYS: usize = 11;

/// Plays `pipeline` to its end or its first error; `None` when neither comes, as with decodebin, which keeps some
/// errors of demuxers to itself.
fn outcome(pipeline: &gst::Pipeline) -> Option<Outcome> {
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().unwrap();
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    let mut ended = false;
    while !ended && begun.elapsed() < Duration::from_secs(30) {
        match bus.timed_pop(ms(100)) {
            Some(message) => ended = outcome.read(&message),
            None => {
                // Nothing plays and nothing was found for long: nothing will come.
                let found = pipeline.by_name("d").is_some_and(|d| d.num_src_pads() > 0);
                if !found && begun.elapsed() > Duration::from_secs(3) {
                    break;
                }
            }
        }
    }
    stop(pipeline);
    ended.then_some(outcome)
}

/// Every damage to a file of `kind`: the end or one error comes, never from our elements.
#[track_caller]
fn survives(kind: &str) {
    let folder = folder(&format!("damaged-{kind}"));
    let bytes = std::fs::read(make(kind, &folder)).unwrap();
    let mut tagged = 0;
    for way in 0..WAYS {
        let file = folder.join(format!("{way}.{kind}"));
        std::fs::write(&file, damage(&bytes, way)).unwrap();
        let fused = match kind {
            "flac" | "mp3" | "wav" => "",
            _ => "d. ! queue ! frameclassify model=video interval=500000000 ! fuse.video",
        };
        let pipeline = launch(&format!(
            "uridecodebin uri=file://{} name=d {fused}
                d. ! queue ! melspec patch-interval=200000000 ! frameclassify model=audio ! fuse.audio
                avfuse name=fuse model=fusion window=1000000000 stride=1000000000 ! fakesink",
            file.display()
        ));
        let Some(outcome) = outcome(&pipeline) else {
            continue;
        };
        if let Some((element, text)) = &outcome.error {
            let ours = ["melspec", "frameclassify", "fuse", "tagtext"];
            assert!(
                !ours.iter().any(|name| element.starts_with(name)),
                "{way}: {element}: {text}"
            );
            assert!(!text.contains("anicked"), "{way}: {element}: {text}");
        } else if !outcome.tags.is_empty() {
            tagged += 1;
        }
    }
    assert!(
        tagged >= 3,
        "{kind}: only {tagged} of {WAYS} damaged files gave tags"
    );
}

#[test]
fn damaged_matroska() {
    survives("mkv");
}

#[test]
fn damaged_avi() {
    survives("avi");
}

#[test]
fn damaged_ogg() {
    survives("ogg");
}

#[test]
fn damaged_transport_streams() {
    survives("ts");
}

#[test]
fn damaged_mp4() {
    survives("mp4");
}

#[test]
fn damaged_flac() {
    survives("flac");
}

#[test]
fn damaged_mp3() {
    survives("mp3");
}

#[test]
fn damaged_wav() {
    survives("wav");
}

/// Timestamp and bytes of each buffer.
fn bytes(record: &Record) -> Vec<(Option<gst::ClockTime>, Vec<u8>)> {
    let buffers = record.buffers().into_iter();
    buffers
        .map(|buffer| (buffer.pts(), buffer.map_readable().unwrap().to_vec()))
        .collect()
}

#[test]
fn what_can_be_decoded_of_a_damaged_file_passes_untouched() {
    let folder = folder("untouched");
    let whole = std::fs::read(make("mkv", &folder)).unwrap();
    for way in [0, 1, 3, 4, 5, 6, 8] {
        let file = folder.join(format!("{way}.mkv"));
        std::fs::write(&file, damage(&whole, way)).unwrap();
        let run = |pictures: &str, sound: &str| {
            let pipeline = launch(&format!(
                "filesrc location={} ! matroskademux name=d
                    d.video_0 ! queue ! jpegdec {pictures} ! fakesink name=pictures
                    d.audio_0 ! queue ! flacparse ! flacdec {sound} ! fakesink name=sound",
                file.display()
            ));
            let records = ["pictures", "sound"].map(|sink| Record::of(&pipeline, sink));
            let outcome = outcome(&pipeline);
            let outcome =
                outcome.unwrap_or_else(|| panic!("neither an end nor an error: {way} {pictures}"));
            (records.map(|record| bytes(&record)), outcome.error)
        };
        let (plain, expected) = run("", "");
        let (tagged, found) = run(
            "! frameclassify model=video interval=0 ! v.video avfuse name=v model=fusion",
            "! melspec patch-interval=50000000 ! frameclassify model=audio ! a.audio avfuse name=a model=fusion",
        );
        // After an error the branches stop at any time.
        let failed = expected.is_some();
        assert_eq!(found.is_some(), failed, "{way}: {expected:?}, {found:?}");
        for (plain, tagged) in plain.iter().zip(&tagged) {
            let common = plain.len().min(tagged.len());
            assert!(plain[..common] == tagged[..common], "{way}");
            assert!(failed || plain.len() == tagged.len(), "{way}");
        }
    }
}
