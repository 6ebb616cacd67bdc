// SPDX-License-Identifier: MPL-2.0

//! What `instruments` is given: lists, folders, URIs, options; and what it keeps of them.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs the command with this standard input: exit code, standard output, standard error.
fn run(args: &[&str], stdin: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_instruments"))
        .args(args)
        .current_dir(ROOT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // It may end before it has read everything.
    let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(
        !stderr.contains("CRITICAL") && !stderr.contains("panicked"),
        "{stderr}"
    );
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        stderr,
    )
}

/// An empty folder.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("inputs")
        .join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Two seconds of a tone, 16 bits at 16 kHz.
fn wav() -> Vec<u8> {
    const RATE: u32 = 16_000;
    let sample = |n: u32| {
        ((f64::from(n) / f64::from(RATE) * 440.0 * std::f64::consts::TAU).sin() * 2e4) as i16
    };
    let samples: Vec<u8> = (0..2 * RATE)
        .flat_map(|n| sample(n).to_le_bytes())
        .collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + samples.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((samples.len() as u32).to_le_bytes());
    file.extend(samples);
    file
}

fn file(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, wav()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The lines about whole inputs.
fn files(stdout: &str) -> Vec<Value> {
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "file").collect()
}

#[test]
fn lists_of_every_encoding() {
    let folder = scratch("lists");
    let names = [file(&folder, "a b.wav"), file(&folder, "Ċ日本.wav")];
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    };
    let lines = names.join("\r\n") + "\r\n";
    let marked = format!("\u{feff}{lines}");
    for (encoding, list) in [
        ("UTF-8", lines.clone().into_bytes()),
        ("UTF-8 with a mark", marked.clone().into_bytes()),
        ("UTF-16LE", utf16(&marked, u16::to_le_bytes)),
        ("UTF-16BE", utf16(&marked, u16::to_be_bytes)),
    ] {
        for args in [&["tag", "-f", "jsonl", "-"] as &[_], &["tag", "--follow"]] {
            let (code, stdout, stderr) = run(args, &list);
            assert_eq!((code, stderr.as_str()), (0, ""), "{encoding} {args:?}");
            let found = files(&stdout);
            assert_eq!(found.len(), 2, "{encoding} {args:?}: {stdout}");
            assert!(
                found.iter().all(|line| line.get("error").is_none()),
                "{encoding} {args:?}: {stdout}"
            );
        }
    }
    let (code, stdout, stderr) = run(
        &["tag", "-f", "jsonl", "-"],
        (names.join("\0") + "\0").as_bytes(),
    );
    assert_eq!((code, files(&stdout).len(), stderr.as_str()), (0, 2, ""));
    // A damaged line is one input that fails.
    let damaged = format!("{}\nbad\0name.wav\n{}\n", names[0], names[1]);
    let (code, stdout, stderr) = run(&["tag", "-f", "jsonl", "-"], damaged.as_bytes());
    assert_eq!((code, files(&stdout).len()), (1, 2), "{stderr}");
    assert!(
        stderr.starts_with(r"error: bad\u{0}name.wav: is not a name"),
        "{stderr}"
    );
    let (code, stdout, _) = run(&["tag", "--follow"], damaged.as_bytes());
    let failed: Vec<_> = files(&stdout)
        .iter()
        .map(|line| line.get("error").is_some())
        .collect();
    assert_eq!((code, failed), (0, vec![false, true, false]));
}

#[test]
fn media_in_place_of_a_list() {
    let clip = std::fs::read(format!("{ROOT}/examples/media/band.mp4")).unwrap();
    for (media, kind) in [(wav(), "audio/x-wav"), (clip, "video/quicktime")] {
        for args in [&["tag", "-"] as &[_], &["tag", "--follow"]] {
            let (code, stdout, stderr) = run(args, &media);
            assert_eq!((code, stdout.as_str()), (1, ""));
            assert_eq!(
                stderr,
                format!(
                    "error: standard input is media ({kind}), not a list of inputs: give /dev/stdin in place of -, or save it to a file\n"
                )
            );
        }
    }
}

#[test]
fn uris_of_every_scheme() {
    let folder = scratch("schemes");
    let good = file(&folder, "a b.wav");
    for uri in [
        format!("FILE://{}", good.replace(' ', "%20")),
        format!("File://localhost{good}"),
        format!("file:{}", good.replace(' ', "%20")),
    ] {
        let (code, stdout, stderr) = run(&["tag", "-f", "jsonl", &uri], b"");
        assert_eq!(
            (code, files(&stdout).len(), stderr.as_str()),
            (0, 1, ""),
            "{uri}"
        );
    }
    for scheme in ["smb", "s3", "SFTP", "ipfs", "a.b+c-1"] {
        let (code, stdout, stderr) = run(&["tag", &format!("{scheme}://host/a.mp4")], b"");
        assert_eq!((code, stdout.as_str()), (1, ""));
        let scheme = scheme.to_lowercase();
        let words = format!("no GStreamer element reads URIs with the scheme `{scheme}`");
        assert!(
            stderr.contains(&words) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
fn a_folder_is_looked_at_by_content() {
    let folder = scratch("folder");
    for name in ["no ending", "a.mod", "b/c.rec", "d.jpg"] {
        file(&folder, name);
    }
    for (name, data) in [
        ("e.mp3", "words"),
        ("cover.jpg", "\u{ff}\u{d8}"),
        ("\u{1b}[2J.txt", "words"),
    ] {
        std::fs::write(folder.join(name), data).unwrap();
    }
    std::os::unix::fs::symlink(".", folder.join("loop")).unwrap();
    let (code, stdout, stderr) = run(&["tag", "-f", "jsonl", folder.to_str().unwrap()], b"");
    assert_eq!((code, files(&stdout).len()), (0, 4), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("note: 3 files that are not media were skipped: "),
        "{stderr}"
    );
    assert!(
        stderr.contains(r"\u{1b}[2J.txt") && stderr.contains("/e.mp3"),
        "{stderr}"
    );
}

/// A server that has nothing; the paths that it is asked for.
fn server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream: TcpStream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
            let _ = sender.send(line);
            let _ = (&stream).write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    (host, receiver)
}

#[test]
fn signatures_reach_the_server_and_nothing_else() {
    let folder = scratch("secrets");
    let out = folder.join("out");
    let (host, asked) = server();
    let sign = |number: u32| {
        format!(
            "{host}/a.mp4?id=1&X-Amz-Credential=S3CRET%2F{number}&X-Amz-Signature=S3CRET{number}\n{host}/b.mp4?sv=2024&sp=r&sig=S3CRET{number}%3D\n"
        )
    };
    for number in 0..2 {
        let args = [
            "tag",
            "--retry-failed",
            "--shard",
            "0/1",
            "--out",
            out.to_str().unwrap(),
            "-",
        ];
        let (code, stdout, stderr) = run(&args, sign(number).as_bytes());
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (3, "", ""));
    }
    let lines: Vec<_> = asked.try_iter().collect();
    for signature in [
        "X-Amz-Signature=S3CRET0 ",
        "X-Amz-Signature=S3CRET1 ",
        "sp=r&sig=S3CRET1%3D ",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(signature)),
            "{lines:?}"
        );
    }
    let stored = Command::new("grep")
        .args(["-rc", "S3CRET"])
        .arg(&out)
        .output()
        .unwrap();
    let stored = String::from_utf8(stored.stdout).unwrap();
    assert!(stored.lines().all(|line| line.ends_with(":0")), "{stored}");
    let names = stored.lines().filter(|line| line.contains("/records/"));
    assert_eq!(names.count(), 2, "{stored}");
    let (code, table, said) = run(&["merge", out.to_str().unwrap()], b"");
    assert_eq!((code, said.as_str()), (0, "0 inputs tagged, 2 failed\n"));
    let uris: Vec<_> = files(&table)
        .iter()
        .map(|line| line["uri"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        uris,
        [format!("{host}/a.mp4?id=1"), format!("{host}/b.mp4")]
    );
    // Messages have none either.
    let all = sign(3);
    let (code, stdout, stderr) = run(
        &[
            &["tag", "-f", "jsonl"],
            &all.lines().collect::<Vec<_>>()[..],
        ]
        .concat(),
        b"",
    );
    assert_eq!(code, 1);
    assert!(
        !stdout.contains("S3CRET") && !stderr.contains("S3CRET"),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!("error: {host}/a.mp4?id=1: ")),
        "{stderr}"
    );
}

#[test]
fn outputs_of_equal_names_are_all_there() {
    let folder = scratch("outputs");
    let long = "n".repeat(251) + ".wav";
    let names = [
        "a/a.wav",
        "b/a.wav",
        "a.wav-2",
        "A.WAV",
        "index",
        long.as_str(),
    ];
    let inputs = names.map(|name| file(&folder, name));
    let out = folder.join("out");
    let options = ["tag", "-f", "html", "--out", out.to_str().unwrap()];
    let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
    let (code, _, stderr) = run(&[&options[..], &inputs].concat(), b"");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut found: Vec<_> = out
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    let pages = found.iter().filter(|page| !page.ends_with("index.html"));
    let titles: std::collections::BTreeSet<_> = pages
        .map(|page| {
            let text = std::fs::read_to_string(page).unwrap();
            let source = text.split("src=\"").nth(1).unwrap();
            source.split('"').next().unwrap().to_owned()
        })
        .collect();
    // Each page is of another input.
    assert_eq!(titles.len(), names.len(), "{titles:?}");
    assert_eq!(found.len(), names.len() + 1, "{found:?}");
}

#[test]
fn models_that_are_wrong_are_named_once_and_before_the_work() {
    let folder = scratch("models");
    let inputs = [file(&folder, "a.wav"), file(&folder, "b.wav")];
    let out = folder.join("out");
    let shard = ["--shard", "0/1", "--out", out.to_str().unwrap()];
    for (options, words) in [
        (
            &["--audio-model", "efficientnet-lite-yt8m13"] as &[_],
            "takes pictures, and --audio-model needs a model for audio",
        ),
        (
            &["--fusion-model", "ced-yt8m13"],
            "takes sound, and --fusion-model needs a fusion model",
        ),
        (
            &["--fusion-model", "fusion-audioset"],
            "was not made for the embeddings `efficientnet-lite-yt8m13/2` of the pictures and `ced-yt8m13/1` of the sound",
        ),
        (
            &["--audio-model", "missing"],
            "the model `missing` was not found",
        ),
        (
            &["--audio-model", "ced-audioset", "--precision", "int8"],
            "use --precision auto",
        ),
    ] {
        for shard in [&shard as &[_], &[]] {
            let all = [&["tag"], options, shard, &[inputs[0].as_str(), &inputs[1]]].concat();
            let (code, stdout, stderr) = run(&all, b"");
            let expected = if shard.is_empty() { 1 } else { 2 };
            assert_eq!((code, stdout.as_str()), (expected, ""), "{options:?}");
            assert!(
                stderr.starts_with("error: ") && stderr.contains(words),
                "{stderr}"
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(
                !stderr.contains("frameclassify") && !stderr.contains("property"),
                "{stderr}"
            );
            assert!(!out.exists(), "{options:?} made records");
        }
    }
    let (code, stdout, stderr) = run(
        &["tag", "--json", "--audio-model", "ced-audioset", &inputs[0]],
        b"",
    );
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains(r#""model":"fusion-audioset""#), "{stdout}");
    let (code, stdout, stderr) = run(
        &["tag", "--json", "--audio-model", "han-yt8m13", &inputs[0]],
        b"",
    );
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.starts_with("note: no fusion model was made for these models"),
        "{stderr}"
    );
    assert!(
        !stdout.contains("fused") && stdout.contains(r#""model":"han-yt8m13""#),
        "{stdout}"
    );
}

#[test]
fn numbers_have_the_limits_of_the_elements() {
    for args in [
        ["--frames", "10001"],
        ["--frames", "4294967295"],
        ["--window", "0.01"],
    ] {
        let (code, _, stderr) = run(&[&["tag"], &args[..], &["a.wav"]].concat(), b"");
        assert_eq!(code, 2, "{args:?}: {stderr}");
    }
    let clip = "examples/media/band.mp4";
    for args in [["--frames", "10000"], ["--window", "0.1"]] {
        let (code, _, stderr) = run(
            &[&["tag", "--without", "video"], &args[..], &[clip]].concat(),
            b"",
        );
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    }
}

/// Runs in a namespace of its own, where it may mount a file system of a few pages.
#[test]
fn a_full_disk_is_no_fault_of_the_inputs() {
    let folder = scratch("full");
    let list: String = (0..12)
        .map(|number| file(&folder, &format!("{number}.wav")) + "\n")
        .collect();
    std::fs::write(folder.join("list"), list).unwrap();
    let script = r#"
        cd "$1"
        mkdir disk
        mount -t tmpfs -o size=32k none disk || exit 99
        tag() { "$2" tag --jobs 2 --shard 0/1 --out disk/out - < list; }
        for run in 1 2 3 4 5 6 7; do
            tag "$@" 2> said && exit 1
            grep -q 'No space left on device.*; the shard ends' said || { cat said; exit 2; }
        done
        mount -o remount,size=10m disk
        tag "$@" || exit 3
        "$2" merge disk/out | grep -c '"duration"'
        find disk -name '*.running' -o -name '*.part'
    "#;
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "bash",
            "-c",
            script,
            "bash",
        ])
        .args([folder.to_str().unwrap(), env!("CARGO_BIN_EXE_instruments")])
        .output();
    let output = match output {
        Ok(output)
            if output.status.code() != Some(99)
                && !(output.stdout.is_empty()
                    && String::from_utf8_lossy(&output.stderr).starts_with("unshare:")) =>
        {
            output
        }
        _ => {
            eprintln!("skipped: no file system can be mounted here");
            return;
        }
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "12\n");
}
