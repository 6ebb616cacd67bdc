// SPDX-License-Identifier: MPL-2.0

//! The models in `models`: each describes itself, fits, loads and runs, and the paper's have the paper's size.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gstinstruments::model::{Card, Input, Modality, Model, Options};
use prost::Message;

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

/// GStreamer's own inference elements find each model's tensors in its sidecar, under the ids of the card.
#[test]
fn sidecars_name_the_tensors() {
    common::init();
    for (name, path) in files() {
        let sidecar = path.with_extension("onnx.modelinfo");
        let text = fs::read_to_string(&sidecar).unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = Model::open(path.to_str().unwrap(), &Options::default()).unwrap();
        let card = model.card();
        let tensor = |tensor: &str, id: &str, direction: &str, kind: &str, dims: &str| {
            let section =
                format!("[{tensor}]\nid={id}\ndir={direction}\ntype={kind}\ndims={dims}\n");
            assert!(text.contains(&section), "{name}: no\n{section}in\n{text}");
        };
        let scores = format!("-1,{}", card.labels.len());
        let scores_id = "classification-generic-softmaxed-out";
        tensor("tags", scores_id, "output", "float32", &scores);
        if let Some(space) = &card.embedding {
            let dims = format!("-1,{}", space.size);
            tensor("embedding", &space.id, "output", "float32", &dims);
        }
        match &card.modality {
            Modality::Video { width, height, .. } => {
                let dims = format!("-1,{height},{width},3\nranges=0.0,255.0");
                tensor("frame", "frame", "input", "uint8", &dims);
            }
            Modality::Audio {
                front_end,
                min_frames,
            } => {
                let (bands, frames) = (front_end.bands, &front_end.patch_frames);
                let frames = if min_frames < frames {
                    "-1".into()
                } else {
                    frames.to_string()
                };
                tensor(
                    "mel",
                    "mel",
                    "input",
                    "float32",
                    &format!("-1,1,{bands},{frames}"),
                );
            }
            Modality::Fusion {
                video,
                audio,
                frames,
            } => {
                let frames = frames.map_or("-1".into(), |frames| frames.to_string());
                let dims = format!("-1,{frames},{}", video.size);
                tensor("video", &video.id, "input", "float32", &dims);
                let dims = format!("-1,{}", audio.size);
                tensor("audio", &audio.id, "input", "float32", &dims);
            }
        }
    }
}

/// An input as it might come.
fn example(card: &Card) -> Input {
    let wave = |count: usize| (0..count).map(|index| (index as f32 * 0.37).sin());
    match &card.modality {
        Modality::Audio { front_end, .. } => Input::Mel(
            wave(front_end.bands * front_end.patch_frames)
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

/// The values in all initialisers.
fn parameters(model: &[u8]) -> i64 {
    let model = ModelProto::decode(model).expect("an ONNX model");
    let tensors = model.graph.expect("it has a graph").initializer;
    // A weight stored in 8 bits has a scale a channel besides.
    tensors
        .iter()
        .filter(|tensor| !tensor.name.ends_with(".scale"))
        .map(|tensor| tensor.dims.iter().product::<i64>())
        .sum()
}

/// What is read of ONNX's `ModelProto`, `GraphProto` and `TensorProto`.
#[derive(prost::Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(prost::Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(prost::Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
}
