// SPDX-License-Identifier: MPL-2.0

//! The command asks for no network and writes nothing but what it was asked for; as `tests/telemetry.rs` of the plugin.

#[path = "../../tests/common/trace.rs"]
mod trace;

use std::path::Path;
use std::process::Command;

use trace::trace;

const COMMAND: &str = env!("CARGO_BIN_EXE_instruments");

/// Two seconds of a square wave in the sound file that a test needs.
fn wav() -> Vec<u8> {
    const RATE: u32 = 16_000;
    let data: Vec<u8> = (0..2 * RATE)
        .flat_map(|n| (if n / 20 % 2 == 0 { 8000i16 } else { -8000 }).to_le_bytes())
        .collect();
    let size = data.len() as u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + size).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(RATE.to_le_bytes());
    wav.extend((2 * RATE).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(size.to_le_bytes());
    wav.extend(data);
    wav
}

#[test]
fn tagging_a_file_asks_for_no_network_and_writes_nothing_else() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("telemetry");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tone.wav"), wav()).unwrap();
    let prepare = |command: &mut Command| {
        command
            .args(["tag", "--json", "tone.wav"])
            .env("GST_REGISTRY", folder.join("registry.bin"));
    };
    // GStreamer looks at all of the system's plugins once.
    let mut first = Command::new(COMMAND);
    prepare(&mut first);
    assert!(
        first
            .current_dir(&folder)
            .output()
            .unwrap()
            .status
            .success()
    );

    let trace = trace(&folder, COMMAND, prepare);
    assert!(trace.output.status.success(), "{trace:?}");
    let text = String::from_utf8_lossy(&trace.output.stdout);
    assert!(text.contains("tone.wav"), "{text}");
    let none: [&str; 0] = [];
    assert_eq!(trace.sockets(), none);
    assert_eq!(trace.writes(), none);
    assert_eq!(trace.calls_with(|call| call.contains("/.ses\"")), none);
}
