// SPDX-License-Identifier: MPL-2.0

//! The media files in a folder and its subfolders.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use super::media::is_media;

/// What a folder contains.
#[derive(Debug, Default)]
pub struct Contents {
    /// The media files by name, with their lengths.
    pub media: Vec<(PathBuf, u64)>,
    /// Other files, none of which is hidden.
    pub left_out: Vec<PathBuf>,
    /// What cannot be read, each as a sentence.
    pub notes: Vec<String>,
    /// Whether there are files at all, of this shard or of another.
    pub has_files: bool,
}

/// Looks at the files that are `own`; `Err` if the folder itself cannot be read. Links are followed, each folder is looked
/// at once, and hidden files and folders are left out.
pub fn contents(folder: &Path, own: impl Fn(&Path) -> bool) -> Result<Contents> {
    folder.read_dir().context("cannot be opened")?;
    let mut contents = Contents::default();
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let wanted = |entry: &DirEntry| {
        let hidden = entry.depth() > 0 && entry.file_name().as_bytes().starts_with(b".");
        let mut known = |entry: &DirEntry| {
            let metadata = entry.metadata();
            metadata.is_ok_and(|metadata| !seen.insert((metadata.dev(), metadata.ino())))
        };
        !(hidden || entry.file_type().is_dir() && known(entry))
    };
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(wanted) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                contents.has_files = true;
                if !own(entry.path()) {
                    continue;
                }
                if entry.file_type().is_file() {
                    let length = entry.metadata().map_or(0, |metadata| metadata.len());
                    files.push((entry.into_path(), length));
                } else {
                    contents.left_out.push(entry.into_path());
                }
            }
            // What is in a loop has been seen.
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).display().to_string();
                let cause = error
                    .io_error()
                    .map_or_else(|| error.to_string(), ToString::to_string);
                contents
                    .notes
                    .push(format!("{path} was skipped: cannot be opened: {cause}"));
            }
        }
    }
    for (file, media) in files.iter().zip(look(&files)) {
        if media {
            contents.media.push(file.clone());
        } else {
            contents.left_out.push(file.0.clone());
        }
    }
    Ok(contents)
}

/// Whether each of the files is media; those that cannot be read count as such, so that they fail by name.
fn look(files: &[(PathBuf, u64)]) -> Vec<bool> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let each = files.len().div_ceil(threads).max(1);
    let look = |files: &[(PathBuf, u64)]| -> Vec<bool> {
        files
            .iter()
            .map(|(path, _)| is_media(path).unwrap_or(true))
            .collect()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = files
            .chunks(each)
            .map(|part| scope.spawn(move || look(part)))
            .collect();
        let parts = parts
            .into_iter()
            .map(|part| part.join().expect("a type finder panicked"));
        parts.flatten().collect()
    })
}
