// SPDX-License-Identifier: MPL-2.0
//! Models opened and run through ONNX Runtime (found by ORT_DYLIB_PATH). tests/data/models/make.py describes them.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use gstinstruments::{
    fusion::{Fusion, Source, Span, Window},
    mel::{Partial, Patch, PatchOptions, Patcher, Segmentation},
    model::{
        Activation, Client, Error, Fit, Input, Modality, Model, Options, Output, Provider, Space,
        Stats,
    },
};

fn path(name: &str) -> String {
    format!(
        "{}/tests/data/models/{name}.onnx",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn open(name: &str) -> Arc<Model> {
    open_with(name, &Options::default())
}

/// Options that no other test shares a model with.
fn alone(device: u32) -> Options {
    Options {
        device,
        batch_size: 8,
        ..Options::default()
    }
}

fn open_with(name: &str, options: &Options) -> Arc<Model> {
    Model::open(&path(name), options).unwrap_or_else(|error| panic!("{error}"))
}

fn error(name: &str) -> Error {
    Model::open(&path(name), &Options::default()).unwrap_err()
}

/// An empty directory for one test.
fn directory(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("instruments-{}-{test}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A patch of 4 bands by 8 frames, each band of one value.
fn mel(bands: [f32; 4]) -> Input {
    Input::Mel(bands.into_iter().flat_map(|value| [value; 8]).collect())
}

fn fusion_input(video: &[[f32; 3]], audio: [f32; 4], present: [f32; 2]) -> Input {
    Input::Fusion {
        video: video.concat(),
        audio: audio.to_vec(),
        present,
    }
}

/// Runs the inputs so that they all wait at once: they are submitted from the reply to another one.
fn run_waiting(model: &Arc<Model>, first: Input, inputs: Vec<Input>) -> Vec<Result<Output, Error>> {
    let (sender, receiver) = mpsc::channel();
    let again = model.clone();
    model.submit(first, move |result| {
        result.unwrap();
        for (index, input) in inputs.into_iter().enumerate() {
            let sender = sender.clone();
            again.submit(input, move |result| sender.send((index, result)).unwrap());
        }
    });
    let mut results: Vec<_> = receiver.iter().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn an_audio_model_gives_tags_and_embedding() {
    let options = Options {
        provider: Provider::Cpu,
        ..Options::default()
    };
    let model = open_with("audio", &options);
    let card = model.card();
    assert_eq!(card.name, "audio");
    assert_eq!(*card.labels, ["Guitar", "Piano", "Drums"].map(String::from));
    assert_eq!(card.activation, Activation::None);
    let space = Space {
        id: "test-audio/1".into(),
        size: 4,
    };
    assert_eq!(card.embedding, Some(space));
    assert_eq!(card.licence, "CC0-1.0");
    let Modality::Audio {
        front_end,
        min_frames: 8,
    } = &card.modality
    else {
        panic!("{:?}", card.modality);
    };
    assert_eq!((front_end.bands, front_end.patch_frames), (4, 8));
    assert_eq!(front_end.top_db, Some(80.0));
    assert_eq!(model.active_provider(), "cpu (fp32)");

    let output = model.run(mel([1.0, -2.0, 3.0, 0.5])).unwrap();
    assert_eq!(output.tags, [2.0, -4.0, 6.0]);
    assert_eq!(
        output.embedding.as_deref(),
        Some(&[1.0, -2.0, 3.0, 0.5][..])
    );
}

#[test]
fn a_video_model_gives_tags_and_embedding() {
    let model = open("video");
    let expected = Modality::Video {
        width: 8,
        height: 6,
        fit: Fit::Crop,
        crop_fraction: 0.875,
    };
    assert_eq!(model.card().modality, expected);
    let output = model.run(Input::Frame([255, 51, 0].repeat(48))).unwrap();
    assert_eq!(output.tags, [1.0, 0.2, 0.0]);
    assert_eq!(output.embedding.as_deref(), Some(&[1.0, 0.2, 0.0][..]));
}

#[test]
fn a_fusion_model_takes_any_number_of_pictures_and_either_modality() {
    let model = open("fusion");
    assert_eq!(model.card().embedding, None);
    let pictures = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 2.0, 5.0]];
    let audio = [10.0, 20.0, 30.0, 0.0];
    let run = |pictures: &[[f32; 3]], present| {
        model
            .run(fusion_input(pictures, audio, present))
            .unwrap()
            .tags
    };
    assert_eq!(run(&pictures, [1.0, 1.0]), [12.0, 22.0, 33.0]);
    assert_eq!(run(&pictures[..1], [1.0, 0.0]), [1.0, 2.0, 3.0]);
    assert_eq!(run(&pictures[..2], [0.0, 1.0]), [10.0, 20.0, 30.0]);
}

#[test]
fn fusion_gives_what_is_missing_as_zeros_and_spreads_pictures_over_a_fixed_number() {
    let row = |values: &[f32]| -> Arc<[f32]> { values.into() };
    let window = |video: &[Arc<[f32]>], audio| Window {
        span: Span { start: 0, end: 1 },
        media: 1.0,
        video: video.to_vec(),
        audio,
    };
    let rows: Vec<_> = (1..=4).map(|i| row(&[i as f32; 3])).collect();
    let sound = Some(row(&[10.0, 20.0, 30.0, 40.0]));

    let any = Fusion::new(open("fusion")).unwrap();
    assert_eq!(
        any.run(&window(&rows[..2], sound.clone()), 20).unwrap(),
        [11.5, 21.5, 31.5]
    );
    assert_eq!(
        any.run(&window(&[], sound), 20).unwrap(),
        [10.0, 20.0, 30.0]
    );
    assert_eq!(any.run(&window(&rows[2..3], None), 20).unwrap(), [3.0; 3]);
    // The second and the fourth.
    assert_eq!(any.run(&window(&rows, None), 2).unwrap(), [3.0; 3]);

    let two = Fusion::new(open("fusion-two")).unwrap();
    assert_eq!(two.run(&window(&rows[..1], None), 20).unwrap(), [11.0; 3]);
    assert_eq!(two.run(&window(&rows, None), 20).unwrap(), [2.0 + 40.0; 3]);

    assert_eq!(any.check(Source::Video, "test-video/1", 3), Ok(()));
    let message = any
        .check(Source::Audio, "other/2", 4)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("audio embeddings `test-audio/1 (4 values)`, not `other/2 (4 values)`"),
        "{message}"
    );
    let wrong = any
        .run(&window(&[row(&[1.0; 5])], None), 20)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("`test-video/1` embeddings of 3 values, not of 5 values"),
        "{wrong}"
    );
    let wrong = Fusion::new(open("video")).unwrap_err().to_string();
    assert!(
        wrong.contains("`video` takes pictures, not embeddings"),
        "{wrong}"
    );
}

#[test]
fn a_sidecar_describes_a_model_of_third_parties() {
    let model = open("third-party");
    assert_eq!(model.card().activation, Activation::Softmax);
    assert_eq!(model.card().embedding, None);
    let mut tags = model.run(mel([1.0, 1.0, 0.0, 9.0])).unwrap().tags;
    assert_eq!(tags, [2.0, 2.0, 0.0]);
    model.card().activation.apply(&mut tags);
    // e² / (2 e² + 1) and 1 / (2 e² + 1).
    assert!(
        (tags[0] - 0.468_31).abs() < 1e-5 && (tags[2] - 0.063_38).abs() < 1e-5,
        "{tags:?}"
    );
}

#[test]
fn a_sidecar_overrides_the_models_own_card() {
    let dir = directory("sidecar");
    let file = dir.join("audio.onnx");
    fs::copy(path("audio"), &file).unwrap();
    let sidecar = dir.join("audio.onnx.modelinfo");
    fs::write(&sidecar, "[instruments]\nactivation=sigmoid\n").unwrap();
    let model = Model::open(file.to_str().unwrap(), &Options::default()).unwrap();
    assert_eq!(model.card().activation, Activation::Sigmoid);
    assert_eq!(model.card().name, "audio");
    fs::write(&sidecar, "[modelinfo]\nversion=2.0\n").unwrap();
    let message = Model::open(file.to_str().unwrap(), &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("version `2.0`") && message.contains("audio.onnx.modelinfo"),
        "{message}"
    );
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn pictures_and_patches_reach_a_third_partys_graph_as_it_takes_them() {
    // Every value is another one.
    let picture = || Input::Frame((0..6 * 8 * 3).collect());
    let patch = || Input::Mel((0..4 * 8).map(|value| value as f32).collect());
    for (own, others, input) in [
        (
            "video",
            "third-party-picture",
            &picture as &dyn Fn() -> Input,
        ),
        ("audio", "third-party-mel", &patch),
    ] {
        let own = open(own).run(input()).unwrap();
        let model = open_with(others, &alone(9));
        let results = run_waiting(&model, input(), vec![input(), input()]);
        assert_eq!(model.stats().batches[1], 1, "{others}: no batch of two");
        for result in results {
            let result = result.unwrap();
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
            assert!(
                result.tags.iter().zip(&own.tags).all(close),
                "{result:?} {own:?}"
            );
            if let (Some(a), Some(b)) = (&result.embedding, &own.embedding) {
                assert!(a.iter().zip(&b[..]).all(close), "{result:?} {own:?}");
            }
        }
    }
}

#[test]
fn a_labels_file_replaces_the_labels() {
    let dir = directory("labels");
    let file = dir.join("labels.txt");
    let options = Options {
        labels_file: Some(file.clone()),
        ..Options::default()
    };
    fs::write(&file, "Gitarre\r\nKlavier\r\nSchlagzeug\r\n\r\n").unwrap();
    let model = open_with("audio", &options);
    assert_eq!(
        *model.card().labels,
        ["Gitarre", "Klavier", "Schlagzeug"].map(String::from)
    );
    drop(model);
    fs::write(&file, "Gitarre\n").unwrap();
    let message = Model::open(&path("audio"), &options)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("1 labels in") && message.contains("labels.txt"),
        "{message}"
    );
    fs::remove_dir_all(dir).unwrap();
    let message = Model::open(&path("audio"), &options)
        .unwrap_err()
        .to_string();
    assert!(message.contains("labels.txt cannot be read"), "{message}");
}

#[test]
fn every_bad_model_is_one_sentence_that_names_it() {
    type Case<'a> = (&'a str, fn(&Error) -> bool, &'a str);
    let cases: &[Case] = &[
        (
            "missing",
            |e| matches!(e, Error::ModelNotFound { .. }),
            "was not found, not at",
        ),
        (
            "text",
            |e| matches!(e, Error::NotOnnx { .. }),
            "is not an ONNX model",
        ),
        (
            "empty",
            |e| matches!(e, Error::NotOnnx { .. }),
            "it is empty",
        ),
        (
            "truncated",
            |e| matches!(e, Error::Truncated { expected, actual: 665, .. } if *expected > 665),
            "has 665 of at least",
        ),
        ("operator", |e| matches!(e, Error::Load { .. }), "Strum"),
        (
            "no-card",
            |e| matches!(e, Error::CardMissing { .. }),
            "no-card.onnx.modelinfo",
        ),
        (
            "version-2",
            |e| matches!(e, Error::Card { .. }),
            "`instruments.version` is `2`",
        ),
        (
            "no-modality",
            |e| matches!(e, Error::Card { .. }),
            "`instruments.modality` is missing",
        ),
        (
            "bad-modality",
            |e| matches!(e, Error::Card { .. }),
            "`smell`; use one of audio, video, fusion",
        ),
        (
            "bad-bands",
            |e| matches!(e, Error::Card { .. }),
            "`instruments.frontend.bands` is `four`, but must be a whole number, 0 or above",
        ),
        (
            "bad-fit",
            |e| matches!(e, Error::Card { .. }),
            "`squeeze`; use one of stretch, crop",
        ),
        (
            "no-ranges",
            |e| matches!(e, Error::Card { .. }),
            "its input `x` float32 [any, 3, 6, 8] takes floats, but nothing says which",
        ),
        (
            "bad-ranges",
            |e| matches!(e, Error::Card { .. }),
            "the ranges of its input `x` are `0.0,1.0;0.0,1.0`; give min,max",
        ),
        (
            "bad-tensor",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "its sidecar describes a tensor `input_1`, but its inputs are `x`",
        ),
        (
            "other-bands",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "the input `mel` float32 [any, 1, 8, 8], the first axis any or 1, but the graph has `mel` float32 [any, 1, 4, 8]",
        ),
        (
            "other-modality",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "uint8 [any, any, any, 3], the first axis any or 1, but the graph has `mel` float32 [any, 1, 4, 8]",
        ),
        (
            "other-frames",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "`instruments.fusion.frames` is any, but its input `video` float32 [any, 2, 3] takes 2",
        ),
        (
            "fixed-length",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "it takes patches of 2 to 8 frames, but its input `mel` float32 [any, 1, 4, 8] takes 8",
        ),
        (
            "short-maximum",
            |e| matches!(e, Error::Card { .. }),
            "`instruments.mel.min-frames` is `9`; use a whole number from 1 to 8",
        ),
        (
            "many-frames",
            |e| matches!(e, Error::Card { .. }),
            "`instruments.frontend.patch-frames` is `68719476736`, but must be 1 to 1048576 with this number of bands",
        ),
        (
            "large",
            |e| matches!(e, Error::Card { .. }),
            "its input `frame` uint8 [any, 60000, 60000, 3] must have 1 to 67108864 values",
        ),
        (
            "no-embedding",
            |e| matches!(e, Error::CardContradictsGraph { .. }),
            "`instruments.embedding` is test-audio/1, but it has no output `embedding`, only `tags`",
        ),
        (
            "labels",
            |e| {
                matches!(
                    e,
                    Error::Labels {
                        labels: 4,
                        tags: 3,
                        ..
                    }
                )
            },
            "4 labels in `instruments.labels`",
        ),
        (
            "hidden-labels",
            |e| matches!(e, Error::Run { .. }),
            "is of shape [1, 3] where its description calls for [1, 4]",
        ),
    ];
    for (name, kind, text) in cases {
        let error = error(name);
        let message = error.to_string();
        assert!(kind(&error), "{name}: {error:?}");
        assert!(message.contains(text), "{name}: {message}");
        assert!(message.contains(name), "{name}: {message}");
        assert!(!message.contains('\n'), "{name}: {message}");
    }
}

/// What is wrong with the front end's numbers, or a patch of it: each number in turn zero, negative, huge, tiny, no
/// number. A card that opens must describe what can be computed.
#[test]
fn a_card_with_a_front_end_that_cannot_be_computed_is_refused() {
    let dir = directory("front-ends");
    let model = dir.join("model.onnx");
    fs::copy(path("audio"), &model).unwrap();
    let sidecar = dir.join("model.onnx.modelinfo");
    let keys = [
        "rate",
        "fft-size",
        "window-size",
        "hop",
        "bands",
        "fmin",
        "fmax",
        "power",
        "reference",
        "amin",
        "offset",
        "scale",
        "top-db",
        "patch-frames",
    ];
    let never = [
        "-1", "-0.5", "-1e308", "NaN", "inf", "-inf", "x", "", "1e999",
    ];
    let sometimes = [
        "0",
        "-0",
        "1e-320",
        "1e308",
        "4294967295",
        "4294967296",
        "18446744073709551616",
    ];
    let (mut refused, mut computed) = (0, 0);
    for key in keys {
        for value in never.into_iter().chain(sometimes) {
            let text = format!("[instruments]\nfrontend.{key}={value}\n");
            fs::write(&sidecar, text).unwrap();
            match Model::open(model.to_str().unwrap(), &Options::default()) {
                Err(error) => {
                    assert!(matches!(error, Error::Card { .. }), "{error:?}");
                    let message = error.to_string();
                    let says = format!("`instruments.frontend.{key}` is `{value}`, but must ");
                    assert!(message.contains(&says), "{message}\ndoes not say {says}");
                    assert!(message.len() < 500 && !message.contains('\n'), "{message}");
                    refused += 1;
                }
                Ok(model) => {
                    assert!(!never.contains(&value), "{key}={value}");
                    let zero_has_a_meaning = ["fmin", "offset"].contains(&key);
                    assert!(value != "0" || zero_has_a_meaning, "{key}={value}");
                    assert_computes(&model, &format!("{key}={value}"));
                    computed += 1;
                }
            }
        }
    }
    assert_eq!(refused + computed, keys.len() * 16);
    assert!(computed > 10, "{computed}");
    fs::remove_dir_all(dir).unwrap();
}

/// Asserts that the front end of the model's card makes patches of finite values of silence and of a tone.
fn assert_computes(model: &Model, name: &str) {
    let Modality::Audio { front_end, .. } = &model.card().modality else {
        panic!("an audio model");
    };
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Zero,
        interval: 1.0,
        content: None,
        total: None,
    };
    for loudness in [0.0, 0.5] {
        let mut patcher = Patcher::new(front_end, 8000, options.clone()).unwrap();
        let tone: Vec<f32> = (0..8000)
            .map(|n| loudness * (n as f32 * 0.3).sin())
            .collect();
        let mut patches = 0;
        let mut check = |patch: Patch| {
            patches += 1;
            let values = front_end.bands * front_end.patch_frames;
            assert_eq!(patch.data.len(), values, "{name}");
            let finite = patch.data.iter().all(|value| value.is_finite());
            assert!(finite, "{name}: {:?}", patch.data);
        };
        patcher.push(&tone, &mut check);
        patcher.finish(&mut check);
        assert!(patches > 0, "{name}");
    }
}

#[test]
fn other_numbers_of_a_card_that_mean_nothing_are_refused() {
    let dir = directory("numbers");
    for (name, key) in [
        ("any-length", "mel.min-frames"),
        ("video", "frame.crop-fraction"),
        ("fusion-two", "fusion.frames"),
    ] {
        let model = dir.join(format!("{name}.onnx"));
        fs::copy(path(name), &model).unwrap();
        for value in [
            "0",
            "-1",
            "NaN",
            "inf",
            "1e308",
            "18446744073709551616",
            "x",
            "",
        ] {
            let text = format!("[instruments]\n{key}={value}\n");
            fs::write(dir.join(format!("{name}.onnx.modelinfo")), text).unwrap();
            let error = Model::open(model.to_str().unwrap(), &Options::default()).unwrap_err();
            let message = error.to_string();
            let says = format!("`instruments.{key}` is ");
            assert!(matches!(error, Error::Card { .. }), "{error:?}");
            assert!(message.contains(&says), "{value}: {message}");
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_wrong_input_is_an_error_that_says_what_is_right() {
    let message = |model: &str, input| open(model).run(input).unwrap_err().to_string();
    assert_eq!(
        message("audio", Input::Mel([0.0; 31].into())),
        "the model `audio` takes a mel patch of 4 bands by 8 frames, not a mel patch of 31 values"
    );
    assert_eq!(
        message("video", mel([0.0; 4])),
        "the model `video` takes an RGB picture of 8 by 6 pixels, not a mel patch of 32 values"
    );
    let no_picture = fusion_input(&[], [0.0; 4], [0.0; 2]);
    assert!(message("fusion", no_picture).contains("not picture embeddings of 0 values"));
    let three = fusion_input(&[[0.0; 3]; 3], [0.0; 4], [1.0; 2]);
    assert!(message("fusion-two", three).contains("takes 2 picture embedding(s) of 3 values"));
}

#[test]
fn waiting_inputs_run_as_batches_of_equal_shape_and_come_back_in_order() {
    let model = open_with("audio", &alone(1));
    let inputs = (0..10).map(|i| mel([i as f32, 0.0, 1.0, 0.0])).collect();
    let results = run_waiting(&model, mel([0.0; 4]), inputs);
    for (i, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap().tags, [2.0 * i as f32, 0.0, 2.0]);
    }
    assert_eq!(model.stats().batches, [1, 1, 0, 0, 0, 0, 0, 1]);

    let model = open_with("fusion", &alone(1));
    let pictures =
        |count: usize| fusion_input(&vec![[count as f32; 3]; count], [0.0; 4], [1.0, 0.0]);
    let inputs = [1, 2, 1, 2, 1].map(pictures).to_vec();
    let results = run_waiting(&model, pictures(1), inputs);
    let tags: Vec<f32> = results
        .into_iter()
        .map(|result| result.unwrap().tags[0])
        .collect();
    assert_eq!(tags, [1.0, 2.0, 1.0, 2.0, 1.0]);
    assert_eq!(model.stats().batches, [1, 1, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_model_of_fixed_batch_and_a_batch_size_of_one_run_one_by_one() {
    let one = Options {
        batch_size: 1,
        ..alone(2)
    };
    for (name, options) in [("audio-single", &alone(2)), ("audio", &one)] {
        let model = open_with(name, options);
        let inputs = (0..5).map(|i| mel([i as f32; 4])).collect();
        let results = run_waiting(&model, mel([0.0; 4]), inputs);
        assert_eq!(results[4].as_ref().unwrap().tags, [8.0; 3]);
        let stats = model.stats();
        assert_eq!((stats.batches[0], stats.inferences), (6, 6));
    }
}

#[test]
fn one_bad_item_does_not_spoil_its_batch() {
    let model = open_with("nan", &alone(3));
    let bad = mel([1.0, -1.0, 1.0, 1.0]);
    let zero = mel([1.0, 1.0, 0.0, 1.0]);
    let short = Input::Mel([1.0; 5].into());
    let results = run_waiting(
        &model,
        mel([1.0; 4]),
        vec![mel([1.0; 4]), bad, short, mel([1.0; 4]), zero],
    );
    assert_eq!(results[0].as_ref().unwrap().tags, [0.0; 3]);
    assert_eq!(results[3].as_ref().unwrap().tags, [0.0; 3]);
    assert!(
        matches!(results[2], Err(Error::WrongInput { .. })),
        "{results:?}"
    );
    let message = |index: usize| results[index].as_ref().unwrap_err().to_string();
    assert!(
        message(1).contains("`nan` gave NaN in its output `tags` (element 1)"),
        "{}",
        message(1)
    );
    assert!(
        message(4).contains("-inf in its output `tags` (element 2)"),
        "{}",
        message(4)
    );
    let stats = model.stats();
    assert_eq!((stats.inferences, stats.failures), (3, 3));
    assert_eq!(stats.batches, [1, 0, 0, 1, 0, 0, 0, 0]);
    assert!(stats.p99_latency >= stats.mean_latency && stats.mean_latency > Duration::ZERO);
}

#[test]
fn a_batch_that_fails_is_an_error_for_each_and_the_model_goes_on() {
    let model = open_with("fails", &alone(4));
    let results = run_waiting(&model, mel([0.0; 4]), vec![mel([0.0; 4]), mel([5.0; 4])]);
    for result in results {
        let message = result.unwrap_err().to_string();
        assert!(
            message.starts_with("the model `fails` failed:"),
            "{message}"
        );
    }
    assert_eq!(model.run(mel([0.0; 4])).unwrap().tags, [1.0, 2.0, 3.0]);
}

#[test]
fn a_panic_in_a_reply_leaves_the_model_to_the_others() {
    let model = open_with("audio", &alone(5));
    model.submit(mel([0.0; 4]), |_| panic!("on purpose, in a test"));
    assert_eq!(model.run(mel([1.0; 4])).unwrap().tags, [2.0; 3]);
}

#[test]
fn equal_options_share_a_model_and_the_last_handle_closes_it() {
    let options = alone(6);
    let models: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| open_with("audio", &options)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
    assert!(!Arc::ptr_eq(&models[0], &open_with("audio", &alone(7))));
    let last = Arc::downgrade(&models[0]);

    let (sender, receiver) = mpsc::channel();
    for _ in 0..20 {
        let sender = sender.clone();
        models[0].submit(mel([0.0; 4]), move |result| sender.send(result).unwrap());
    }
    drop(models);
    assert!(last.upgrade().is_none());
    let done = |result: &Result<Output, Error>| {
        result.is_ok() || matches!(result, Err(Error::Cancelled { .. }))
    };
    assert_eq!(receiver.try_iter().filter(done).count(), 20);
}

#[test]
fn the_last_handle_may_be_dropped_on_the_models_own_thread() {
    let (sender, receiver) = mpsc::channel();
    let model = open_with("audio", &alone(8));
    let (own, release) = (model.clone(), mpsc::sync_channel::<()>(0));
    model.submit(mel([0.0; 4]), move |_| {
        release.1.recv().unwrap();
        drop(own);
        sender.send(()).unwrap();
    });
    drop(model);
    release.0.send(()).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(()));
}

#[test]
fn a_replaced_file_is_another_model() {
    let dir = directory("replaced");
    let file = dir.join("model.onnx");
    let open = || Model::open(file.to_str().unwrap(), &Options::default()).unwrap();
    fs::copy(path("audio"), &file).unwrap();
    let old = open();
    fs::copy(path("video"), &file).unwrap();
    let new = open();
    assert!(matches!(old.card().modality, Modality::Audio { .. }));
    assert!(matches!(new.card().modality, Modality::Video { .. }));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_asked_for_gpu_is_used_or_named_as_missing() {
    for (provider, library, package) in [
        (
            Provider::Cuda,
            "libonnxruntime_providers_cuda.so",
            "onnxruntime-gpu",
        ),
        (
            Provider::TensorRt,
            "libonnxruntime_providers_tensorrt.so",
            "onnxruntime-gpu",
        ),
    ] {
        let options = Options {
            provider,
            ..Options::default()
        };
        match Model::open(&path("audio"), &options) {
            Ok(model) => assert!(model.active_provider().starts_with(provider.as_str())),
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains(&format!("`{}` is not available", provider.as_str())),
                    "{message}"
                );
                assert!(
                    message.contains(library) && message.contains(package),
                    "{message}"
                );
            }
        }
    }
}

/// A picture on which the model `endless` does not end.
fn white() -> Input {
    Input::Frame(vec![255; 6 * 8 * 3])
}

fn black() -> Input {
    Input::Frame(vec![0; 6 * 8 * 3])
}

/// [`alone`] with a time limit in milliseconds.
fn limited(device: u32, milliseconds: u64) -> Options {
    Options {
        timeout: Duration::from_millis(milliseconds),
        ..alone(device)
    }
}

/// Panics when `wait` takes longer than the second within which everything that is cancelled ends.
#[track_caller]
fn soon<T>(wait: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = wait();
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    result
}

#[test]
fn a_run_without_end_ends_when_its_client_cancels_and_the_model_goes_on() {
    let model = open_with("endless", &alone(20));
    let client = Arc::new(Client::new(model.clone()));
    let (sender, results) = mpsc::channel();
    for input in [white(), black()] {
        let sender = sender.clone();
        client.submit(input, move |result| sender.send(result).unwrap());
    }
    let waiting = client.clone();
    let run = thread::spawn(move || waiting.run(white()));
    // Nothing tells from outside that the run has begun; most often it has by now.
    thread::sleep(Duration::from_millis(100));
    let cancelled = Err(Error::Cancelled {
        model: "endless".into(),
    });
    soon(|| client.cancel());
    for _ in 0..2 {
        assert_eq!(results.try_recv(), Ok(cancelled.clone()));
    }
    assert_eq!(soon(|| run.join().unwrap()), cancelled);
    assert_eq!(soon(|| client.run(black())), cancelled, "until resumed");
    client.resume();
    assert_eq!(soon(|| client.run(black())).unwrap().tags, [0.0; 3]);
    assert_eq!(model.stats().inferences, 1);
}

#[test]
fn of_newest_requests_one_runs_and_the_newest_waits() {
    let one = Options {
        batch_size: 1,
        ..alone(27)
    };
    let model = open_with("endless", &one);
    let [ours, theirs] = [(); 2].map(|()| Client::new(model.clone()));
    let (sender, results) = mpsc::channel();
    let submit = |client: &Client, number: u32| {
        let sender = sender.clone();
        client.submit_newest(white(), move |result| {
            sender.send((number, result.unwrap_err())).unwrap();
        });
    };
    submit(&ours, 0);
    submit(&ours, 1);
    submit(&theirs, 10);
    submit(&ours, 2);
    submit(&ours, 3);
    let superseded = Error::Superseded {
        model: "endless".into(),
    };
    for number in [1, 2] {
        assert_eq!(results.try_recv(), Ok((number, superseded.clone())));
    }
    assert!(results.try_recv().is_err(), "the others wait");
    let cancelled = Error::Cancelled {
        model: "endless".into(),
    };
    soon(|| ours.cancel());
    for number in [0, 3] {
        assert_eq!(results.try_recv(), Ok((number, cancelled.clone())));
    }
    soon(|| theirs.cancel());
    assert_eq!(results.try_recv(), Ok((10, cancelled)));
    // None of them was an inference or a failure.
    assert_eq!((model.stats().inferences, model.stats().failures), (0, 0));
}

#[test]
fn a_cancelled_batch_goes_on_for_whoever_else_is_in_it() {
    let model = open_with("endless", &alone(21));
    let [first, ours, theirs] = [(); 3].map(|()| Client::new(model.clone()));
    let (sender, results) = mpsc::channel();
    for (name, client) in [("first", &first), ("ours", &ours), ("theirs", &theirs)] {
        let sender = sender.clone();
        client.submit(white(), move |result| {
            sender.send((name, result.unwrap_err())).unwrap();
        });
    }
    let cancelled = |name| {
        let model = "endless".into();
        Ok((name, Error::Cancelled { model }))
    };
    // What waited behind the first is now one batch, if it was not the first's own.
    first.cancel();
    assert_eq!(results.try_recv(), cancelled("first"));
    ours.cancel();
    assert_eq!(results.try_recv(), cancelled("ours"));
    // A run that had been ended would be an error of theirs.
    let nothing = results.recv_timeout(Duration::from_millis(300));
    assert_eq!(nothing, Err(mpsc::RecvTimeoutError::Timeout));
    theirs.cancel();
    assert_eq!(results.try_recv(), cancelled("theirs"));
    assert_eq!(soon(|| model.run(black())).unwrap().tags, [0.0; 3]);
}

#[test]
fn clients_are_counted_apart() {
    let model = open_with("audio", &alone(26));
    let [ours, theirs] = [(); 2].map(|()| Arc::new(Client::new(model.clone())));
    let (sender, results) = mpsc::channel();
    let (one, other) = (ours.clone(), theirs.clone());
    // From a reply, so that all wait at once.
    model.submit(mel([0.0; 4]), move |_| {
        for client in [&one, &one, &other] {
            let sender = sender.clone();
            client.submit(mel([1.0; 4]), move |result| sender.send(result).unwrap());
        }
        one.submit(Input::Mel([0.0; 5].into()), move |result| {
            sender.send(result).unwrap();
        });
    });
    assert_eq!(results.iter().filter(Result::is_ok).count(), 3);
    let counts = |stats: Stats| {
        (
            stats.inferences,
            stats.failures,
            stats.batches[..3].to_vec(),
        )
    };
    assert_eq!(counts(ours.stats()), (2, 1, vec![0, 0, 1]));
    assert_eq!(counts(theirs.stats()), (1, 0, vec![0, 0, 1]));
    assert_eq!(counts(model.stats()), (4, 1, vec![1, 0, 1]));
}

#[test]
fn a_run_has_a_time_limit() {
    // Loading ONNX Runtime counts too.
    drop(open("endless"));
    let one = Options {
        batch_size: 1,
        ..limited(22, 2000)
    };
    let model = open_with("endless", &one);
    let [late, behind] = [white(), black()].map(|input| {
        let (sender, result) = mpsc::channel();
        model.submit(input, move |output| sender.send(output).unwrap());
        result
    });
    let error = Error::TimedOut {
        model: "endless".into(),
        limit: Duration::from_secs(2),
    };
    assert_eq!(soon(|| late.recv().unwrap()), Err(error.clone()));
    // What waited behind it has lost nothing.
    let behind = soon(|| behind.recv().unwrap());
    assert_eq!(behind.unwrap().tags, [0.0; 3]);
    assert_eq!(model.stats().failures, 1);
    let message = error.to_string();
    assert!(
        message.contains("`endless` did not finish within 2 s") && message.contains("`timeout`"),
        "{message}"
    );
}

#[test]
fn opening_has_a_time_limit_for_everybody_who_waits() {
    let options = limited(23, 1000);
    let open = || Model::open(&path("never"), &options).unwrap_err();
    let errors = soon(|| {
        thread::scope(|scope| {
            let threads = [0, 1].map(|_| scope.spawn(open));
            threads.map(|thread| thread.join().unwrap())
        })
    });
    for error in errors {
        assert!(
            matches!(&error, Error::TimedOut { model, .. } if model.contains("never")),
            "{error:?}"
        );
    }
}

#[test]
fn the_last_handle_ends_a_run_without_end() {
    let model = open_with("endless", &alone(24));
    let last = Arc::downgrade(&model);
    let (sender, receiver) = mpsc::channel();
    model.submit(white(), move |result| sender.send(result).unwrap());
    thread::sleep(Duration::from_millis(100));
    soon(|| drop(model));
    assert!(last.upgrade().is_none());
    assert!(matches!(receiver.recv(), Ok(Err(Error::Cancelled { .. }))));
    assert!(
        receiver.recv().is_err(),
        "the thread has dropped its requests"
    );
}

#[test]
fn a_dropped_client_cancels() {
    let model = open_with("endless", &alone(25));
    let client = Client::new(model.clone());
    let (sender, receiver) = mpsc::channel();
    client.submit(white(), move |result| sender.send(result).unwrap());
    soon(|| drop(client));
    assert!(matches!(
        receiver.try_recv(),
        Ok(Err(Error::Cancelled { .. }))
    ));
    assert_eq!(soon(|| model.run(black())).unwrap().tags, [0.0; 3]);
}

#[test]
fn a_model_may_take_patches_of_any_length_in_a_range() {
    let model = open_with("any-length", &alone(30));
    let Modality::Audio {
        front_end,
        min_frames,
    } = &model.card().modality
    else {
        panic!("{:?}", model.card().modality);
    };
    assert_eq!((*min_frames, front_end.patch_frames), (2, 8));
    let patch = |frames: usize| {
        let bands = [1.0, -2.0, 3.0, 0.5].map(|value| vec![value; frames]);
        Input::Mel(bands.concat().into())
    };
    // Of six that wait, those of one length are one batch.
    let lengths = [3, 8, 3, 2, 8, 3].map(patch).to_vec();
    for result in run_waiting(&model, patch(5), lengths) {
        assert_eq!(result.unwrap().tags, [2.0, -4.0, 6.0]);
    }
    assert_eq!(model.stats().batches[..3], [2, 1, 1]);
    for (frames, actual) in [(1, 4), (9, 36)] {
        let message = model.run(patch(frames)).unwrap_err().to_string();
        let wanted = "takes a mel patch of 4 bands by 2 to 8 frames";
        assert!(
            message.contains(wanted) && message.ends_with(&format!("of {actual} values")),
            "{message}"
        );
    }
    let ragged = Input::Mel([0.0; 13].into());
    assert!(matches!(model.run(ragged), Err(Error::WrongInput { .. })));
}

#[test]
fn options_have_limits() {
    let error = |options: Options| {
        Model::open(&path("audio"), &options)
            .unwrap_err()
            .to_string()
    };
    let batch_size = Options {
        batch_size: u32::MAX as usize,
        ..Options::default()
    };
    assert_eq!(
        error(batch_size),
        "`batch-size` is 4294967295; use at most 1024"
    );
    let threads = Options {
        threads: u32::MAX,
        ..Options::default()
    };
    assert_eq!(error(threads), "`threads` is 4294967295; use at most 1024");
}

#[test]
fn files_that_are_not_regular_or_too_large_are_not_read() {
    let dir = directory("files");
    let fifo = dir.join("fifo.onnx");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let (large, sidecar) = (dir.join("large.txt"), dir.join("audio.onnx.modelinfo"));
    let mut file = fs::File::create(&large).unwrap();
    file.write_all(&b"label\n".repeat(200_000)).unwrap();
    let audio = dir.join("audio.onnx");
    fs::copy(path("audio"), &audio).unwrap();
    let error = |model: &Path, labels: Option<&Path>| {
        let options = Options {
            labels_file: labels.map(Path::to_owned),
            ..Options::default()
        };
        let model = model.to_str().unwrap();
        soon(|| Model::open(model, &options).unwrap_err().to_string())
    };
    let not_regular = |path: &Path| {
        format!(
            "{} cannot be read: it is not a regular file; check the path and its permissions",
            path.display()
        )
    };
    assert_eq!(error(&fifo, None), not_regular(&fifo));
    assert_eq!(error(&dir, None), not_regular(&dir));
    for labels in [Path::new("/dev/zero"), &fifo] {
        assert_eq!(error(&audio, Some(labels)), not_regular(labels));
    }
    let message = error(&audio, Some(&large));
    assert!(message.contains("it is larger than 1 MB"), "{message}");
    fs::rename(&fifo, &sidecar).unwrap();
    assert_eq!(error(&audio, None), not_regular(&sidecar));
    fs::remove_file(&sidecar).unwrap();
    symlink("/dev/zero", &sidecar).unwrap();
    assert_eq!(error(&audio, None), not_regular(&sidecar));
    fs::remove_dir_all(dir).unwrap();
}
