// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime missing, too old, something else, and then found, in one process. Its own file, since a library is loaded for good.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use gstinstruments::model::{Error, LogLevel, Model, Options, set_log};

static MESSAGES: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_runtime_that_cannot_be_used_is_an_error_until_there_is_a_right_one() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = manifest.join("tests/data/models/audio.onnx");
    let open = || Model::open(model.to_str().unwrap(), &Options::default());
    let dir = env::temp_dir().join(format!("instruments-{}-runtime", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let dir = dir.canonicalize().unwrap();
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

    let needed = if cfg!(feature = "gpu") {
        "1.24"
    } else {
        "1.21"
    };
    let compile = |name: &str, flags: &[&str]| {
        let library = dir.join(name);
        let compiler = env::var("CC").unwrap_or("cc".into());
        let status = Command::new(compiler)
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .args(flags)
            .arg(manifest.join("tests/data/fake_runtime.c"))
            .status();
        assert!(status.unwrap().success());
        library
    };
    for version in ["1.16.3", "0.5.0", "1.20.99"] {
        let old = compile("libold.so", &[&format!("-DVERSION=\"{version}\"")]);
        set(&old);
        let too_old = Error::RuntimeTooOld {
            path: old,
            version: version.into(),
            needed: needed.into(),
        };
        assert_eq!(open().unwrap_err(), too_old);
    }
    // Each has an error of its own; none is kept, or the right one below could not be loaded.
    for (flags, cause) in [
        (
            &["-DVERSION=\"1.99.0\""][..],
            "ONNX Runtime 1.99.0 does not offer version",
        ),
        (
            &["-DVERSION=\"2.24.0\""],
            "ONNX Runtime 2.24.0 does not offer version",
        ),
        (&["-DVERSION=\"nightly\""], "its version is no number"),
        (&["-DVERSION=\"1\""], "its version is no number"),
        (&["-DVERSION=\"\""], "its version is no number"),
        (&["-DVERSION=0"], "it has no version"),
        (&["-DVERSION=0", "-DNOTHING"], "OrtGetApiBase gives nothing"),
        (
            &["-DVERSION=0", "-DOrtGetApiBase=other"],
            "it is not ONNX Runtime, which exports OrtGetApiBase",
        ),
    ] {
        let library = compile("libfake.so", flags);
        set(&library);
        let error = open().unwrap_err();
        assert!(matches!(error, Error::RuntimeMissing { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(cause), "{message}");
        let named = format!("{}: ", library.display());
        assert_eq!(message.matches(&named).count(), 1, "{message}");
    }

    // A bare name is not looked for in the current folder.
    let here = env::current_dir().unwrap();
    env::set_current_dir(&dir).unwrap();
    symlink(&right, dir.join("libonnxruntime-here.so")).unwrap();
    set(Path::new("libonnxruntime-here.so"));
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("libonnxruntime-here.so: cannot open shared object file"),
        "{message}"
    );
    set(Path::new("./libonnxruntime-gone.so"));
    let message = open().unwrap_err().to_string();
    let file = dir.join("libonnxruntime-gone.so").display().to_string();
    assert!(message.contains(&file), "{message}");
    env::set_current_dir(here).unwrap();

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
