// SPDX-License-Identifier: MPL-2.0
//! Whether a shared library is an ONNX Runtime that can be used.

use std::{
    error::Error as _,
    ffi::CStr,
    path::{Path, PathBuf},
};

use libloading::{Library, Symbol};
use ort::{MINOR_VERSION, sys::OrtApiBase};

use crate::model::platform;

/// Why a library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The loader's own words.
    #[error("{0}")]
    NotLoaded(String),
    #[error("it is not ONNX Runtime, {0}")]
    NotOnnxRuntime(&'static str),
    #[error("ONNX Runtime {version} is older than {}", needed())]
    TooOld { path: PathBuf, version: String },
    #[error(
        "ONNX Runtime {version} does not offer version {MINOR_VERSION} of its interface: install {} or a newer 1.x",
        needed()
    )]
    NoInterface { version: String },
}

/// The oldest version that works.
pub fn needed() -> String {
    format!("1.{MINOR_VERSION}")
}

/// A library with the interface that is needed, and its file. Dropping it unloads it, unless somebody else has it.
pub struct Usable {
    pub file: PathBuf,
    _library: Library,
}

/// Loads the library `path`, or what the loader finds by that name.
///
/// # Errors
/// [`Unusable`].
pub fn load(path: &Path) -> Result<Usable, Unusable> {
    use Unusable::{NoInterface, NotOnnxRuntime, TooOld};
    // SAFETY: as safe as the library's initialisers, which the user or the system's administrator has chosen.
    let library = unsafe { Library::new(path) }.map_err(|error| {
        let words = error.source().map(ToString::to_string);
        Unusable::NotLoaded(words.unwrap_or_else(|| error.to_string()))
    })?;
    // SAFETY: whoever exports this name means this function.
    let base: Symbol<unsafe extern "C" fn() -> *const OrtApiBase> =
        unsafe { library.get(b"OrtGetApiBase") }
            .map_err(|_| NotOnnxRuntime("which exports OrtGetApiBase"))?;
    let file = match path.is_absolute() {
        true => path.into(),
        false => platform::file_of(*base as *const ()).unwrap_or_else(|| path.into()),
    };
    // SAFETY: it takes nothing and returns null or a pointer to what lives as long as the library.
    let base =
        unsafe { base().as_ref() }.ok_or(NotOnnxRuntime("its OrtGetApiBase gives nothing"))?;
    // SAFETY: as above.
    let version = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err(NotOnnxRuntime("it has no version"));
    }
    // SAFETY: a string that lives as long as the library.
    let version = unsafe { CStr::from_ptr(version) }
        .to_string_lossy()
        .into_owned();
    let mut numbers = version.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(NotOnnxRuntime("its version is no number"));
    };
    if (major, minor) < (1, MINOR_VERSION) {
        return Err(TooOld {
            path: file,
            version,
        });
    }
    // SAFETY: for a version that it does not have the answer is null.
    if major > 1 || unsafe { (base.GetApi)(MINOR_VERSION) }.is_null() {
        return Err(NoInterface { version });
    }
    Ok(Usable {
        file,
        _library: library,
    })
}
