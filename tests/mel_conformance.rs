// SPDX-License-Identifier: MPL-2.0

//! Front ends against librosa, on music; `tests/data/mel/make.py` made the golden data.

use std::path::Path;

use gstinstruments::mel::{FrontEnd, Partial, Patch, PatchOptions, Patcher, Preset, Segmentation};

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/mel")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The samples of a WAV file with one channel of S16 and a 44 byte header.
fn music(rate: u32) -> Vec<f32> {
    let samples = &read(&format!("music-{rate}.wav"))[44..];
    let samples = samples.as_chunks().0.iter();
    samples
        .map(|&sample| f32::from(i16::from_le_bytes(sample)) / 32768.0)
        .collect()
}

fn patches(front_end: &FrontEnd, samples: &[f32]) -> Vec<Patch> {
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Drop,
        interval: front_end.patch_duration(),
        content: None,
        total: None,
    };
    let mut patches = Vec::new();
    let mut patcher = Patcher::new(front_end, front_end.rate, options).unwrap();
    patcher.push(samples, &mut |patch| patches.push(patch));
    patcher.finish(&mut |patch| patches.push(patch));
    patches
}

/// Asserts that patches one after the other differ from librosa's by at most `tolerance` anywhere.
fn assert_conforms(front_end: &FrontEnd, golden: &str, tolerance: f32) {
    let expected = read(golden);
    let expected: Vec<f32> = expected
        .as_chunks()
        .0
        .iter()
        .map(|&x| f32::from_le_bytes(x))
        .collect();
    let patches = patches(front_end, &music(front_end.rate));
    let values: Vec<f32> = patches
        .iter()
        .flat_map(|patch| patch.data.iter())
        .copied()
        .collect();
    assert_eq!(values.len(), expected.len());
    let difference = values
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    println!(
        "{golden}: {} patches with {}, largest difference {difference:e}",
        patches.len(),
        gstinstruments::mel::instruction_set()
    );
    assert!(difference <= tolerance, "{golden} differs by {difference}");
}

/// The training reads its front ends from the same file.
#[test]
fn presets_are_those_of_the_training() {
    let text = include_str!("../src/mel/presets.json");
    let presets: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let names: Vec<_> = Preset::ALL.iter().map(|(_, name)| *name).collect();
    let mut listed: Vec<_> = presets.keys().collect();
    listed.sort_by_key(|name| names.iter().position(|known| known == name));
    assert_eq!(listed, names);
    for &(preset, name) in Preset::ALL {
        let fields = presets[name].as_object().unwrap().iter();
        let fields: Vec<_> = fields
            .map(|(key, value)| match value {
                serde_json::Value::Null => (key.as_str(), "none".to_owned()),
                serde_json::Value::String(text) => (key.as_str(), text.clone()),
                value => (key.as_str(), value.to_string()),
            })
            .collect();
        let fields = fields.iter().map(|(key, value)| (*key, value.as_str()));
        assert_eq!(
            FrontEnd::from_fields(fields),
            Ok(FrontEnd::preset(preset)),
            "{name}"
        );
    }
}

#[test]
fn choi_conforms_to_librosa() {
    // All of the music in one patch: 5 s are 235 centred frames.
    let front_end = FrontEnd {
        patch_frames: 235,
        ..FrontEnd::preset(Preset::Choi)
    };
    assert_conforms(&front_end, "choi.f32", 0.01);
}

#[test]
fn han_conforms_to_librosa() {
    assert_conforms(&FrontEnd::preset(Preset::Han), "han.f32", 0.01);
}

#[test]
fn yamnet_conforms_to_librosa() {
    assert_conforms(&FrontEnd::preset(Preset::Yamnet), "yamnet.f32", 0.001);
}

#[test]
fn musicnn_conforms_to_librosa() {
    assert_conforms(&FrontEnd::preset(Preset::Musicnn), "musicnn.f32", 0.001);
}

#[test]
fn ced_conforms_to_librosa() {
    // Each patch is a signal of its own, of 99 hops, mirrored around its ends.
    let front_end = FrontEnd {
        patch_frames: 100,
        ..FrontEnd::preset(Preset::Ced)
    };
    assert_conforms(&front_end, "ced.f32", 0.01);
}

/// The same for what a machine with less than this one has, each in a process of its own.
#[test]
fn every_instruction_set_conforms() {
    for (limit, expected) in [("portable", "Portable"), ("avx2", "Avx2")] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["conforms_to_librosa", "--nocapture"])
            .env("GST_INSTRUMENTS_SIMD", limit)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{limit}: {text}");
        assert!(text.contains("5 passed"), "{limit}: {text}");
        let used = format!("with {expected}");
        assert!(text.contains(&used) || !avx2(), "{limit}: {text}");
    }
}

fn avx2() -> bool {
    cfg!(target_arch = "x86_64") && gstinstruments::mel::instruction_set() != "Portable"
}
