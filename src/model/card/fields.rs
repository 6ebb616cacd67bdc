// SPDX-License-Identifier: MPL-2.0
//! A card as text: the keys `instruments.*` of an ONNX file's metadata and of its sidecar, a file in GLib's key file
//! syntax that also says which tensor is which.

use std::{collections::BTreeMap, path::Path, path::PathBuf, str::FromStr, sync::Arc};

use super::file;
use crate::model::error::Error;

/// What precedes every key in an ONNX file's metadata.
pub const PREFIX: &str = "instruments.";

/// The keys of a card with their values, without `PREFIX`.
#[derive(Debug)]
pub struct Fields {
    path: PathBuf,
    values: BTreeMap<String, String>,
    tensors: Vec<Tensor>,
}

/// What a sidecar says of one tensor.
#[derive(Debug)]
struct Tensor {
    name: String,
    id: Option<String>,
    ranges: Option<String>,
}

impl Fields {
    /// Merges a model's metadata (any keys) with its sidecar file, whose values come first.
    ///
    /// # Errors
    /// [`Error::CardMissing`] when neither says a version, [`Error::Card`] for a version or a sidecar that cannot be
    /// understood, [`Error::Unreadable`].
    pub fn read(
        path: &Path,
        metadata: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let values = metadata
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value)))
            .collect();
        let mut fields = Self {
            path: path.into(),
            values,
            tensors: Vec::new(),
        };
        let sidecar = sidecar(path);
        if sidecar.exists() {
            let text = file::read(&sidecar)?;
            fields
                .merge(&text)
                .map_err(|problem| fields.problem(format!("{problem} in {}", sidecar.display())))?;
        }
        match fields.values.get("version").map(String::as_str) {
            Some("1") => Ok(fields),
            Some(version) => Err(fields.problem(format!(
                "`instruments.version` is `{version}`, but only 1 is supported; use a newer plugin"
            ))),
            None => Err(Error::CardMissing {
                path: path.into(),
                sidecar,
            }),
        }
    }

    /// Adds what a sidecar says.
    fn merge(&mut self, text: &str) -> Result<(), SidecarError> {
        let sidecar = glib::KeyFile::new();
        sidecar.load_from_data(text, glib::KeyFileFlags::NONE)?;
        let value = |section: &str, key: &str| match sidecar.has_key(section, key) {
            Ok(true) => sidecar.string(section, key).map(|text| Some(text.into())),
            _ => Ok(None),
        };
        for section in sidecar.groups().iter() {
            match section.as_str() {
                "modelinfo" => {
                    let version: Option<String> = value(section, "version")?;
                    if let Some(version) = version.filter(|version| version != "1.0") {
                        return Err(SidecarError::Version(version));
                    }
                }
                "instruments" => {
                    for key in sidecar.keys(section)?.iter() {
                        let text = sidecar.string(section, key)?;
                        self.values.insert(key.to_string(), text.into());
                    }
                }
                name => self.tensors.push(Tensor {
                    name: name.into(),
                    id: value(name, "id")?,
                    ranges: value(name, "ranges")?,
                }),
            }
        }
        Ok(())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Card`] when it is not there.
    pub fn text(&self, key: &str) -> Result<&str, Error> {
        self.optional(key).ok_or_else(|| self.missing(key))
    }

    /// An [`Error::Card`] about a key that is not there.
    pub fn missing(&self, key: &str) -> Error {
        self.problem(format!("the key `{PREFIX}{key}` is missing; add it"))
    }

    /// The value of a key; `None` where it is missing.
    pub fn optional(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of a key as a number.
    ///
    /// # Errors
    /// [`Error::Card`] when it is not there or no such number.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<T, Error> {
        let text = self.text(key)?;
        text.trim().parse().map_err(|_| {
            self.problem(format!(
                "`{PREFIX}{key}` is `{text}`, which is not a valid number"
            ))
        })
    }

    /// The value of a key as a whole number from 1 to `most`.
    ///
    /// # Errors
    /// [`Error::Card`] when it is not there or no such number.
    pub fn count(&self, key: &str, most: usize) -> Result<usize, Error> {
        let text = self.text(key)?;
        let number = text.trim().parse().ok();
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| {
                self.problem(format!(
                    "`{PREFIX}{key}` is `{text}`; use a whole number from 1 to {most}"
                ))
            })
    }

    /// The value of a key among those that are allowed; the first of them when the key is not there.
    ///
    /// # Errors
    /// [`Error::Card`] for another value.
    pub fn choice<T: Copy>(&self, key: &str, allowed: &[(&str, T)]) -> Result<T, Error> {
        let text = self.optional(key).unwrap_or(allowed[0].0).trim();
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let found = allowed.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            self.problem(format!(
                "`{PREFIX}{key}` is `{text}`; use one of {}",
                names.join(", ")
            ))
        })
    }

    /// All keys that begin with `prefix`, without it.
    pub fn group<'a>(&'a self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.values.iter();
        pairs.filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The name in the graph of the tensor that the sidecar says is `id`.
    pub fn tensor(&self, id: &str) -> Option<&str> {
        let is = |tensor: &&Tensor| tensor.id.as_deref() == Some(id);
        self.tensors
            .iter()
            .find(is)
            .map(|tensor| tensor.name.as_str())
    }

    /// The names of all tensors that the sidecar describes.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// What bytes become in the input `name`: the sidecar's `ranges` in the tensor's section, or the card's.
    pub fn ranges(&self, name: &str) -> Option<&str> {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name);
        let ranges = tensor.and_then(|tensor| tensor.ranges.as_deref());
        ranges.or(self.optional("frame.ranges"))
    }

    /// An [`Error::Card`] about this model.
    pub fn problem(&self, problem: String) -> Error {
        Error::Card {
            path: self.path.clone(),
            problem,
        }
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a sidecar cannot be understood, as a part of a sentence.
#[derive(Debug, thiserror::Error)]
enum SidecarError {
    #[error("version `{0}` is not supported, only 1.0")]
    Version(String),
    /// GLib's own words.
    #[error("{0}")]
    Syntax(#[from] glib::Error),
}

/// The labels, one a line, of `labels_file` or else of the card, and where they are from.
///
/// # Errors
/// [`Error::Unreadable`], or [`Error::Card`] when the card has none.
pub fn labels(
    fields: &Fields,
    labels_file: Option<&Path>,
) -> Result<(Arc<[String]>, String), Error> {
    let lines = |text: &str| {
        let trimmed = text.lines().map(str::trim);
        trimmed
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    match labels_file {
        Some(file) => Ok((lines(&file::read(file)?), file.display().to_string())),
        None => Ok((lines(fields.text("labels")?), format!("`{PREFIX}labels`"))),
    }
}

/// The file that describes a model from outside: its name with `.modelinfo` added.
pub fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".modelinfo");
    name.into()
}
