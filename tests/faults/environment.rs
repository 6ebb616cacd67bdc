// SPDX-License-Identifier: MPL-2.0

//! What surrounds the process: folders, limits, signals.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::common::place::{Place, output};

const LINE: &str = "-m videotestsrc num-buffers=3 ! frameclassify model=video ! fakesink";

/// Runs a line in `place` with one variable set, or unset; it must give tags.
#[track_caller]
fn assert_tags(place: &Place, variable: &str, value: Option<&OsStr>) {
    let mut command = place.command("gst-launch-1.0");
    command.args(LINE.split_whitespace());
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    let (output, text) = output(&mut command);
    assert!(output.status.success(), "{variable}={value:?}: {text}");
    assert!(
        text.contains("instrument-tags"),
        "{variable}={value:?}: {text}"
    );
}

#[test]
fn without_a_home() {
    let place = Place::new("home");
    assert_tags(&place, "HOME", None);
    assert_tags(&place, "HOME", Some(OsStr::new("/nowhere")));
    assert_tags(&place, "XDG_CACHE_HOME", Some(OsStr::new("/proc/nowhere")));
}

#[test]
fn folders_with_spaces_and_names_that_are_not_utf_8() {
    let mut place = Place::new("folders");
    for name in [&b"a folder, 100 % \"quoted\""[..], b"Gitarre\xe4\xff"] {
        let folder = place.folder.join(OsStr::from_bytes(name));
        std::fs::create_dir(&folder).unwrap();
        let models = folder.join("models");
        symlink(crate::common::root().join("tests/data/models"), &models).unwrap();
        place.models = models;
        assert_tags(&place, "HOME", Some(folder.as_os_str()));
        assert_tags(&place, "XDG_CACHE_HOME", Some(folder.as_os_str()));
    }
}

#[test]
fn a_locale_of_bytes() {
    assert_tags(&Place::new("locale"), "LC_ALL", Some(OsStr::new("C")));
}

#[test]
fn a_full_disk_is_an_error_of_the_sink() {
    let place = Place::new("full");
    let line = "videotestsrc num-buffers=9 ! video/x-raw,framerate=1/1 ! frameclassify model=video
        ! tagtext ! filesink buffer-mode=unbuffered location=/dev/full";
    let (output, text) = place.run("gst-launch-1.0", line);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("No space left"), "{text}");
    for element in ["GstFrameClassify", "GstTagText"] {
        let error = format!("ERROR: from element /GstPipeline:pipeline0/{element}");
        assert!(!text.contains(&error), "{text}");
    }
}

#[test]
fn few_descriptors() {
    let place = Place::new("descriptors");
    for limit in [16, 24, 64] {
        let mut command = place.command("bash");
        command
            .arg("-c")
            .arg(format!("ulimit -n {limit}; exec gst-launch-1.0 {LINE}"));
        let (output, text) = output(&mut command);
        // It works, or it says why, if only by GLib, which then aborts.
        let code = output.status.code();
        let says = text.contains("ERROR") || text.contains("Too many open files");
        assert!(
            output.status.success() || (says && code != Some(124)),
            "{limit}: {code:?} {text}"
        );
        assert!(limit < 64 || output.status.success(), "{limit}: {text}");
    }
}

#[test]
fn an_interrupt_ends_with_the_result_so_far() {
    let place = Place::new("interrupt");
    let mut command = place.command("timeout");
    let line =
        "--foreground --signal=INT 3 gst-launch-1.0 -e -m videotestsrc is-live=true ! video/x-raw,framerate=10/1
        ! frameclassify name=f model=video interval=200000000 ! fakesink";
    let (_, text) = output(command.args(line.split_whitespace()));
    assert!(text.contains("clip=(boolean)true"), "{text}");
    assert!(!text.contains("ERROR"), "{text}");
}

#[test]
fn onnx_runtime_is_no_library() {
    let mut place = Place::new("no-library");
    for bytes in [&b""[..], b"not a library"] {
        place.runtime = place.folder.join("libnothing.so");
        std::fs::write(&place.runtime, bytes).unwrap();
        place.assert_inspects();
        place.assert_fails_with("model=video", &["ONNX Runtime", "libnothing.so"]);
    }
    place.runtime = place.folder.clone();
    place.assert_fails_with("model=video", &["ONNX Runtime"]);
}
