// SPDX-License-Identifier: MPL-2.0

//! `instruments tag --shard` and `instruments merge`, with processes that are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SHARDS: usize = 3;
/// Files of the archive, a third of them broken.
const FILES: usize = 300;
/// Processes that are killed.
const KILLS: usize = 30;
/// The exit code of a shard that should be started again.
const AGAIN: i32 = 75;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instruments"));
    command
        .args(args)
        .current_dir(ROOT)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("archive")
        .join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A sine of so many Hz and seconds, 16 bits at 16 kHz.
fn wav(frequency: f64, seconds: f64) -> Vec<u8> {
    const RATE: u32 = 16_000;
    let count = (seconds * f64::from(RATE)) as u32;
    let sample = |n: u32| {
        ((f64::from(n) / f64::from(RATE) * frequency * std::f64::consts::TAU).sin() * 2e4) as i16
    };
    let samples: Vec<u8> = (0..count).flat_map(|n| sample(n).to_le_bytes()).collect();
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

/// A folder of so many small files, some of them broken, and a list of them.
fn material(folder: &Path, files: usize) -> PathBuf {
    let mut list = String::new();
    for number in 0..files {
        let path = folder.join(format!("{number}.wav"));
        let data = match number % 6 {
            3 => Vec::new(),
            5 => b"These are words, and no music at all.\n".repeat(20),
            _ => wav(
                110.0 + 55.0 * number as f64 % 4000.0,
                0.5 + 0.1 * (number % 24) as f64,
            ),
        };
        std::fs::write(&path, data).unwrap();
        list += &format!("{}\n", path.display());
    }
    // Listed twice, and missing.
    list += &format!("{0}/0.wav\n{0}/missing.wav\n", folder.display());
    let path = folder.join("list.txt");
    std::fs::write(&path, list).unwrap();
    path
}

fn shard(list: &Path, out: &Path, shard: usize, shards: usize) -> Child {
    let part = format!("{shard}/{shards}");
    let options = [
        "tag",
        "--jobs",
        "2",
        "--threshold",
        "0.0001",
        "--allow-failures",
        "--shard",
        &part,
        "--out",
    ];
    let mut command = command(&options);
    command
        .arg(out)
        .arg("-")
        .stdin(std::fs::File::open(list).unwrap());
    command.spawn().unwrap()
}

/// The processes that a shard's threads have started.
fn workers(shard: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{shard}/task"));
    let of = |thread: std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
    };
    let children = threads.into_iter().flatten().flatten().map(of);
    let children = children.collect::<String>();
    children.split_whitespace().map(str::to_owned).collect()
}

/// The merged lines of an archive, without what differs from run to run, and what merge says.
fn merge(out: &Path) -> (i32, Vec<Value>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(&["merge", out.to_str().unwrap()])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let lines = String::from_utf8(stdout).unwrap();
    let lines = lines.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("elapsed");
        line
    });
    (
        status.code().unwrap(),
        lines.collect(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn killed_shards_lose_nothing_and_do_nothing_twice() {
    let folder = scratch("kills");
    let list = material(&folder, FILES);
    let all = format!(
        "{} inputs tagged, {} failed\n",
        FILES * 2 / 3,
        FILES / 3 + 1
    );
    let clean = folder.join("clean");
    assert!(shard(&list, &clean, 0, 1).wait().unwrap().success());
    let (code, expected, said) = merge(&clean);
    assert_eq!((code, said.as_str()), (0, all.as_str()));
    let inputs = expected.iter().filter(|line| line["type"] == "file");
    assert_eq!(inputs.count(), FILES + 1);
    assert!(
        expected.iter().any(|line| line["type"] == "segment"),
        "no segments to compare"
    );

    // What the archive of which this is a sample would cost.
    let merged = format!(
        "{} merge {}",
        env!("CARGO_BIN_EXE_instruments"),
        clean.display()
    );
    let cost =
        format!("{merged} | {ROOT}/examples/archive/cost.py --hours 1000000 --shards 10 100");
    let cost = Command::new("bash").args(["-c", &cost]).output().unwrap();
    let cost = String::from_utf8_lossy(&cost.stdout).into_owned();
    assert!(cost.contains("sample: 200 files"), "{cost}");
    assert!(cost.contains("\n     100      400 "), "{cost}");

    let out = folder.join("killed");
    let mut running: Vec<Option<Child>> = (0..SHARDS)
        .map(|part| Some(shard(&list, &out, part, SHARDS)))
        .collect();
    // Where the kills fall depends on the machine; that they are many does not.
    let (mut kills, mut random) = (0usize, 12345u32);
    while running.iter().any(Option::is_some) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(random >> 22)));
        let part = (random >> 12) as usize % SHARDS;
        for (index, slot) in running.iter_mut().enumerate() {
            let Some(child) = slot else {
                continue;
            };
            if let Some(status) = child.try_wait().unwrap() {
                // Inputs whose processes were killed too often are tagged by the next start.
                assert!(
                    matches!(status.code(), Some(0 | AGAIN)),
                    "shard {index}: {status}"
                );
                *slot = (!status.success()).then(|| shard(&list, &out, index, SHARDS));
            } else if index == part && kills < KILLS {
                kills += 1;
                // SIGKILL, of the shard or of one of its processes.
                if kills % 2 == 0
                    && let Some(worker) = workers(child.id()).first()
                {
                    let killed = Command::new("kill").args(["-9", worker]).status();
                    assert!(killed.is_ok());
                    continue;
                }
                child.kill().unwrap();
                child.wait().unwrap();
                *slot = Some(shard(&list, &out, part, SHARDS));
            }
        }
    }
    assert!(kills > 0, "no process was killed");
    eprintln!("{kills} processes were killed");
    let (code, lines, said) = merge(&out);
    assert_eq!((code, said.as_str()), (0, all.as_str()));
    assert_eq!(lines, expected);
    // Nothing is left over of what was begun.
    let left = Command::new("find")
        .arg(&out)
        .args(["-name", "*.running", "-o", "-name", "*.part"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");

    // A second run finds everything done.
    let again = shard(&list, &out, 1, SHARDS).wait_with_output().unwrap();
    assert!(again.status.success());
    let summary = std::fs::read_to_string(out.join(format!("shards/1-of-{SHARDS}.json"))).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["skipped"], summary["inputs"]);
    // A record that is gone is missing.
    let record = Command::new("find")
        .arg(out.join("records"))
        .args(["-name", "0.wav-*.jsonl"])
        .output()
        .unwrap();
    std::fs::remove_file(String::from_utf8(record.stdout).unwrap().trim()).unwrap();
    let (code, _, said) = merge(&out);
    assert_eq!(code, 1);
    assert!(
        said.contains("1 inputs have no record: file://") && said.contains("/0.wav\n"),
        "{said}"
    );
}

/// Files whose decoder ends the process, among others: they cost nothing but themselves.
#[test]
fn only_what_crashes_fails() {
    let folder = scratch("crash");
    material(&folder, 3);
    for name in ["first", "second"] {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .args([folder.join("0.wav"), folder.join(format!("{name}.flac"))])
            .status()
            .unwrap();
        assert!(made.success());
    }
    let names = ["0.wav", "first.flac", "1.wav", "second.flac", "2.wav"];
    let list: String = names
        .iter()
        .map(|name| format!("{}\n", folder.join(name).display()))
        .collect();
    std::fs::write(folder.join("list.txt"), list).unwrap();
    let examples = Path::new(env!("CARGO_BIN_EXE_instruments"))
        .parent()
        .unwrap()
        .join("examples");
    let out = folder.join("out");
    let run = |elements: Option<&str>, more: &[&str]| {
        let mut command = command(&["tag", "--jobs", "2", "--shard", "0/1", "--out"]);
        command.arg(&out).args(more).arg("-");
        command.stdin(std::fs::File::open(folder.join("list.txt")).unwrap());
        if let Some(elements) = elements {
            command
                .env("STUCK_ELEMENTS", elements)
                .env("GST_PLUGIN_PATH", &examples)
                .env("GST_REGISTRY", folder.join("registry.bin"));
        }
        command.status().unwrap().code()
    };
    assert_eq!(run(Some("abort"), &[]), Some(3));
    let (code, lines, said) = merge(&out);
    assert_eq!((code, said.as_str()), (0, "3 inputs tagged, 2 failed\n"));
    let crashed: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "crashed")
        .map(|line| line["uri"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(crashed, ["first.flac", "second.flac"]);
    // It is final, until the user asks for another attempt.
    assert_eq!(run(None, &["--allow-failures"]), Some(0));
    assert_eq!(merge(&out).2, "3 inputs tagged, 2 failed\n");
    assert_eq!(run(None, &["--retry-failed"]), Some(0));
    assert_eq!(merge(&out).2, "5 inputs tagged, 0 failed\n");
}

/// Storage that is not mounted: no input fails for good.
#[test]
fn inputs_that_cannot_be_reached_are_tagged_later() {
    let folder = scratch("unmounted");
    let media = folder.join("media");
    std::fs::create_dir(&media).unwrap();
    let list = material(&media, 24);
    let away = folder.join("away");
    let list_text = std::fs::read(&list).unwrap();
    std::fs::write(folder.join("list.txt"), list_text).unwrap();
    let list = folder.join("list.txt");
    std::fs::rename(&media, &away).unwrap();
    std::fs::create_dir(&media).unwrap();
    let out = folder.join("out");
    let run = || {
        let mut command = command(&["tag", "--attempts", "1", "--shard", "0/1", "--out"]);
        command.arg(&out).arg("-");
        command.stdin(std::fs::File::open(&list).unwrap());
        command.output().unwrap()
    };
    let stopped = run();
    let said = String::from_utf8(stopped.stderr).unwrap();
    assert_eq!(stopped.status.code(), Some(AGAIN), "{said}");
    assert_eq!(
        said.matches("10 inputs in a row failed").count(),
        1,
        "{said}"
    );
    assert_eq!(merge(&out).0, 1);
    std::fs::remove_dir(&media).unwrap();
    std::fs::rename(&away, &media).unwrap();
    assert_eq!(run().status.code(), Some(3));
    let (code, _, said) = merge(&out);
    assert_eq!((code, said.as_str()), (0, "16 inputs tagged, 9 failed\n"));
}

#[test]
fn object_storage_is_no_folder() {
    let folder = scratch("s3");
    let output = command(&["tag", "--shard", "0/1", "--out", "s3://bucket/out", "a.wav"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: --out s3://bucket/out is not a folder: results are only written to local and mounted folders\n"
    );
    assert_eq!(folder.read_dir().unwrap().count(), 0);
}

/// The command of the Kubernetes example, run as its pods run it.
#[test]
fn the_kubernetes_example_divides_a_list() {
    let folder = scratch("kubernetes");
    let list = material(&folder, 24);
    let example =
        std::fs::read_to_string(format!("{ROOT}/examples/archive/kubernetes.yaml")).unwrap();
    let line = example
        .lines()
        .find_map(|line| line.trim().strip_prefix("- exec "))
        .unwrap();
    let archive = folder.display().to_string();
    let line = line.replace("/archive", &archive);
    let program = Path::new(env!("CARGO_BIN_EXE_instruments"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    assert_eq!(list, folder.join("list.txt"));
    for index in 0..2 {
        let status = Command::new("/bin/sh")
            .args(["-c", &line])
            .env("PATH", &path)
            .env("JOB_COMPLETION_INDEX", index.to_string())
            .env("SHARDS", "2")
            .status()
            .unwrap();
        assert!(status.success(), "{line}");
    }
    let (code, _, said) = merge(&folder.join("results"));
    assert_eq!((code, said.as_str()), (0, "16 inputs tagged, 9 failed\n"));
}

/// A process that answers each line at once, as the Ray example uses it.
#[test]
fn a_process_follows_a_program() {
    use std::io::{BufRead, BufReader, Write};
    let folder = scratch("follow");
    material(&folder, 24);
    let mut child = command(&["tag", "--follow"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    for (name, failed) in [
        ("0.wav", false),
        ("3.wav", true),
        ("missing.wav", true),
        ("1.wav", false),
    ] {
        writeln!(input, "{}", folder.join(name).display()).unwrap();
        let last = loop {
            let line: Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
            if line["type"] == "file" {
                break line;
            }
        };
        assert!(last["uri"].as_str().unwrap().ends_with(name), "{last}");
        assert_eq!(last.get("error").is_some(), failed, "{last}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// The Ray example, of which a worker is killed in the middle. Runs where Ray is there: `python3`, or the Python that
/// `INSTRUMENTS_RAY_PYTHON` names, has `ray[data]` from PyPI.
#[test]
fn ray_workers_that_die_lose_nothing() {
    let python = std::env::var("INSTRUMENTS_RAY_PYTHON").unwrap_or("python3".into());
    let run = |code: &str, arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-c", code]).args(arguments);
        command.output().unwrap()
    };
    if !run("import ray.data, pyarrow", &[]).status.success() {
        eprintln!("skipped: {python} has no ray[data]");
        return;
    }
    let folder = scratch("ray");
    let list = material(&folder, 60);
    let out = folder.join("table");
    let mut example = Command::new(&python)
        .arg(format!("{ROOT}/examples/archive/ray_tag.py"))
        .args([&list, &out])
        .args(["--actors", "2", "--command"])
        .arg(env!("CARGO_BIN_EXE_instruments"))
        .spawn()
        .unwrap();
    let mut kills = 0;
    while kills < 2 && example.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_secs(2));
        let worker = ["-9", "--newest", "-f", "ray::MapWorker"];
        let killed = Command::new("pkill").args(worker).status().unwrap();
        kills += usize::from(killed.success());
    }
    assert!(example.wait().unwrap().success());
    assert!(kills > 0, "no worker was killed");
    let read = "import sys, json, pyarrow.parquet as parquet
print(json.dumps(parquet.read_table(sys.argv[1]).to_pylist()))";
    let rows: Vec<Value> =
        serde_json::from_slice(&run(read, &[out.to_str().unwrap()]).stdout).unwrap();
    assert_eq!(rows.len(), 62);
    let inputs: std::collections::BTreeSet<_> = rows
        .iter()
        .map(|row| row["input"].as_str().unwrap())
        .collect();
    assert_eq!(inputs.len(), 61, "0.wav is listed twice");
    let failed = rows.iter().filter(|row| row["error"] != "").count();
    assert_eq!(failed, 21);
}
