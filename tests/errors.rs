// SPDX-License-Identifier: MPL-2.0

//! Bad input gives one clear error on the bus, and the pipeline stops; whatever is broken, the plugin can be inspected.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::place::Place;
use common::{folder, launch, ms, root, stop, wait};
use gst::prelude::*;

const VIDEO: &str = "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=48,framerate=1/1 ! frameclassify name=bad";
const AUDIO: &str = "audiotestsrc num-buffers=40 ! melspec ! frameclassify name=bad";
const FUSION: &str = "videotestsrc num-buffers=3 ! avfuse name=bad";

/// The error of the element `bad`, which must be the first on the bus and the only one of our elements.
fn error(description: &str) -> String {
    let pipeline = launch(&format!("{description} ! fakesink"));
    let _ = pipeline.set_state(gst::State::Playing);
    let outcome = wait(&pipeline);
    let bus = pipeline.bus().unwrap();
    let ours = |message: &gst::Message| {
        let element = message
            .src()
            .and_then(|src| src.downcast_ref::<gst::Element>());
        let factory = element.and_then(|element| element.factory());
        factory.is_some_and(|factory| {
            ["melspec", "frameclassify", "avfuse"].contains(&factory.name().as_str())
        })
    };
    // Other streaming threads may speak a little later.
    let next = || bus.timed_pop_filtered(ms(100), &[gst::MessageType::Error]);
    let more: Vec<_> = std::iter::from_fn(next).filter(ours).collect();
    assert!(
        more.is_empty(),
        "{description}: more than one error: {more:?}"
    );
    stop(&pipeline);
    let (source, text) = outcome
        .error
        .unwrap_or_else(|| panic!("{description}: no error"));
    assert_eq!(source, "bad", "{text}");
    text
}

#[track_caller]
fn assert_says(description: &str, parts: &[&str]) {
    let text = error(description);
    for part in parts {
        assert!(
            text.contains(part),
            "{description}: {text}\ndoes not say {part}"
        );
    }
}

#[test]
fn models_that_cannot_be_opened() {
    for (element, model, parts) in [
        (
            VIDEO,
            "nowhere",
            &[
                "`nowhere` was not found",
                "/models/nowhere.onnx",
                "GST_INSTRUMENTS_MODEL_PATH",
            ][..],
        ),
        (VIDEO, "/nowhere/model.onnx", &["/nowhere/model.onnx"]),
        (
            VIDEO,
            "varied precision=fp16 execution-provider=cpu",
            &["`varied` cannot run in fp16 on cpu, there is only fp32, int8"],
        ),
        (VIDEO, "text", &["text.onnx is not an ONNX model"]),
        (VIDEO, "empty", &["empty.onnx"]),
        (AUDIO, "truncated", &["truncated.onnx is truncated"]),
        (
            AUDIO,
            "operator",
            &["ONNX Runtime cannot load", "operator.onnx", "Strum"],
        ),
        (
            AUDIO,
            "no-card",
            &[
                "no-card.onnx does not describe itself",
                "no-card.onnx.modelinfo",
            ],
        ),
        (
            AUDIO,
            "version-2",
            &["version-2.onnx", "instruments.version"],
        ),
        (AUDIO, "bad-modality", &["instruments.modality", "smell"]),
        (VIDEO, "bad-fit", &["instruments.frame.fit", "squeeze"]),
        (FUSION, "nowhere", &["`nowhere` was not found"]),
    ] {
        assert_says(&format!("{element} model={model}"), parts);
    }
}

#[test]
fn cards_that_contradict_the_graph() {
    for (element, model, parts) in [
        (
            AUDIO,
            "other-bands",
            &["other-bands.onnx contradicts its graph", "8", "4"][..],
        ),
        (
            VIDEO,
            "other-modality",
            &["other-modality.onnx contradicts its graph"],
        ),
        (
            FUSION,
            "other-frames",
            &["other-frames.onnx contradicts its graph"],
        ),
        (
            AUDIO,
            "no-embedding",
            &["no-embedding.onnx contradicts its graph", "embedding"],
        ),
    ] {
        assert_says(&format!("{element} model={model}"), parts);
    }
}

#[test]
fn labels_that_do_not_match() {
    let parts = ["4 labels", "3 values", "/labels.onnx"];
    assert_says(&format!("{AUDIO} model=labels"), &parts);
    let parts = ["`hidden-labels`", "[1, 3]", "[1, 4]"];
    assert_says(&format!("{AUDIO} model=hidden-labels"), &parts);
    let file = folder("labels").join("two.txt");
    std::fs::write(&file, "one\ntwo\n").unwrap();
    let file = file.display().to_string();
    let parts = ["2 labels", file.as_str(), "3 values"];
    assert_says(&format!("{VIDEO} model=video labels-file={file}"), &parts);
    let parts = ["/nowhere/labels.txt cannot be read"];
    assert_says(
        &format!("{VIDEO} model=video labels-file=/nowhere/labels.txt"),
        &parts,
    );
}

#[test]
fn models_that_fail_when_they_run() {
    // Silence is negative in dB, of which there is no logarithm.
    let parts = ["the model `nan` gave NaN in its output `tags`"];
    assert_says(&format!("{AUDIO} model=nan"), &parts);
    assert_says(
        &format!("{AUDIO} model=fails"),
        &["the model `fails` failed"],
    );
}

#[test]
fn models_that_do_not_end() {
    let white = VIDEO.replace("videotestsrc", "videotestsrc pattern=white");
    let parts = ["the model `endless` did not finish within 5 s", "`timeout`"];
    assert_says(&format!("{white} model=endless timeout=5000000000"), &parts);
    let parts = ["the model `never` did not finish within 1 s"];
    assert_says(&format!("{VIDEO} model=never timeout=1000000000"), &parts);
    let pictures =
        "videotestsrc num-buffers=3 ! video/x-raw,framerate=1/1 ! frameclassify model=video";
    let fusion = "avfuse name=bad model=fusion-endless stride=1000000000 timeout=1000000000";
    let parts = [
        "the model `fusion-endless` did not finish within 1 s",
        "`timeout`",
    ];
    assert_says(&format!("{pictures} ! {fusion}"), &parts);
}

#[test]
fn sizes_beyond_the_limits() {
    for (element, model, part) in [
        (
            VIDEO,
            "large",
            "60000, 60000, 3] must have 1 to 67108864 values",
        ),
        (
            AUDIO,
            "many-frames",
            "`instruments.frontend.patch-frames` is `68719476736`",
        ),
    ] {
        assert_says(&format!("{element} model={model}"), &[part]);
    }
}

#[test]
fn models_for_something_else() {
    assert_says(
        &format!("{VIDEO} model=audio"),
        &["model audio is not for pictures"],
    );
    assert_says(
        &format!("{FUSION} model=video"),
        &["the model `video`", "use a fusion model"],
    );
    let sound = "audiotestsrc num-buffers=3 ! frameclassify name=bad model=video";
    assert_says(sound, &["model video is not for audio"]);
}

#[test]
fn front_ends_that_contradict_the_model() {
    let description =
        "audiotestsrc num-buffers=40 ! melspec name=bad bands=64 ! frameclassify model=audio";
    assert_says(description, &["bands is 64, the model's is 4"]);
}

#[test]
fn a_front_end_that_cannot_be_computed() {
    let folder = folder("front-end");
    let model = folder.join("model.onnx");
    std::fs::copy(root().join("tests/data/models/audio.onnx"), &model).unwrap();
    for (key, value) in [("hop", "0"), ("fmax", "NaN"), ("rate", "x"), ("tempo", "3")] {
        let text = format!("[instruments]\nfrontend.{key}={value}\n");
        std::fs::write(folder.join("model.onnx.modelinfo"), text).unwrap();
        let parts = ["model.onnx", key, value, "the description of"];
        let parts = if key == "tempo" {
            &["model.onnx", "no parameter \"tempo\""][..]
        } else {
            &parts
        };
        assert_says(&format!("{AUDIO} model={}", model.display()), parts);
    }
}

#[test]
fn embeddings_that_the_fusion_model_was_not_trained_on() {
    let description = "videotestsrc num-buffers=3 ! frameclassify model=video ! avfuse name=bad";
    let parts = ["fusion-yt8m13", "test-video/1", "efficientnet-lite-yt8m13/"];
    assert_says(description, &parts);
}

#[test]
fn an_execution_provider_that_is_not_there() {
    // This runtime is for the CPU.
    let parts = [
        "execution provider `cuda` is not available",
        "onnxruntime-gpu",
    ];
    assert_says(
        &format!("{VIDEO} model=video execution-provider=cuda"),
        &parts,
    );
    let parts = ["execution provider `tensorrt` is not available"];
    assert_says(
        &format!("{FUSION} model=fusion execution-provider=tensorrt"),
        &parts,
    );
}

#[test]
fn onnx_runtime_is_missing() {
    let mut place = Place::new("missing");
    place.runtime = "/nowhere/libonnxruntime.so".into();
    place.models = root().join("models");
    place.assert_inspects();
    place.assert_fails(&[
        "no usable ONNX Runtime was found",
        "/nowhere/libonnxruntime.so",
        "pip install onnxruntime",
    ]);
}

#[test]
fn onnx_runtime_is_too_old() {
    let mut place = Place::new("old");
    place.runtime = place.folder.join("libold.so");
    place.models = root().join("models");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-DVERSION=\"1.16.3\"", "-o"])
        .arg(&place.runtime)
        .arg(root().join("tests/data/fake_runtime.c"))
        .status();
    assert!(compiled.unwrap().success());
    place.assert_inspects();
    place.assert_fails(&["ONNX Runtime 1.16.3", "is too old"]);
}

#[test]
fn onnx_runtime_has_no_interface() {
    let mut place = Place::new("no-interface");
    place.runtime = place.folder.join("libfake.so");
    for (flag, part) in [
        ("-DVERSION=\"1.99.0\"", "ONNX Runtime 1.99.0 does not offer"),
        ("-DVERSION=0", "it is not ONNX Runtime, it has no version"),
    ] {
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", flag, "-o"])
            .arg(&place.runtime)
            .arg(root().join("tests/data/fake_runtime.c"))
            .status();
        assert!(compiled.unwrap().success());
        place.assert_inspects();
        place.assert_fails_with("model=video", &[part, "libfake.so"]);
        let line = "videotestsrc num-buffers=3 ! frameclassify model=video ! fakesink";
        let (_, text) = place.run("gst-launch-1.0", line);
        assert_eq!(text.matches("ERROR: from element").count(), 1, "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn the_default_models_are_missing_or_broken() {
    let mut place = Place::new("models");
    // Beside the plugin there are none either.
    place.models = place.folder.join("models");
    place.assert_inspects();
    place.assert_fails(&["`efficientnet-lite-yt8m13` was not found"]);
    std::fs::create_dir(&place.models).unwrap();
    let data = root().join("tests/data/models");
    let put = |model: &Path| {
        let default = place.models.join("efficientnet-lite-yt8m13.onnx");
        std::fs::copy(model, default).unwrap();
    };
    for (model, part) in [
        ("text", "is not an ONNX model"),
        ("truncated", "is truncated"),
        ("no-card", "does not describe itself"),
        ("other-bands", "contradicts its graph"),
        ("labels", "4 labels"),
    ] {
        put(&data.join(format!("{model}.onnx")));
        place.assert_inspects();
        place.assert_fails(&[part]);
    }
}

/// A place whose ONNX Runtime, which is for the processor, has files beside it that are named like GPU providers.
fn with_providers(name: &str) -> Place {
    let mut place = Place::new(name);
    let runtime = place.folder.join("libonnxruntime.so");
    symlink(place.runtime.canonicalize().unwrap(), &runtime).unwrap();
    place.runtime = runtime;
    for library in ["cuda", "tensorrt"] {
        let library = format!("libonnxruntime_providers_{library}.so");
        std::fs::write(place.folder.join(library), "").unwrap();
    }
    place
}

#[test]
fn a_gpu_without_a_driver_is_said_to_be_so() {
    let place = with_providers("driver");
    // SAFETY: the driver's library may be loaded at any time.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_ok() {
        return;
    }
    for provider in ["cuda", "tensorrt"] {
        let asked = format!("model=video execution-provider={provider}");
        let not_available = format!("`{provider}` is not available");
        place.assert_fails_with(&asked, &[&not_available, "driver is missing (libcuda.so.1"]);
    }
    // `auto` says why in the log and takes the processor.
    let line = "videotestsrc num-buffers=3 ! frameclassify model=video ! fakesink";
    let (output, text) = place.run("gst-launch-1.0", &format!("-m {line}"));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("instrument-tags"), "{text}");
}

#[test]
fn what_a_provider_s_library_lacks_reaches_the_user() {
    let place = with_providers("library");
    let compile = |library: &str, arguments: &[&str]| {
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(place.folder.join(library))
            .args(arguments)
            .status();
        assert!(compiled.unwrap().success());
    };
    let driver = root().join("tests/data/driver.c");
    let driver = driver.to_str().unwrap();
    compile("libcuda.so.1", &["-DRESULT=0", driver]);
    let asked = |provider| format!("model=video execution-provider={provider}");
    place.assert_fails_with(
        &asked("cuda"),
        &[
            "`cuda` is not available",
            "not enabled in this build",
            "onnxruntime-gpu",
        ],
    );
    place.assert_fails_with(
        &format!("{} device=1", asked("cuda")),
        &["`device` is 1, but there are 1 GPU(s)"],
    );
}
