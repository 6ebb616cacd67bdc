// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime missing, too old, and then found, in one process. Its own file, since a library is loaded for good.

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use gstinstruments::model::{Error, LogLevel, Model, Options, set_log};

static MESSAGES: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_runtime_that_is_missing_or_too_old_is_an_error_until_there_is_a_right_one() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = manifest.join("tests/data/models/audio.onnx");
    let open = || Model::open(model.to_str().unwrap(), &Options::default());
    let dir = env::temp_dir().join(format!("instruments-{}-runtime", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let right = env::var_os("ORT_DYLIB_PATH").expect("set ORT_DYLIB_PATH to run the tests");
    // SAFETY: this file has one test, and no other thread runs yet.
    let set = |value: &Path| unsafe { env::set_var("ORT_DYLIB_PATH", value) };

    set(&dir.join("libonnxruntime.so"));
    let missing = open().unwrap_err();
    assert!(
        matches!(missing, Error::RuntimeMissing { .. }),
        "{missing:?}"
    );
    let message = missing.to_string();
    assert!(
        message.contains("No such file") && message.contains("pip install onnxruntime"),
        "{message}"
    );

    let text = dir.join("text.so");
    fs::write(&text, "not a library").unwrap();
    set(&text);
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("text.so: file too short") || message.contains("invalid ELF header"),
        "{message}"
    );

    let old = dir.join("libold.so");
    let compiler = env::var("CC").unwrap_or("cc".into());
    let source = manifest.join("tests/data/old_runtime.c");
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-o"])
        .args([&old, &source])
        .status();
    assert!(status.unwrap().success());
    set(&old);
    let too_old = Error::RuntimeTooOld {
        path: old,
        version: "1.16.3".into(),
        needed: if cfg!(feature = "gpu") {
            "1.24".into()
        } else {
            "1.21".into()
        },
    };
    assert_eq!(open().unwrap_err(), too_old);

    set(Path::new(&right));
    set_log(
        |_, _| {
            MESSAGES.fetch_add(1, Ordering::Relaxed);
        },
        LogLevel::Verbose,
    );
    let found = open();
    assert!(found.is_ok(), "{found:?}");
    assert!(MESSAGES.load(Ordering::Relaxed) > 0);
    drop(found);
    set(&dir.join("libonnxruntime.so"));
    assert!(open().is_ok(), "a library that is loaded stays");
    fs::remove_dir_all(dir).unwrap();
}
