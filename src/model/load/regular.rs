// SPDX-License-Identifier: MPL-2.0
//! Reads regular files: others may never end, or never even open.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::model::error::Error;

/// The largest sidecar or labels file in bytes.
const TEXT: u64 = 1_000_000;

/// Opens a regular file.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn open(path: &Path) -> Result<File, Error> {
    let open = || {
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        File::open(path)
    };
    open().map_err(|error| unreadable(path, &error))
}

/// Reads a regular file of text of at most 1 MB, without the byte order mark that some editors put first.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = open(path)?.take(TEXT + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 <= TEXT => {
            Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        }
        Ok(_) => Err(unreadable(path, "it is larger than 1 MB")),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// That a file cannot be read.
pub fn unreadable(path: &Path, cause: impl ToString) -> Error {
    Error::Unreadable {
        path: path.into(),
        cause: cause.to_string(),
    }
}
