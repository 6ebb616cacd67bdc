// SPDX-License-Identifier: MPL-2.0

//! Of what kind the cause is for which an input could not be tagged: whether trying again can help.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::Error;
use serde_json::Value;

use crate::inputs::path_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is missing or not allowed to be read.
    Unreadable,
    /// It is no media, damaged, or has no decoder.
    Undecodable,
    /// It crashed its process each time.
    Crashed,
    /// It made no progress each time.
    Timeout,
    /// Its server or file system did not deliver it.
    Unavailable,
    /// The machine lacked memory or the like, or the process was killed.
    Resources,
}

const ALL: [Kind; 6] = [
    Kind::Unreadable,
    Kind::Undecodable,
    Kind::Crashed,
    Kind::Timeout,
    Kind::Unavailable,
    Kind::Resources,
];

/// Statuses of HTTP below 500 that may change: expired signatures, timeouts, too many requests.
const PASSING_STATUSES: [u16; 5] = [401, 403, 408, 425, 429];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Undecodable => "undecodable",
            Self::Crashed => "crashed",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Resources => "resources",
        }
    }

    /// The kind that the last line of a record has, if the input could not be tagged.
    pub fn of_record(last: &Value) -> Option<Self> {
        let known = ALL
            .into_iter()
            .find(|kind| last["kind"].as_str() == Some(kind.name()));
        known.or_else(|| last.get("error").map(|_| Self::Undecodable))
    }

    /// Whether the cause lies outside of the input and may pass.
    pub fn passes(self) -> bool {
        matches!(self, Self::Unavailable | Self::Resources)
    }

    /// Whether another attempt at once, in a new process, can tell more.
    pub fn is_retried(self) -> bool {
        self.passes() || matches!(self, Self::Crashed | Self::Timeout)
    }

    /// The kind of an error of `uri`. The sentences are those of `failure` and `tagger`.
    pub fn of(uri: &str, error: &Error) -> Self {
        let path = path_of(uri);
        if let Some(cause) = error.downcast_ref::<io::Error>() {
            return Self::of_io(path.as_deref(), cause);
        }
        let text = format!("{error:#}");
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["allocate", "out of memory", "Too many open files"]) {
            Self::Resources
        } else if text.contains("no progress for") {
            Self::Timeout
        } else if let Some(status) = status(&text) {
            match status >= 500 || PASSING_STATUSES.contains(&status) {
                true => Self::Unavailable,
                false => Self::Unreadable,
            }
        } else if path
            .as_ref()
            .is_some_and(|path| path.exists() && !path.is_file())
        {
            // Opening a pipe would wait for ever.
            Self::Unreadable
        } else if let Some(path) = path {
            // GStreamer's messages lack the system's error.
            match std::fs::File::open(&path) {
                Err(cause) => Self::of_io(Some(&path), &cause),
                Ok(_) if text.starts_with("cannot be read") => Self::Unavailable,
                Ok(_) => Self::Undecodable,
            }
        } else if has(&["cannot be read"]) {
            Self::Unavailable
        } else if has(&["cannot be opened", "is not a valid URI"]) {
            Self::Unreadable
        } else {
            Self::Undecodable
        }
    }

    fn of_io(path: Option<&Path>, error: &io::Error) -> Self {
        match error.kind() {
            // Of storage that is not mounted, at most an empty folder can be seen.
            ErrorKind::NotFound if path.is_some_and(is_in_no_folder) => Self::Unavailable,
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
                Self::Unreadable
            }
            ErrorKind::OutOfMemory => Self::Resources,
            // Open files, of the process and of the system.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::Resources,
            ErrorKind::InvalidInput | ErrorKind::InvalidFilename => Self::Unreadable,
            _ => Self::Unavailable,
        }
    }
}

/// Whether the folder of `path` is missing or empty.
fn is_in_no_folder(path: &Path) -> bool {
    let entries = path.parent().and_then(|folder| folder.read_dir().ok());
    entries.is_none_or(|mut entries| entries.next().is_none())
}

/// The status that a server answered.
fn status(text: &str) -> Option<u16> {
    let (_, answer) = text.split_once("the server answered ")?;
    answer.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use gst::glib;

    use super::*;

    #[test]
    fn errors_of_servers_pass_and_missing_objects_do_not() {
        for (sentence, kind) in [
            (
                "cannot be read: the server answered 503 Busy",
                Kind::Unavailable,
            ),
            (
                "cannot be read: the server answered 403 Forbidden",
                Kind::Unavailable,
            ),
            (
                "cannot be read: the server answered 404 Not Found",
                Kind::Unreadable,
            ),
            (
                "cannot be read: the server refused the connection",
                Kind::Unavailable,
            ),
            (
                "cannot be decoded: no progress for 60 s (--timeout)",
                Kind::Timeout,
            ),
            ("cannot be decoded: it is damaged", Kind::Undecodable),
            ("Failed to allocate a buffer", Kind::Resources),
        ] {
            assert_eq!(
                Kind::of("http://host/a", &anyhow!(sentence)),
                kind,
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_unreadable_unless_its_folder_is_missing_or_empty() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |name: &str| {
            let path = folder.path().join(name);
            let uri = glib::filename_to_uri(&path, None).unwrap();
            let error = path.metadata().context("cannot be opened").unwrap_err();
            Kind::of(&uri, &error)
        };
        assert_eq!(kind("a.wav"), Kind::Unavailable);
        std::fs::write(folder.path().join("b.wav"), b"").unwrap();
        assert_eq!(kind("a.wav"), Kind::Unreadable);
        assert_eq!(kind("unmounted/a.wav"), Kind::Unavailable);
        assert_eq!(kind("b.wav/a.wav"), Kind::Unreadable);
    }

    #[test]
    fn records_name_their_kind() {
        for kind in ALL {
            let last = serde_json::json!({"error": "e", "kind": kind.name()});
            assert_eq!(Kind::of_record(&last), Some(kind));
        }
        assert_eq!(Kind::of_record(&serde_json::json!({"duration": 1.0})), None);
    }
}
