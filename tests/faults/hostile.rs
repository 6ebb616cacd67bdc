// SPDX-License-Identifier: MPL-2.0

//! Damaged models and sidecars: each opens or is one error that names the file.

use std::fs;
use std::path::Path;

use gstinstruments::model::{Model, Options, Provider};

use crate::common::{folder, init, root};

fn data(name: &str) -> Vec<u8> {
    fs::read(root().join("tests/data/models").join(name)).unwrap()
}

/// Opens the model in `file`; an error must name it, in one line. Whether it opened.
#[track_caller]
fn opens(file: &Path, what: &str) -> bool {
    let options = Options {
        provider: Provider::Cpu,
        ..Options::default()
    };
    let Err(error) = Model::open(file.to_str().unwrap(), &options) else {
        return true;
    };
    let text = error.to_string();
    // A model whose card could be read is called by its name.
    let name = text.contains("audio.onnx") || text.contains("the model `");
    assert!(name && !text.trim().contains('\n'), "{what}: {text}");
    false
}

#[test]
fn a_model_with_a_flipped_byte() {
    init();
    let folder = folder("flipped");
    let file = folder.join("audio.onnx");
    let whole = data("audio.onnx");
    let mut opened = 0;
    for at in (0..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x15;
        fs::write(&file, bytes).unwrap();
        opened += usize::from(opens(&file, &format!("byte {at}")));
    }
    // Names and texts may be anything.
    assert!(opened > 0);
}

#[test]
fn a_model_of_every_length_but_its_own() {
    init();
    let folder = folder("cut");
    let file = folder.join("audio.onnx");
    let whole = data("audio.onnx");
    for length in (0..whole.len()).step_by(53) {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(!opens(&file, &format!("{length} bytes")));
    }
}

#[test]
fn a_model_of_noise() {
    init();
    let folder = folder("noise");
    let file = folder.join("audio.onnx");
    let mut state = 1u32;
    for length in [1, 10, 1000, 100_000] {
        let noise: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        fs::write(&file, noise).unwrap();
        assert!(!opens(&file, &format!("{length} bytes of noise")));
    }
}

#[test]
fn a_sidecar_with_a_flipped_byte() {
    init();
    let folder = folder("sidecar");
    let file = folder.join("audio.onnx");
    fs::write(&file, data("third-party.onnx")).unwrap();
    let whole = data("third-party.onnx.modelinfo");
    let sidecar = folder.join("audio.onnx.modelinfo");
    fs::write(&sidecar, &whole).unwrap();
    assert!(opens(&file, "the sidecar as it is"));
    for at in (0..whole.len()).step_by(29) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x95;
        fs::write(&sidecar, bytes).unwrap();
        opens(&file, &format!("byte {at} of the sidecar"));
    }
}
