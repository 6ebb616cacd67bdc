// SPDX-License-Identifier: MPL-2.0
//! The limits of what comes from outside: files, cards, graphs and options. They are far above what models need, and
//! checked before memory is taken.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{Error, Options};

/// The largest number of inputs that are run at once.
pub const BATCH_SIZE: usize = 1024;
/// The largest number of threads for one inference.
pub const THREADS: u32 = 1024;
/// The largest number of values of one input: a picture of 4729 by 4729 pixels, or 16384 bands by 4096 frames.
pub const VALUES: usize = 1 << 26;
/// The largest number of values of a whole batch: 1 GiB of 32-bit floats.
pub const BATCH_VALUES: usize = 1 << 28;
/// The largest sidecar or labels file in bytes.
const TEXT: u64 = 1_000_000;

/// # Errors
/// [`Error::Limit`].
pub fn check(options: &Options) -> Result<(), Error> {
    let within = |name: &str, value: usize, most: usize| {
        if value <= most {
            return Ok(());
        }
        Err(Error::Limit {
            name: name.into(),
            value,
            most,
        })
    };
    within("batch-size", options.batch_size, BATCH_SIZE)?;
    within("threads", options.threads as usize, THREADS as usize)
}

/// Opens a regular file: another kind may never end, or never even open.
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

/// Reads a regular file of text of at most 1 MB.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = open(path)?.take(TEXT + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 <= TEXT => Ok(text),
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
