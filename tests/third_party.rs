// SPDX-License-Identifier: MPL-2.0

//! Models made elsewhere through whole pipelines, as docs/your-model.md tells; tests/data/third_party/make.py says
//! where they and the expected numbers are from.

mod common;

use std::fs;

use common::{Bench, buffer, folder, launch, ms, play, root};
use gstinstruments::meta::Tags;

const SOUND: &str = "audiotestsrc num-buffers=200 samplesperbuffer=1024 ! melspec";

fn path(name: &str) -> String {
    format!("{}/tests/data/third_party/{name}", root().display())
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn guide() -> String {
    fs::read_to_string(root().join("docs/your-model.md")).unwrap()
}

/// The scores in the order of the labels.
fn scores(tags: &Tags, labels: &[&str]) -> Vec<f32> {
    let score = |label: &&str| {
        tags.scores
            .iter()
            .find(|(name, _)| name == label)
            .unwrap()
            .1
    };
    labels.iter().map(score).collect()
}

#[track_caller]
fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    let largest = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    let largest = largest.fold(0.0, f32::max);
    assert!(largest <= tolerance, "{largest}: {ours:?}, not {theirs:?}");
}

/// The original computes its mel spectrogram in 16 bits, hence the tolerance.
#[test]
fn musicnn_says_what_its_own_package_says() {
    let (model, labels_file) = (path("musicnn.onnx"), path("musicnn.txt"));
    let outcome = play(&launch(&format!(
        "filesrc location={}/tests/data/mel/music-16000.wav ! wavparse
            ! melspec patch-interval=992000000 partial=drop
            ! frameclassify name=f model={model} labels-file={labels_file} threshold=0 max-tags=0 ! fakesink",
        root().display()
    )));
    let labels = read("musicnn.txt");
    let labels: Vec<&str> = labels.lines().collect();
    assert_eq!(labels.len(), 50);
    let rows = read("musicnn.csv");
    let rows = rows.lines().map(|row| -> Vec<f32> {
        let values = row.split(',').map(str::parse);
        values.collect::<Result<_, _>>().unwrap()
    });
    let (rows, windows) = (rows.collect::<Vec<_>>(), outcome.windows("f"));
    assert_eq!(windows.len(), rows.len());
    for (window, row) in windows.iter().zip(&rows) {
        assert_eq!(window.model, "musicnn");
        assert_close(&scores(window, &labels), row, 2e-4);
    }
}

#[test]
fn a_picture_model_says_what_numpy_says() {
    let logits: Vec<f32> = read("colours.txt")
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let softmax = |logits: &[f32]| -> Vec<f32> {
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    };
    // Of the size that the model takes: scaling rounds.
    let own = folder("labels").join("labels.txt");
    fs::write(&own, "rot\ngrün\nblau\ngrau\n").unwrap();
    let replaced = format!("labels-file={}", own.display());
    for (property, labels) in [
        ("", ["Red", "Green", "Blue", "Grey"]),
        (&replaced, ["rot", "grün", "blau", "grau"]),
    ] {
        let model = path("colours.onnx");
        let description = format!("frameclassify model={model} {property} threshold=0 max-tags=0");
        let caps = "video/x-raw,format=RGB,width=8,height=6,framerate=1/1";
        let picture = buffer([204, 153, 102].repeat(8 * 6), ms(0), ms(1000));
        let tags = Tags::from_buffer(&Bench::new(&description, caps).pass(picture));
        assert_close(&scores(&tags[0], &labels), &softmax(&logits), 1e-6);
    }
}

#[test]
fn patches_are_as_short_as_asked_where_the_model_takes_them() {
    // 8 kHz and a hop of 128: 62.5 frames a second, of which the model takes 2 to 8.
    let sound = "audiotestsrc num-buffers=40 samplesperbuffer=256 ! audio/x-raw,rate=8000";
    for (property, milliseconds) in [
        ("", 128),
        ("patch-duration=64000000", 64),
        ("patch-frames=3", 48),
        // The shortest that there is, filled up.
        ("patch-duration=16000000 partial=repeat", 16),
    ] {
        let outcome = play(&launch(&format!(
            "{sound} ! melspec patch-interval=128000000 {property} ! frameclassify name=f model=any-length ! fakesink"
        )));
        assert!(outcome.error.is_none(), "{property}: {outcome:?}");
        let windows = outcome.windows("f");
        assert!(windows.len() >= 8, "{property}: {windows:?}");
        assert_eq!(windows[2].duration, Some(ms(milliseconds)), "{property}");
    }
    let outcome = play(&launch(&format!(
        "{sound} ! melspec patch-frames=9 ! frameclassify model=any-length ! fakesink"
    )));
    let text = outcome.error_text();
    assert!(
        text.contains("patch-frames is 9, the model's is 8"),
        "{text}"
    );
}

/// What the guide quotes of each mistake.
#[test]
fn mistakes_read_as_the_guide_says() {
    let folder = folder("mistakes");
    let guide = guide();
    let quoted: Vec<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .collect();
    let sidecar = read("musicnn.onnx.modelinfo");
    let labels = path("musicnn.txt");
    let with = |from: &str, to: &str| {
        assert!(sidecar.contains(from));
        sidecar.replace(from, to)
    };
    let mistakes = [
        None,
        Some(with("[logits]", "[probabilities]")),
        Some(with("frontend.bands=96", "frontend.bands=128")),
        Some(with("activation=sigmoid", "activation=logistic")),
        Some(with("modality=audio\n", "")),
        Some(with("frontend.top-db=none\n", "")),
    ];
    let mut said = Vec::new();
    for (number, sidecar) in mistakes.into_iter().enumerate() {
        // Each its own file: models that are open are shared by their path.
        let model = folder.join(format!("{number}")).join("musicnn.onnx");
        fs::create_dir_all(model.parent().unwrap()).unwrap();
        fs::copy(path("musicnn.onnx"), &model).unwrap();
        if let Some(sidecar) = sidecar {
            fs::write(model.with_extension("onnx.modelinfo"), sidecar).unwrap();
        }
        said.push((
            format!(
                "{SOUND} ! frameclassify model={} labels-file={labels}",
                model.display()
            ),
            model,
        ));
    }
    let model = path("musicnn.onnx");
    let short = folder.join("musicnn.txt");
    fs::write(&short, "guitar\nclassical\n").unwrap();
    said.push((
        format!(
            "{SOUND} ! frameclassify model={model} labels-file={}",
            short.display()
        ),
        short.clone(),
    ));
    said.push((
        format!("{SOUND} ! frameclassify model={model}"),
        model.clone().into(),
    ));
    assert_eq!(quoted.len(), said.len(), "quotes in docs/your-model.md");
    for ((description, file), quote) in said.iter().zip(quoted) {
        let outcome = play(&launch(&format!("{description} ! fakesink")));
        let text = outcome.error_text();
        let directory = format!("{}/", file.parent().unwrap().display());
        let text = text.replace(&directory, "").replace(&path(""), "");
        assert!(
            text.contains(quote),
            "{description}\n{text}\nis not\n{quote}"
        );
    }
}

#[test]
fn the_guide_quotes_the_files() {
    let guide = guide();
    for name in ["musicnn.onnx.modelinfo", "colours.onnx.modelinfo"] {
        let block = format!("```ini\n{}```", read(name));
        assert!(
            guide.contains(&block),
            "docs/your-model.md does not quote {name}"
        );
    }
}
