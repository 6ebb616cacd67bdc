// SPDX-License-Identifier: MPL-2.0

//! Containers, codecs, tags, joined files and streams that end early, begin late or change, from a folder and from
//! servers with and without Range. What `uridecodebin` decodes of a file on this machine has to be tagged, all of its
//! seconds, and the rest has to say why.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Outcome, base, ffmpeg, scratch, serve, tag};
use gst::prelude::*;

/// A tolerance of times in seconds.
const NEAR: f64 = 0.3;

/// What is in a file: its name, and its length and scenes where these are not those of the clip, guitar for 10 s and
/// trumpet for 10 s.
struct Case {
    name: String,
    length: Option<f64>,
    /// A label, and when it must be found.
    scenes: Vec<(&'static str, f64)>,
}

impl Case {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            length: None,
            scenes: vec![("Guitar", 5.0), ("Trumpet", 15.0)],
        }
    }

    fn of(name: &str, length: f64, scenes: &[(&'static str, f64)]) -> Self {
        Self {
            name: name.into(),
            length: Some(length),
            scenes: scenes.to_vec(),
        }
    }
}

/// What GStreamer makes of a file.
#[derive(Debug, Default, Clone)]
struct Decoded {
    /// When the first and the last sample of sound and of pictures are presented, in stream time.
    extents: BTreeMap<&'static str, (f64, f64)>,
    /// Names of the caps of what it cannot decode.
    unknown: Vec<String>,
}

impl Decoded {
    fn length(&self) -> f64 {
        let start = self
            .extents
            .values()
            .map(|extent| extent.0)
            .fold(f64::MAX, f64::min);
        let end = self
            .extents
            .values()
            .map(|extent| extent.1)
            .fold(0.0, f64::max);
        end - start
    }
}

/// Decodes a file with GStreamer's own elements.
fn decode(path: &Path) -> Decoded {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("uridecodebin")
        .property(
            "uri",
            gst::glib::filename_to_uri(path, None).unwrap().as_str(),
        )
        .build()
        .unwrap();
    pipeline.add(&source).unwrap();
    let decoded = Arc::new(Mutex::new(Decoded::default()));
    let (own, weak) = (decoded.clone(), pipeline.downgrade());
    source.connect_pad_added(move |_, pad| {
        let pipeline = weak.upgrade().unwrap();
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        pipeline.add(&sink).unwrap();
        sink.sync_state_with_parent().unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
        let name = pad
            .current_caps()
            .unwrap()
            .structure(0)
            .unwrap()
            .name()
            .to_string();
        let kind = match name.as_str() {
            "audio/x-raw" => "audio",
            "video/x-raw" => "video",
            _ => return,
        };
        let own = own.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let buffer = info.buffer().unwrap();
            let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
            let segment = segment
                .segment()
                .downcast_ref::<gst::ClockTime>()
                .unwrap()
                .clone();
            let Some(start) = buffer.pts() else {
                return gst::PadProbeReturn::Ok;
            };
            let end = start + buffer.duration().unwrap_or_default();
            if let Some((start, end)) = segment.clip(start, end) {
                let time = |time| {
                    segment
                        .to_stream_time(time)
                        .map_or(0.0, gst::ClockTime::seconds_f64)
                };
                let (start, end) = (time(start), time(end));
                let mut own = own.lock().unwrap();
                let extent = own.extents.entry(kind).or_insert((start, end));
                *extent = (extent.0.min(start), extent.1.max(end));
            }
            gst::PadProbeReturn::Ok
        });
    });
    let own = decoded.clone();
    source.connect("unknown-type", false, move |values| {
        let caps = values[2].get::<gst::Caps>().unwrap();
        own.lock()
            .unwrap()
            .unknown
            .push(caps.structure(0).unwrap().name().to_string());
        None
    });
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let wait = gst::ClockTime::from_seconds(15);
    pipeline.bus().unwrap().timed_pop_filtered(wait, &kinds);
    pipeline.set_state(gst::State::Null).unwrap();
    decoded.lock().unwrap().clone()
}

/// What is wrong with what the command said about a file that GStreamer decodes like this.
fn faults(case: &Case, decoded: &Decoded, outcome: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    if decoded.extents.is_empty() {
        match &outcome.error {
            Some(error) if !error.contains("Internal") && !error.contains("no progress") => {}
            other => faults.push(format!("decodes to nothing, but: {other:?}")),
        }
        return faults;
    }
    if let Some(error) = &outcome.error {
        return vec![error.clone()];
    }
    let length = case.length.unwrap_or_else(|| decoded.length());
    let distance = (outcome.duration() - length).abs();
    if distance.is_nan() || distance > NEAR {
        faults.push(format!(
            "is {length:.2} s long, not {:.2} s",
            outcome.duration()
        ));
    }
    for (kind, lane) in [("audio", "heard"), ("video", "seen")] {
        let used = outcome.segments.iter().any(|line| !line[lane].is_null());
        let has = decoded.extents.contains_key(kind);
        if has && !used {
            faults.push(format!("its {kind} is decoded, but not tagged"));
        }
        let lacks = decoded.unknown.iter().any(|caps| caps.starts_with(kind));
        if lacks
            && !outcome
                .notes()
                .contains(&format!("its {kind} is not tagged"))
        {
            faults.push(format!("says nothing about its {kind}"));
        }
    }
    for &(label, at) in &case.scenes {
        let found = outcome.segments.iter().any(|line| {
            let time = |name: &str| line[name].as_f64().unwrap();
            line["label"] == label && time("start") <= at && at <= time("end")
        });
        if !found {
            faults.push(format!("no {label} at {at} s"));
        }
    }
    if !faults.is_empty() {
        faults.extend(outcome.error.clone());
        faults.push(outcome.notes());
    }
    faults
}

/// Tags the files of `cases` in `folder`, also from servers, and collects what is wrong.
fn check(folder: &Path, cases: &[Case]) {
    gst::init().unwrap();
    let host = serve(folder);
    let folders = [
        folder.to_str().unwrap().to_owned(),
        format!("{host}/range"),
        format!("{host}/plain"),
    ];
    let decoded: Vec<_> = cases
        .iter()
        .map(|case| {
            let path = folder.join(&case.name);
            let decoded = decode(&path);
            match decoded.extents.is_empty() {
                true => decode(&path),
                false => decoded,
            }
        })
        .collect();
    assert!(
        decoded.iter().any(|decoded| !decoded.extents.is_empty()),
        "GStreamer decodes nothing"
    );
    let outcomes = thread::scope(|scope| {
        let runs = folders.each_ref().map(|from| {
            let inputs: Vec<_> = cases
                .iter()
                .map(|case| format!("{from}/{}", case.name))
                .collect();
            scope.spawn(move || tag(&["--timeout", "20"], &inputs))
        });
        runs.map(|run| run.join().unwrap())
    });
    let mut all = Vec::new();
    for (from, outcomes) in ["file", "range", "plain"].into_iter().zip(outcomes) {
        for ((case, decoded), outcome) in cases.iter().zip(&decoded).zip(outcomes) {
            // Files of which another part is needed first.
            let refused = outcome.error.as_deref().unwrap_or_default();
            let of_server = from != "file" && refused.contains("download it first");
            if of_server || from == "plain" && refused.contains("(Range)") {
                continue;
            }
            let faults = faults(case, decoded, &outcome);
            if !faults.is_empty() {
                all.push(format!("{from} {}: {}", case.name, faults.join("; ")));
            }
        }
    }
    assert!(
        all.is_empty(),
        "{} of {}:\n{}",
        all.len(),
        3 * cases.len(),
        all.join("\n")
    );
}

/// `base.mp4` cut to 20 s, as `a.mp4`, and its sound as `a.wav`; what ffmpeg lacks is left out.
fn clip(folder: &Path) {
    base(folder);
    ffmpeg(folder, "-i base.mp4 -t 20 -c copy a.mp4");
    ffmpeg(folder, "-i base.mp4 -t 20 -vn -ar 44100 -ac 2 a.wav");
}

/// Makes `name` from `from` if ffmpeg can.
fn make(folder: &Path, from: &str, words: &str, name: &str) -> Option<Case> {
    let done = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(format!("-i {from} {words} {name}").split_whitespace())
        .current_dir(folder)
        .stderr(std::process::Stdio::null())
        .status();
    done.unwrap().success().then(|| Case::new(name))
}

#[test]
fn containers_and_codecs_of_films() {
    let folder = scratch("matrix-films");
    clip(&folder);
    let fast = "-c:v mpeg2video -q:v 6";
    let cases: Vec<_> = [
        ("-c copy", "end.mp4"),
        ("-c copy -movflags faststart", "start.mp4"),
        (
            "-c copy -movflags frag_keyframe+empty_moov",
            "fragments.mp4",
        ),
        ("-c:v copy -c:a alac", "alac.mov"),
        ("-c:v mjpeg -q:v 8 -c:a pcm_s16le", "mjpeg.mov"),
        ("-c:v copy -c:a flac", "flac.mkv"),
        ("-c:v copy -c:a eac3", "eac3.mkv"),
        ("-c:v copy -c:a dca -strict -2", "dts.mkv"),
        (
            "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis",
            "vp8.webm",
        ),
        (
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus",
            "vp9.webm",
        ),
        (
            "-c:v libx265 -preset ultrafast -x265-params log-level=none -c:a aac",
            "h265.mkv",
        ),
        ("-c:v mpeg4 -q:v 6 -c:a libmp3lame", "mpeg4.avi"),
        ("-c:v mjpeg -q:v 8 -c:a pcm_s16le", "mjpeg.avi"),
        ("-c copy", "h264.flv"),
        ("-c:v copy -c:a mp2", "h264.ts"),
        ("-c:v copy -c:a dca -strict -2", "dts.ts"),
        (&format!("{fast} -c:a ac3"), "mpeg2.ts"),
        (&format!("{fast} -c:a mp2"), "mpeg2.mpg"),
        (&format!("{fast} -c:a pcm_s16le -ar 48000"), "mpeg2.mxf"),
        ("-c:v copy -c:a ac3", "h264.m2ts"),
        ("-c:v libtheora -q:v 5 -c:a libvorbis", "theora.ogv"),
        ("-c:v wmv2 -q:v 6 -c:a wmav2", "wmv.wmv"),
        ("-c:v h263 -s 352x288 -c:a aac", "h263.3gp"),
        ("-c:v rv10 -c:a ac3", "real.rm"),
    ]
    .into_iter()
    .filter_map(|(words, name)| make(&folder, "a.mp4", words, name))
    .collect();
    assert!(cases.len() > 15, "ffmpeg made {} files", cases.len());
    check(&folder, &cases);
}

#[test]
fn containers_and_codecs_of_sound() {
    let folder = scratch("matrix-sound");
    clip(&folder);
    let cases: Vec<_> = [
        ("-c:a pcm_s24le", "s24.wav"),
        ("-c:a pcm_f32le", "f32.wav"),
        ("-c:a pcm_u8", "u8.wav"),
        ("-c:a pcm_mulaw", "mulaw.wav"),
        ("-c:a adpcm_ms", "adpcm.wav"),
        ("-c:a pcm_s16le -rf64 always", "rf64.wav"),
        ("-c:a pcm_s16be", "a.aiff"),
        ("-c:a pcm_s16be", "a.au"),
        ("-c:a pcm_s16be", "a.caf"),
        ("-c:a pcm_s16le -f w64", "a.w64"),
        ("-c:a flac", "a.flac"),
        ("-c:a flac", "flac.oga"),
        ("-c:a libvorbis", "a.ogg"),
        ("-c:a libopus", "a.opus"),
        ("-c:a libspeex -ar 32000", "a.spx"),
        ("-c:a libmp3lame", "a.mp3"),
        ("-c:a mp2", "a.mp2"),
        ("-c:a aac", "a.aac"),
        ("-c:a aac", "a.m4a"),
        ("-c:a alac", "alac.m4a"),
        ("-c:a ac3", "a.ac3"),
        ("-c:a eac3", "a.eac3"),
        ("-c:a dca -strict -2", "a.dts"),
        ("-c:a wavpack", "a.wv"),
        ("-c:a tta", "a.tta"),
        ("-c:a wmav2", "a.wma"),
        ("-c:a libopus", "a.mka"),
        ("-c:a libopus", "a.weba"),
        ("-c:a mp2", "sound.ts"),
        ("-c:a aac", "sound.flv"),
        ("-c:a libmp3lame", "sound.avi"),
    ]
    .into_iter()
    .filter_map(|(words, name)| {
        let words = match name.ends_with("weba") {
            true => format!("{words} -f webm"),
            false => words.to_owned(),
        };
        make(&folder, "a.wav", &words, name)
    })
    .collect();
    assert!(cases.len() > 20, "ffmpeg made {} files", cases.len());
    check(&folder, &cases);
}

/// An ID3v2.4 tag with a title, with a picture if one is given, and padding.
fn id3v2(picture: Option<&[u8]>) -> Vec<u8> {
    let safe = |size: usize| [21, 14, 7, 0].map(|shift| (size >> shift & 127) as u8);
    let frame = |name: &[u8], body: &[u8]| [name, &safe(body.len()), &[0, 0], body].concat();
    let mut frames = frame(b"TIT2", b"\x03a title");
    if let Some(picture) = picture {
        let body = [b"\0image/jpeg\0\x03\0".as_slice(), picture].concat();
        frames.extend(frame(b"APIC", &body));
    }
    frames.extend([0; 1024]);
    [b"ID3\x04\0\0".as_slice(), &safe(frames.len()), &frames].concat()
}

fn id3v1() -> Vec<u8> {
    let mut tag = b"TAGa title".to_vec();
    tag.resize(128, 0);
    tag
}

fn apev2() -> Vec<u8> {
    let item = [b"\x01\0\0\0\0\0\0\0Title\0t".as_slice()].concat();
    let head = |flags: u32| {
        let numbers = [2000, item.len() as u32 + 32, 1, flags].map(u32::to_le_bytes);
        [b"APETAGEX".as_slice(), numbers.as_flattened(), &[0; 8]].concat()
    };
    [head(0xa000_0000), item.clone(), head(0x8000_0000)].concat()
}

fn lyrics3() -> Vec<u8> {
    let body = b"LYRICSBEGININD0000200LYR00005words";
    let size = format!("{:06}", body.len());
    [body.as_slice(), size.as_bytes(), b"LYRICS200"].concat()
}

#[test]
fn tags_around_sound() {
    let folder = scratch("matrix-tags");
    clip(&folder);
    ffmpeg(&folder, "-ss 22 -i base.mp4 -frames:v 1 cover.jpg");
    let cover = std::fs::read(folder.join("cover.jpg")).unwrap();
    let mut cases = Vec::new();
    for (words, end) in [
        ("-c:a libmp3lame -id3v2_version 0 -write_xing 0", "mp3"),
        ("-c:a flac", "flac"),
        ("-c:a aac", "aac"),
        ("-c:a ac3", "ac3"),
        ("-c:a wavpack", "wv"),
    ] {
        let bare = format!("bare.{end}");
        if make(&folder, "a.wav", words, &bare).is_none() {
            continue;
        }
        let data = std::fs::read(folder.join(&bare)).unwrap();
        for (name, before, after) in [
            ("none", vec![], vec![]),
            ("id3v2", id3v2(None), vec![]),
            ("cover", id3v2(Some(&cover)), vec![]),
            ("twice", [id3v2(None), id3v2(Some(&cover))].concat(), vec![]),
            ("id3v1", vec![], id3v1()),
            ("apev2", vec![], apev2()),
            ("lyrics3", vec![], [lyrics3(), id3v1()].concat()),
            (
                "all",
                id3v2(Some(&cover)),
                [apev2(), lyrics3(), id3v1()].concat(),
            ),
        ] {
            let name = format!("{name}.{end}");
            std::fs::write(folder.join(&name), [before, data.clone(), after].concat()).unwrap();
            cases.push(Case::new(name));
        }
    }
    let attached = "-i cover.jpg -map 0 -map 1 -disposition:v attached_pic";
    cases.extend(
        [
            (
                format!("{attached} -c:a libmp3lame -c:v copy"),
                "attached.mp3",
            ),
            (format!("{attached} -c:a flac -c:v copy"), "attached.flac"),
            (format!("{attached} -c:a aac -c:v copy"), "attached.m4a"),
            (
                "-attach cover.jpg -metadata:s:t mimetype=image/jpeg -c:a flac".into(),
                "attached.mka",
            ),
        ]
        .iter()
        .filter_map(|(words, name)| make(&folder, "a.wav", words, name)),
    );
    check(&folder, &cases);
}

#[test]
fn joined_files() {
    let folder = scratch("matrix-joined");
    clip(&folder);
    // Trumpet and drums.
    ffmpeg(
        &folder,
        "-ss 10 -i base.mp4 -t 20 -vn -ar 44100 -ac 2 b.wav",
    );
    let scenes = [("Guitar", 5.0), ("Trumpet", 20.0), ("Drums", 35.0)];
    let mut cases = Vec::new();
    for (words, name) in [
        ("-c:a libvorbis", "chained.ogg"),
        ("-c:a libopus", "chained.opus"),
        ("-c:a libmp3lame", "joined.mp3"),
        ("-c:a libmp3lame -id3v2_version 0 -write_xing 0", "bare.mp3"),
        ("-c:a aac", "joined.aac"),
        ("-c:a ac3", "joined.ac3"),
        ("-c:a mp2", "joined.ts"),
    ] {
        let parts = ["a", "b"].map(|from| {
            let part = format!("{from}-{name}");
            let offset = if from == "b" && name.ends_with("ts") {
                "-output_ts_offset 20"
            } else {
                ""
            };
            make(
                &folder,
                &format!("{from}.wav"),
                &format!("{words} {offset}"),
                &part,
            )?;
            std::fs::read(folder.join(&part)).ok()
        });
        if let [Some(first), Some(second)] = parts {
            std::fs::write(folder.join(name), [first, second].concat()).unwrap();
            cases.push(Case::of(name, 40.0, &scenes));
        }
    }
    check(&folder, &cases);
}

#[test]
fn streams_that_are_short_late_missing_or_change() {
    let folder = scratch("matrix-changes");
    clip(&folder);
    let mut cases = Vec::new();
    for end in ["mp4", "mkv", "ts", "avi", "flv", "mov"] {
        let audio = if matches!(end, "ts" | "avi") {
            "mp2"
        } else {
            "copy"
        };
        let copy = format!("-c:v copy -c:a {audio}");
        for (name, words) in [
            (
                "sound-ends",
                format!("-t 8 -i a.mp4 -map 0:v -map 1:a {copy}"),
            ),
            (
                "pictures-end",
                format!("-t 8 -i a.mp4 -map 1:v -map 0:a {copy}"),
            ),
            ("no-sound", "-an -c:v copy".to_owned()),
            ("no-pictures", format!("-vn -c:a {audio}")),
        ] {
            cases.extend(make(&folder, "a.mp4", &words, &format!("{name}.{end}")));
        }
        let late = format!("-itsoffset 8 -t 12 -i a.mp4 -map 0:v -map 1:a {copy}");
        let late = make(&folder, "a.mp4", &late, &format!("late.{end}"));
        // Its sound is about another instrument than its pictures.
        cases.extend(late.map(|case| Case::of(&case.name, 20.2, &[])));
    }
    // One transport stream after the other, as receivers write them.
    let second = "-output_ts_offset 10";
    for (name, first, then) in [
        ("codec", "-c:v copy -c:a ac3", "-c:v copy -c:a mp2"),
        (
            "size",
            "-c:v copy -c:a mp2",
            "-vf scale=160:-2 -c:v libx264 -preset ultrafast -c:a mp2",
        ),
        (
            "video",
            "-c:v copy -c:a mp2",
            "-c:v mpeg2video -q:v 6 -c:a mp2",
        ),
        (
            "pids",
            "-c:v copy -c:a mp2",
            "-c:v copy -c:a mp2 -streamid 0:0x200 -streamid 1:0x201",
        ),
        ("added", "-an -c:v copy", "-c:v copy -c:a mp2"),
        ("gone", "-c:v copy -c:a mp2", "-an -c:v copy"),
    ] {
        ffmpeg(&folder, &format!("-i a.mp4 -t 10 {first} one.ts"));
        ffmpeg(
            &folder,
            &format!("-ss 10 -i a.mp4 -t 10 {then} {second} two.ts"),
        );
        let parts = ["one.ts", "two.ts"].map(|part| std::fs::read(folder.join(part)).unwrap());
        let name = format!("{name}-changes.ts");
        std::fs::write(folder.join(&name), parts.concat()).unwrap();
        cases.push(Case::of(&name, 20.2, &[("Guitar", 5.0), ("Trumpet", 15.0)]));
    }
    check(&folder, &cases);
}
