// SPDX-License-Identifier: MPL-2.0

//! Servers and elements with faults, tracks and programs: what is said about them, and what is tagged all the same.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Outcome, base, ffmpeg, instruments, scratch, serve, tag, tag_one};

/// Guitar for 10 s and trumpet for 10 s, as WAV and as MP3.
fn sound(folder: &Path) {
    base(folder);
    ffmpeg(folder, "-i base.mp4 -t 20 -vn -ar 44100 a.wav");
    ffmpeg(folder, "-i a.wav -c:a libmp3lame -b:a 96k a.mp3");
}

#[test]
fn failures_of_servers_are_named() {
    let folder = scratch("http-failures");
    std::fs::write(folder.join("a.wav"), "").unwrap();
    let host = serve(&folder);
    let port = host.rsplit(':').next().unwrap();
    // A port on which nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cases = [
        (
            format!("{host}/404/a.wav"),
            "cannot be read: the server answered 404 Not Found",
        ),
        (
            format!("{host}/403/a.wav"),
            "cannot be read: the server answered 403 Forbidden",
        ),
        (
            format!("{host}/to-file/a.wav"),
            "cannot be read: the server answered 302 Found",
        ),
        (format!("{host}/page/a.wav"), "has neither audio nor video"),
        (
            format!("{host}/plain/a.wav"),
            "cannot be decoded: it is empty, or not media",
        ),
        (
            format!("http://{closed}/a.wav"),
            "cannot be read: the server refused the connection",
        ),
        (
            format!("rtsp://{closed}/a"),
            "cannot be read: the server refused the connection",
        ),
        (
            format!("https://127.0.0.1:{port}/plain/a.wav"),
            "cannot be read: no secure connection (TLS): ",
        ),
        ("http://nowhere.invalid/a.wav".into(), "cannot be read: "),
    ];
    let inputs: Vec<_> = cases.iter().map(|(uri, _)| uri.clone()).collect();
    for ((uri, expected), outcome) in cases.iter().zip(tag(&["--timeout", "10"], &inputs)) {
        let error = outcome.error.unwrap_or_default();
        assert!(error.starts_with(expected), "{uri}: {error}");
        assert!(
            !error.contains("Internal data stream error"),
            "{uri}: {error}"
        );
    }
}

#[test]
fn what_came_before_a_server_failed_is_tagged() {
    let folder = scratch("http-parts");
    sound(&folder);
    let host = serve(&folder);
    let uri = |path: &str| format!("{host}/{path}");
    let inputs = [
        "short/a.wav",
        "stall/a.wav",
        "endless/a.mp3",
        "silent/a.wav",
    ]
    .map(uri);
    let [short, stall, endless, silent] =
        <[Outcome; 4]>::try_from(tag(&["--timeout", "2"], &inputs)).unwrap();
    for (half, why) in [
        (&short, "cannot be read: the connection broke"),
        (
            &stall,
            "cannot be read: nothing has arrived from the server for 2 s (--timeout)",
        ),
    ] {
        assert_eq!(half.error, None);
        assert!((half.duration() - 10.0).abs() < 0.1, "{half:?}");
        assert!(half.labels().contains("Guitar"), "{half:?}");
        assert!(
            half.notes()
                .starts_with(&format!("ends early, at 0:10: {why}")),
            "{half:?}"
        );
    }
    assert!((endless.duration() - 20.0).abs() < 0.3, "{endless:?}");
    assert!(endless.labels().contains("Trumpet"), "{endless:?}");
    assert!(
        endless.notes().contains("no progress for 2 s (--timeout)"),
        "{endless:?}"
    );
    let error = silent.error.unwrap();
    assert_eq!(
        error,
        "cannot be read: nothing has arrived from the server for 2 s (--timeout)"
    );
}

/// A decoder that does not return, then a demultiplexer, then a file as any other.
#[test]
fn elements_that_never_return_are_left_behind() {
    let folder = scratch("stuck");
    sound(&folder);
    ffmpeg(&folder, "-i a.wav -t 5 -c:a flac a.flac");
    ffmpeg(&folder, "-i a.wav -t 5 -c:a libmp3lame a.flv");
    let name = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let plugins = Path::new(env!("CARGO_BIN_EXE_instruments")).with_file_name("examples");
    let command = |inputs: &[&str]| {
        let inputs: Vec<_> = inputs.iter().map(|input| name(input)).collect();
        let mut command = instruments(&["tag", "--timeout", "1", "--jobs", "1", "-f", "jsonl"]);
        command
            .args(inputs)
            .env("GST_PLUGIN_PATH", &plugins)
            .env("STUCK_ELEMENTS", "1")
            .env("GST_REGISTRY", name("registry"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let output = command(&["a.flac", "a.flv", "a.wav"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines.len(), 2, "{said}");
    for (line, name) in lines.iter().zip(["a.flac", "a.flv"]) {
        let cause = format!("{name}: cannot be decoded: no progress for 1 s (--timeout)");
        assert!(line.ends_with(&cause), "{line}");
    }
    let tagged = String::from_utf8(output.stdout).unwrap();
    assert!(tagged.contains("\"Trumpet\""), "{tagged}");

    // The third one waits when the signal comes.
    let child = command(&["a.flac", "a.flac", "a.flac", "a.flac"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(9));
    let asked = Instant::now();
    let status = Command::new("kill").arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

#[test]
fn tracks_are_chosen_by_number_language_and_title() {
    let folder = scratch("tracks");
    base(&folder);
    // Guitar in German, trumpet in French and by default, drums with a title.
    ffmpeg(
        &folder,
        "-ss 1 -t 8 -i base.mp4 -ss 11 -t 8 -i base.mp4 -ss 21 -t 8 -i base.mp4 -map 0:v -map 0:a -map 1:a -map 2:a -c:v copy -c:a aac
         -metadata:s:a:0 language=deu -metadata:s:a:1 language=fra -metadata:s:a:2 title=Commentary
         -disposition:a:0 0 -disposition:a:1 default -disposition:a:2 0 tracks.mkv",
    );
    let input = folder.join("tracks.mkv").to_str().unwrap().to_owned();
    let tag = |choice: &[&str]| tag_one(&[&["--without", "video"], choice].concat(), &input);
    for (choice, label) in [
        (&[][..], "Trumpet"),
        (&["--audio-track", "1"], "Guitar"),
        (&["--audio-track", "2"], "Trumpet"),
        (&["--audio-track", "3"], "Drums"),
        (&["--audio-track", "de"], "Guitar"),
        (&["--audio-track", "commentary"], "Drums"),
    ] {
        let outcome = tag(choice);
        assert!(outcome.labels().contains(label), "{choice:?}: {outcome:?}");
        assert_eq!(
            outcome.notes().is_empty(),
            !choice.is_empty(),
            "{choice:?}: {outcome:?}"
        );
    }
    let error = tag(&["--audio-track", "4"]).error.unwrap();
    assert!(
        error.starts_with("has no audio track `4`: its audio tracks are 1 (")
            && error.contains(", 2 (")
            && error.contains("fr, default), 3 (")
            && error.ends_with("Commentary)"),
        "{error}"
    );
}

#[test]
fn programs_and_streams_of_transport_streams_that_are_left_out() {
    let folder = scratch("programs");
    base(&folder);
    ffmpeg(
        &folder,
        "-t 9 -i base.mp4 -ss 11 -t 9 -i base.mp4 -map 0 -map 1 -c:v copy -c:a mp2
         -program program_num=3:st=0:st=1 -program program_num=8:st=2:st=3 two.ts",
    );
    ffmpeg(
        &folder,
        "-t 9 -i base.mp4 -c:v copy -c:a dca -strict -2 dts.ts",
    );
    ffmpeg(&folder, "-t 9 -i base.mp4 -vn -c:a dca -strict -2 only.ts");
    let tag = |choice: &[&str], name: &str| tag_one(choice, folder.join(name).to_str().unwrap());
    let first = tag(&[], "two.ts");
    assert!(first.labels().contains("Guitar"), "{first:?}");
    let note = "only program 3 of its programs 3, 8 is tagged: choose another with --program";
    assert_eq!(first.notes(), note);
    let second = tag(&["--program", "8"], "two.ts");
    assert!(second.labels().contains("Trumpet"), "{second:?}");
    assert_eq!(second.notes(), "");
    let none = tag(&["--program", "5"], "two.ts");
    assert_eq!(
        none.error.unwrap(),
        "has no program 5: its programs are 3, 8"
    );

    // What GStreamer does not know in a transport stream.
    let known = |outcome: &Outcome| outcome.segments.iter().any(|line| !line["heard"].is_null());
    let dts = tag(&[], "dts.ts");
    assert!(dts.labels().contains("Guitar"), "{dts:?}");
    assert!(
        known(&dts)
            || dts
                .notes()
                .starts_with("its audio is not tagged: GStreamer finds no DTS"),
        "{dts:?}"
    );
    let only = tag(&[], "only.ts");
    assert!(
        known(&only)
            || only
                .error
                .as_ref()
                .is_some_and(|error| error.contains("finds no DTS")),
        "{only:?}"
    );
}

#[test]
fn playlists_of_files() {
    let folder = scratch("playlists");
    base(&folder);
    ffmpeg(
        &folder,
        "-i base.mp4 -c copy -f hls -hls_time 4 -hls_list_size 0 a.m3u8",
    );
    ffmpeg(&folder, "-i base.mp4 -c copy -f dash a.mpd");
    let inputs = ["a.m3u8", "a.mpd"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    for (input, outcome) in inputs.iter().zip(tag(&["--timeout", "5"], &inputs)) {
        let labels = outcome.labels();
        for label in ["Guitar", "Trumpet", "Drums"] {
            assert!(labels.contains(label), "{input}: {outcome:?}");
        }
        assert!(
            (outcome.duration() - 30.0).abs() < 0.3,
            "{input}: {outcome:?}"
        );
    }
}

#[test]
fn stereo_of_opposite_phases_is_heard() {
    let folder = scratch("phases");
    base(&folder);
    ffmpeg(
        &folder,
        "-i base.mp4 -vn -af pan=stereo|c0=c0|c1=-1*c0 -c:a flac opposite.flac",
    );
    let outcome = tag_one(&[], folder.join("opposite.flac").to_str().unwrap());
    for label in ["Guitar", "Trumpet", "Drums"] {
        assert!(outcome.labels().contains(label), "{outcome:?}");
    }
}

/// A shell names the pipes of `<(COMMAND)` and `COMMAND |` like this.
#[test]
fn pipes_that_are_open_are_tagged() {
    let folder = scratch("pipes");
    sound(&folder);
    ffmpeg(&folder, "-i a.wav -c:a flac a.mkv");
    let script = r#""$0" tag --format jsonl <(cat a.wav) <(cat a.mkv) && cat a.mkv | "$0" tag --format jsonl /dev/stdin"#;
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_instruments")])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let files: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["type"] == "file")
        .collect();
    assert_eq!(files.len(), 3, "{lines}");
    for file in files {
        assert!(
            (file["duration"].as_f64().unwrap() - 20.0).abs() < 0.1,
            "{file}"
        );
    }
    assert_eq!(lines.matches("\"Guitar\"").count(), 6, "{lines}");
}
