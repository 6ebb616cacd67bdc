// SPDX-License-Identifier: MPL-2.0

//! The models in `models`: each describes itself, fits, loads and runs, and the paper's have the paper's size.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gstinstruments::model::{Card, Input, Modality, Model, Options};

const LABELS: [&str; 13] = [
    "Guitar",
    "Piano",
    "Drums",
    "Violin",
    "Accordion",
    "Saxophone",
    "Flute",
    "Organ",
    "Cello",
    "Trumpet",
    "Clarinet",
    "Harmonica",
    "Banjo",
];

/// Some of the labels of the models for AudioSet's instruments.
const WIDE: [&str; 6] = [
    "Ukulele",
    "Mandolin",
    "Harp",
    "Trombone",
    "Double bass",
    "Bagpipes",
];

/// The paper's networks and their parameters in millions.
const PAPER: [(&str, f64); 4] = [
    ("han-yt8m13", 1.5),
    ("choi-yt8m13", 2.4),
    ("xception-yt8m13", 9.6),
    ("inception-yt8m13", 21.8),
];

/// The files, by name without `.onnx`.
fn files() -> BTreeMap<String, PathBuf> {
    let folder = common::root().join("models");
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = paths.filter_map(|path| {
        let name = path
            .file_name()?
            .to_str()?
            .strip_suffix(".onnx")?
            .to_owned();
        Some((name, path))
    });
    named.collect()
}

/// A file's model, without what the name says of its precision.
fn model_name(file: &str) -> &str {
    file.split('.').next().unwrap()
}

#[test]
fn the_files_fit() {
    let megabytes = |path: &PathBuf| path.metadata().unwrap().len() as f64 / 1e6;
    let files = files();
    for (name, path) in &files {
        assert!(megabytes(path) <= 45.0, "{name}: {} MB", megabytes(path));
    }
    let all: f64 = files.values().map(megabytes).sum();
    assert!(all <= 150.0, "{all} MB in all");
}

#[test]
fn the_papers_networks_have_the_papers_number_of_parameters() {
    // Their int8 variants hold a scale for each filter besides.
    let files = files();
    for (name, millions) in PAPER {
        let parameters = parameters(&fs::read(&files[name]).unwrap()) as f64 / 1e6;
        // As the paper rounds them; batch norms, folded here, are another thousand.
        assert!(
            (parameters - millions).abs() <= 0.051,
            "{name}: {parameters} million"
        );
    }
}

#[test]
fn every_model_describes_itself_and_runs() {
    common::init();
    let mut cards = BTreeMap::<String, Card>::new();
    for (name, path) in files() {
        let model = Model::open(path.to_str().unwrap(), &Options::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let card = model.card();
        assert_eq!(card.name, model_name(&name), "{name}");
        if card.name.ends_with("audioset") {
            for label in WIDE {
                assert!(
                    card.labels.iter().any(|own| own == label),
                    "{name} lacks {label}"
                );
            }
        } else {
            assert_eq!(*card.labels, LABELS.map(String::from), "{name}");
        }
        for (key, text) in [
            ("licence", &card.licence),
            ("provenance", &card.provenance),
            ("metrics", &card.metrics),
        ] {
            assert!(
                !text.is_empty() && !text.contains('\n'),
                "{name}: its {key} is `{text}`"
            );
        }
        let output = model
            .run(example(card))
            .unwrap_or_else(|error| panic!("{error}"));
        let mut scores = output.tags;
        card.activation.apply(&mut scores);
        assert!(
            scores.iter().all(|score| (0.0..=1.0001).contains(score)),
            "{name}: {scores:?}"
        );
        // The files of one name are interchangeable.
        let first = cards
            .entry(card.name.clone())
            .or_insert_with(|| card.clone());
        assert_eq!(
            (&first.modality, &first.embedding),
            (&card.modality, &card.embedding),
            "{name}"
        );
    }
    let spaces: Vec<_> = cards
        .values()
        .filter_map(|card| card.embedding.clone())
        .collect();
    for card in cards.values() {
        if let Modality::Fusion { video, audio, .. } = &card.modality {
            for space in [video, audio] {
                assert!(
                    spaces.contains(space),
                    "{}: no model has embeddings {space:?}",
                    card.name
                );
            }
        } else {
            assert!(card.embedding.is_some(), "{} has no embedding", card.name);
        }
    }
}

/// An input as it might come.
fn example(card: &Card) -> Input {
    let wave = |count: usize| (0..count).map(|index| (index as f32 * 0.37).sin());
    match &card.modality {
        Modality::Audio { bands, frames, .. } => Input::Mel(
            wave(bands * frames)
                .map(|value| 20.0 * value - 40.0)
                .collect(),
        ),
        &Modality::Video { width, height, .. } => {
            let bytes =
                wave((width * height * 3) as usize).map(|value| (127.0 + 127.0 * value) as u8);
            Input::Frame(bytes.collect())
        }
        Modality::Fusion {
            video,
            audio,
            frames,
        } => Input::Fusion {
            video: wave(video.size * frames.unwrap_or(3))
                .map(f32::abs)
                .collect(),
            audio: wave(audio.size).map(f32::abs).collect(),
            present: [1.0, 1.0],
        },
    }
}

/// The values in all initialisers: `ModelProto.graph` (7), `GraphProto.initializer` (5), `TensorProto.dims` (1).
fn parameters(model: &[u8]) -> u64 {
    let graphs = fields(model, 7);
    let tensors = graphs.into_iter().flat_map(|graph| fields(graph, 5));
    tensors
        .map(|tensor| dims(tensor).into_iter().product::<u64>())
        .sum()
}

/// What the fields of that number hold, of those with a length.
fn fields(mut message: &[u8], number: u64) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !message.is_empty() {
        if let (field, Value::Bytes(bytes)) = field(&mut message)
            && field == number
        {
            found.push(bytes);
        }
    }
    found
}

/// A tensor's shape, packed or not.
fn dims(mut tensor: &[u8]) -> Vec<u64> {
    let mut dims = Vec::new();
    while !tensor.is_empty() {
        match field(&mut tensor) {
            (1, Value::Number(length)) => dims.push(length),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    dims.push(varint(&mut packed));
                }
            }
            _ => (),
        }
    }
    dims
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes the first field off a protobuf message: its number and its value.
fn field<'a>(message: &mut &'a [u8]) -> (u64, Value<'a>) {
    let tag = varint(message);
    let length = match tag & 7 {
        0 => return (tag >> 3, Value::Number(varint(message))),
        1 => 8,
        2 => varint(message),
        5 => 4,
        wire => panic!("wire type {wire}"),
    };
    let (bytes, rest) = message.split_at(length as usize);
    *message = rest;
    (tag >> 3, Value::Bytes(bytes))
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("more bytes");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
