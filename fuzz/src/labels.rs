// SPDX-License-Identifier: MPL-2.0

use std::path::Path;

use gstinstruments::model::internals::{Fields, labels as read};

use super::{Scratch, assert_names};

/// `data` as a labels file, and as the labels of a card: lines without the space around them, none empty.
pub fn labels(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let lines = text.lines().count();
    let metadata = [("version", "1".to_owned()), ("labels", text)]
        .map(|(key, value)| (format!("instruments.{key}"), value));
    let model = Path::new("/nowhere/model.onnx");
    let fields = Fields::read(model, metadata).expect("a version is all that it takes");
    let file = Scratch::new("labels.txt", data);
    let from_file = read(&fields, Some(file.path()));
    // A byte order mark is no part of the first label.
    if let Some(unmarked) = data.strip_prefix("\u{feff}".as_bytes())
        && let Ok((labels, _)) = &from_file
    {
        let unmarked = String::from_utf8_lossy(unmarked);
        let first = unmarked
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty());
        assert_eq!(labels.first().map(String::as_str), first);
    }
    for (labels, path) in [(read(&fields, None), model), (from_file, file.path())] {
        match labels {
            Err(error) => assert_names(&error, path),
            Ok((labels, _)) => {
                assert!(labels.len() <= lines);
                for label in labels.iter() {
                    assert!(!label.is_empty() && label == label.trim(), "{label:?}");
                }
            }
        }
    }
}
