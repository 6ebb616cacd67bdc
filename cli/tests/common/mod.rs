// SPDX-License-Identifier: MPL-2.0

//! What tests of the command share: media made by ffmpeg, a server with faults, and the command's JSON lines.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// An empty folder.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs ffmpeg in `folder`; the arguments are words.
pub fn ffmpeg(folder: &Path, words: &str) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(words.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {words}: {said}");
}

/// The bundled clip, small and with a key frame every two seconds, as `base.mp4`: guitar, trumpet and drums, each for
/// ten seconds.
pub fn base(folder: &Path) {
    let video = "-vf scale=320:-2,fps=25 -c:v libx264 -preset veryfast -crf 32 -g 50";
    let clip = format!("{ROOT}/examples/media/band.mp4");
    ffmpeg(
        folder,
        &format!("-i {clip} {video} -c:a aac -b:a 96k base.mp4"),
    );
}

/// What the command said about an input.
#[derive(Debug, Default)]
pub struct Outcome {
    pub segments: Vec<Value>,
    /// The line about the whole input.
    pub file: Option<Value>,
    pub error: Option<String>,
}

impl Outcome {
    pub fn labels(&self) -> BTreeSet<&str> {
        let labels = self.segments.iter();
        labels.map(|line| line["label"].as_str().unwrap()).collect()
    }

    pub fn notes(&self) -> String {
        let notes = self.file.as_ref().and_then(|file| file["notes"].as_array());
        let notes = notes.into_iter().flatten().filter_map(Value::as_str);
        notes.collect::<Vec<_>>().join("; ")
    }

    pub fn duration(&self) -> f64 {
        let file = self.file.as_ref();
        file.map_or(f64::NAN, |file| file["duration"].as_f64().unwrap())
    }
}

/// The command in the root folder.
pub fn instruments(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instruments"));
    command.args(args).current_dir(ROOT);
    command
}

/// Tags each of `inputs`, in one process, with `args`.
pub fn tag(args: &[&str], inputs: &[String]) -> Vec<Outcome> {
    let mut child = instruments(&["tag", "--follow"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all((inputs.join("\n") + "\n").as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let mut outcomes = vec![Outcome::default()];
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let current = outcomes.last_mut().unwrap();
        if line["type"] == "segment" {
            current.segments.push(line);
            continue;
        }
        match line["error"].as_str() {
            Some(error) => current.error = Some(error.to_owned()),
            None => current.file = Some(line),
        }
        outcomes.push(Outcome::default());
    }
    outcomes.pop();
    assert_eq!(outcomes.len(), inputs.len());
    outcomes
}

/// Tags one input.
pub fn tag_one(args: &[&str], input: &str) -> Outcome {
    tag(args, &[input.to_owned()]).remove(0)
}

/// Serves the files of `folder`. The first part of a path says how: `range` as most servers do, `plain` without Range,
/// `short` breaks off in the middle, `stall` stops there, `silent` never answers, `endless` goes on with zeros, `page`
/// has a page in place of the file, `to-file` redirects to the file itself, and a number is a status.
pub fn serve(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let folder = Arc::new(folder.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let folder = folder.clone();
            // A client that leaves is no fault.
            thread::spawn(move || drop(answer(stream.unwrap(), &folder)));
        }
    });
    host
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut start = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.split('-').next().and_then(|start| start.parse().ok());
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (mode, name) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or_default();
    let file = folder.join(name);
    let mut head = |status: &str, fields: &str| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\n{fields}\r\n"
        )
    };
    if mode.parse::<u32>().is_ok() {
        let phrase = if mode == "404" {
            "Not Found"
        } else {
            "Forbidden"
        };
        return head(&format!("{mode} {phrase}"), "Content-Length: 0\r\n");
    }
    match mode {
        "silent" => {
            thread::sleep(Duration::from_secs(60));
            return Ok(());
        }
        "to-file" => {
            let location = format!(
                "Location: file://{}\r\nContent-Length: 0\r\n",
                file.display()
            );
            return head("302 Found", &location);
        }
        "page" => {
            head("200 OK", "Content-Type: text/html\r\n")?;
            return stream.write_all(b"<html><body>Log in first</body></html>");
        }
        _ => {}
    }
    let data = std::fs::read(file)?;
    let length = |size: usize| format!("Content-Length: {size}\r\n");
    let half = &data[..data.len() / 2];
    match mode {
        "range" => {
            let start: usize = start.unwrap_or(0);
            let last = data.len() - 1;
            let accept = format!("Accept-Ranges: bytes\r\n{}", length(data.len() - start));
            match start {
                0 => head("200 OK", &accept)?,
                _ => head(
                    "206 Partial Content",
                    &format!(
                        "{accept}Content-Range: bytes {start}-{last}/{}\r\n",
                        data.len()
                    ),
                )?,
            }
            stream.write_all(&data[start..])
        }
        "plain" => {
            head("200 OK", &length(data.len()))?;
            stream.write_all(&data)
        }
        "short" => {
            head("200 OK", &length(data.len()))?;
            stream.write_all(half)
        }
        "stall" => {
            head("200 OK", &length(data.len()))?;
            stream.write_all(half)?;
            thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        "endless" => {
            head("200 OK", "")?;
            stream.write_all(&data)?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(60) {
                stream.write_all(&[0; 4096])?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        // Whoever tried TLS or RTSP gets no answer.
        _ => Ok(()),
    }
}
