// SPDX-License-Identifier: MPL-2.0

//! Runs what the documentation tells a user to run, as it is written there, and checks what it quotes.
//!
//! Blocks of language `sh` are run, with `scripts/env`'s environment; `sh hls` too; `sh live`, `sh mqtt`, `sh kafka`
//! and `sh rtsp` also, with a sender, a broker or a client. Blocks of language `console` are only shown:
//! `scripts/setup`, `scripts/demo` and `scripts/test` (which would run these tests again) and installations.
//! `examples/launch/microphone.sh` is not run either: it needs a microphone and never ends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{path}"))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced code blocks of a language in a Markdown file, or in the module comment of a Rust file.
fn blocks(path: &str, language: &str) -> Vec<String> {
    let text = read(path);
    let text: String = if path.ends_with(".rs") {
        let comment = text.lines().filter_map(|line| line.strip_prefix("//!"));
        comment
            .map(|line| format!("{}\n", line.trim_start()))
            .collect()
    } else {
        text
    };
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs a script in the root folder; what displays and plays is replaced by sinks that need no hardware.
fn run(script: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["120", "scripts/env", "bash", "-euo", "pipefail", "-c"]);
    command.arg(script).current_dir(ROOT).env(
        "GST_PLUGIN_FEATURE_RANK",
        "fakevideosink:MAX,fakeaudiosink:MAX",
    );
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(
        status.success(),
        "{status} from\n{script}\n{stdout}\n{stderr}"
    );
    stdout.into_owned()
}

/// Runs all `sh` blocks of a file; a pipeline that prints its messages must print tags.
fn run_blocks(path: &str) {
    let scripts = blocks(path, "sh");
    assert!(!scripts.is_empty(), "{path} has no sh blocks");
    for script in scripts {
        let output = run(&script);
        if script.contains("gst-launch-1.0 -m") {
            assert!(
                output.contains("instrument-tags"),
                "no tags from\n{script}\n{output}"
            );
        }
    }
}

#[test]
fn readme_runs() {
    run_blocks("README.md");
}

#[test]
fn deployment_runs() {
    run_blocks("docs/deployment.md");
}

#[test]
fn element_reference_runs() {
    run_blocks("docs/elements.md");
}

#[test]
fn own_model_guide_runs() {
    run_blocks("docs/your-model.md");
}

#[test]
fn melspec_comment_runs() {
    run_blocks("src/elements/melspec/imp.rs");
}

#[test]
fn frameclassify_comment_runs() {
    run_blocks("src/elements/frameclassify/imp.rs");
}

#[test]
fn avfuse_comment_runs() {
    run_blocks("src/elements/avfuse/imp.rs");
}

#[test]
fn instrumenttagger_comment_runs() {
    run_blocks("src/elements/instrumenttagger/imp.rs");
}

/// Ends a program with what it has started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends the bundled clip to `sink` as a live transport stream.
fn send(sink: &str) -> Running {
    let description = format!(
        "filesrc location=examples/media/band.mp4 ! qtdemux name=d \
         d.video_0 ! queue ! h264parse config-interval=1 ! video/x-h264,stream-format=byte-stream ! mux. \
         d.audio_0 ! queue ! aacparse ! audio/mpeg,stream-format=adts ! mux. \
         mpegtsmux alignment=7 name=mux ! {sink}"
    );
    let sender = Command::new("gst-launch-1.0")
        .arg("--quiet")
        .args(description.split_whitespace())
        .current_dir(ROOT)
        .spawn();
    Running(sender.expect("gst-launch-1.0 starts"))
}

/// The live pipelines do not end: each is stopped after some seconds. Its sender goes and comes again.
#[test]
fn live_guide_runs() {
    let scripts = blocks("docs/live.md", "sh live");
    assert_eq!(scripts.len(), 2);
    for (script, sink) in scripts.iter().zip([
        "udpsink host=127.0.0.1 port=5004",
        "srtsink uri=srt://127.0.0.1:7001?mode=listener",
    ]) {
        let script = script.replace("gst-launch-1.0", "timeout --signal=INT 14 gst-launch-1.0");
        let receiver = Command::new("bash")
            .args(["-c", &script])
            .current_dir(ROOT)
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        for _ in 0..2 {
            std::thread::sleep(Duration::from_secs(1));
            let _sender = send(sink);
            std::thread::sleep(Duration::from_secs(5));
        }
        let output = receiver.wait_with_output().expect("it ends").stdout;
        let output = String::from_utf8_lossy(&output);
        for source in ["fused", "audio", "video"] {
            let result = format!("instrument-tags, source=(string){source}");
            assert!(
                output.matches(&result).count() > 4,
                "few {source} results from\n{script}\n{output}"
            );
        }
    }
}

/// Reception begins two seconds after a key frame; the next one comes when it comes.
#[test]
fn live_guide_runs_with_any_distance_of_key_frames() {
    let script = blocks("docs/live.md", "sh live").remove(0);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("key-frames");
    std::fs::create_dir_all(&folder).unwrap();
    // Pictures between key frames, their file's port, and what is written.
    let cases = [(25, 5014), (100, 5024), (250, 5034)].map(|(distance, port)| {
        let sent = folder.join(format!("{distance}.ts"));
        let encoded = Command::new("ffmpeg")
            .args(
                "-v error -y -i examples/media/band.mp4 -c:v libx264 -preset ultrafast".split(' '),
            )
            .args([
                "-g",
                &distance.to_string(),
                "-sc_threshold",
                "0",
                "-c:a",
                "aac",
            ])
            .arg(&sent)
            .current_dir(ROOT)
            .status()
            .unwrap_or_else(|err| panic!("ffmpeg: {err}; scripts/setup installs it"));
        assert!(encoded.success());
        let bytes = std::fs::read(&sent).unwrap();
        let two_of_thirty = bytes.len() / 188 * 2 / 30 * 188;
        std::fs::write(&sent, &bytes[two_of_thirty..]).unwrap();
        let received = folder.join(format!("{distance}-received.ts"));
        let script = script
            .replace("gst-launch-1.0", "timeout --signal=INT 17 gst-launch-1.0")
            .replace(":5004", &format!(":{port}"))
            .replace(
                "udpsink host=127.0.0.1 port=5005",
                &format!("filesink location={}", received.display()),
            );
        let receiver = Command::new("bash")
            .args(["-c", &script])
            .current_dir(ROOT)
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        std::thread::sleep(Duration::from_secs(1));
        let sender = Command::new("ffmpeg")
            .args("-v quiet -re -i".split(' '))
            .arg(&sent)
            .args("-c copy -copyinkf -f mpegts".split(' '))
            .arg(format!("udp://127.0.0.1:{port}?pkt_size=1316"))
            .spawn();
        (
            distance,
            received,
            receiver,
            Running(sender.expect("ffmpeg starts")),
        )
    });
    for (distance, received, receiver, _sender) in cases {
        let output = receiver.wait_with_output().expect("it ends").stdout;
        let output = String::from_utf8_lossy(&output);
        let results = output
            .matches("instrument-tags, source=(string)fused")
            .count();
        assert!(results > 4, "{distance}: {results} fused results");
        let packets = Command::new("ffprobe")
            .args("-v error -count_packets -show_entries stream=codec_type,nb_read_packets -of csv=p=0".split(' '))
            .arg(received)
            .output()
            .expect("ffprobe starts");
        let packets = String::from_utf8_lossy(&packets.stdout).into_owned();
        for kind in ["video", "audio"] {
            let count = packets
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{kind},")));
            let count = count.and_then(|count| count.trim_end_matches(',').parse::<u32>().ok());
            assert!(
                count > Some(20),
                "{distance}: {count:?} packets of {kind}: {packets}"
            );
        }
    }
}

/// The server's program reads the tags in a probe while a client plays what it serves.
#[test]
fn rtsp_example_runs() {
    let script = blocks("docs/live.md", "sh rtsp").remove(0);
    let server = Command::new("bash")
        .args(["-c", &script])
        .current_dir(ROOT)
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Running(server.expect("bash starts"));
    let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let mut next = || said.next().expect("the server runs").unwrap();
    let location = format!("location={}", next());
    let client = Command::new("gst-launch-1.0")
        .args(["--quiet", "rtspsrc", &location])
        .args(["!", "rtpmp4gdepay", "!", "aacparse", "!", "fakesink"])
        .spawn();
    let _client = Running(client.expect("gst-launch-1.0 starts"));
    let results: Vec<String> = (0..2).map(|_| next()).collect();
    assert!(
        results
            .iter()
            .all(|line| line.starts_with("fused ") && line.contains("s: Guitar")),
        "{results:?}"
    );
}

/// Each result arrives as a message of its own at a subscriber of a real broker.
#[test]
fn mqtt_example_runs() {
    let start = |program: &str, args: &[&str]| {
        let child = Command::new(program)
            .args(args)
            .stdout(Stdio::piped())
            .spawn();
        child.unwrap_or_else(|err| panic!("{program}: {err}; scripts/setup installs it"))
    };
    let _broker = Running(start("/usr/sbin/mosquitto", &["-p", "1884"]));
    let host = ["-h", "127.0.0.1", "-p", "1884", "-t", "instruments"];
    let connected = || {
        let mut ping = Command::new("mosquitto_pub");
        ping.args(host).args(["-m", "ping"]).stderr(Stdio::null());
        ping.status().is_ok_and(|status| status.success())
    };
    while !connected() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let subscriber = start("mosquitto_sub", &[&host[..], &["-W", "8"]].concat());
    std::thread::sleep(Duration::from_secs(1));
    run(&blocks("docs/elements.md", "sh mqtt")[0]);
    let output = subscriber.wait_with_output().expect("it ends").stdout;
    let output = String::from_utf8_lossy(&output);
    let results: Vec<serde_json::Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(results.len() > 20, "{output}");
    assert_eq!(results[5]["tags"][0]["label"], "Guitar");
}

/// Each result arrives as a message at a consumer of librdkafka's mock cluster, which speaks Kafka's protocol.
#[test]
fn kafka_example_runs() {
    let consumer = Command::new("kcat")
        .args([
            "-C",
            "-u",
            "-b",
            "mock",
            "-t",
            "instruments",
            "-o",
            "beginning",
        ])
        .args(["-d", "mock", "-X", "test.mock.num.brokers=1"])
        .args(["-X", "allow.auto.create.topics=true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut consumer = Running(consumer.expect("kcat starts; scripts/setup installs it"));
    let said = BufReader::new(consumer.0.stderr.take().unwrap());
    let mut said = said.lines().map_while(Result::ok);
    let cluster = said.find_map(|line| Some(line.split_once("bootstrap.servers=")?.1.to_owned()));
    let cluster = cluster.expect("kcat starts a mock cluster");
    // kcat would wait for its log to be read.
    std::thread::spawn(move || said.for_each(drop));

    let script = &blocks("docs/elements.md", "sh kafka")[0];
    run(&script.replace("127.0.0.1:9092", cluster.trim()));
    let messages = BufReader::new(consumer.0.stdout.take().unwrap()).lines();
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        messages
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    // The topic has several partitions, whose messages come in any order.
    let mut results: Vec<serde_json::Value> = (0..20)
        .map(|_| {
            received
                .recv_timeout(Duration::from_secs(30))
                .expect("a message")
        })
        .map(|line| serde_json::from_str(&line).expect("JSON"))
        .collect();
    results.sort_by_key(|result| result["sequence"].as_u64());
    assert!(
        results
            .iter()
            .any(|result| result["tags"][0]["label"] == "Guitar"),
        "{results:?}"
    );
}

/// The segments are in the playlist, and the tags in cues.
#[test]
fn hls_example_runs() {
    let scripts = blocks("docs/elements.md", "sh hls");
    run(&scripts[0]);
    assert_eq!(read("target/hls/band.m3u8").matches(".ts").count(), 3);
    let cues = read("target/hls/tags.vtt");
    assert!(
        cues.starts_with("WEBVTT") && cues.matches(" --> ").count() > 20,
        "{cues}"
    );
    assert!(cues.contains("\"label\":\"Guitar\""), "{cues}");
}

#[test]
fn launch_scripts_print_tags() {
    for script in ["examples/launch/listen.sh", "examples/launch/watch.sh"] {
        assert!(
            run(script).contains("instrument-tags"),
            "no tags from {script}"
        );
    }
}

/// The snippets print each result twice, from the bus and from a buffer: both must say the same. What the end of the
/// stream completes has no buffer to ride on and comes on the bus alone.
fn check_snippet(name: &str) {
    let scripts = blocks("README.md", "sh");
    let script = scripts.iter().find(|script| script.contains(name));
    let output = run(script.unwrap_or_else(|| panic!("README.md does not run {name}")));
    let of = |place: &str| -> BTreeSet<&str> {
        output
            .lines()
            .filter_map(|line| line.strip_prefix(place))
            .collect()
    };
    let (bus, buffers) = (of("bus fused "), of("buffer fused "));
    assert!(!buffers.is_empty(), "no tags on buffers:\n{output}");
    assert!(
        buffers.is_subset(&bus),
        "the bus and the buffers differ:\n{output}"
    );
    assert!(
        buffers.iter().any(|line| line.contains("Guitar ")),
        "no guitar:\n{output}"
    );
}

#[test]
fn python_snippet_reads_bus_and_buffers() {
    check_snippet("examples/python/tags.py");
}

#[test]
fn c_snippet_reads_bus_and_buffers() {
    check_snippet("examples/c/tags.c");
}

#[test]
fn readme_quotes_the_examples() {
    for (language, path) in [
        ("python", "examples/python/tags.py"),
        ("c", "examples/c/tags.c"),
    ] {
        let quotes = blocks("README.md", language);
        assert!(!quotes.is_empty(), "README.md quotes nothing of {path}");
        for quote in quotes {
            assert!(read(path).contains(&quote), "not in {path}:\n{quote}");
        }
    }
}

/// The element reference has every property that an element adds to its base class, and no other.
#[test]
fn element_reference_is_complete() {
    let reference = read("docs/elements.md");
    // Another test keeps this file current.
    let cache: serde_json::Value =
        serde_json::from_str(&read("docs/plugins/gst_plugins_cache.json")).unwrap();
    let elements = cache["instruments"]["elements"].as_object().unwrap();
    for (name, element) in elements {
        let own = element["properties"].as_object().unwrap();
        let own: BTreeSet<_> = own.keys().map(String::as_str).collect();
        let section = reference
            .split("\n## ")
            .find(|section| section.starts_with(name.as_str()));
        let rows = section
            .expect(name)
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('|').nth(1));
        // A row may be about several properties.
        let listed: BTreeSet<_> = rows
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        assert_eq!(
            own, listed,
            "properties of {name} and rows of docs/elements.md"
        );
    }
}
