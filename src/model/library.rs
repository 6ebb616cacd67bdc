// SPDX-License-Identifier: MPL-2.0
//! Whether a shared library is an ONNX Runtime that can be used.

use std::{
    error::Error as _,
    ffi::CStr,
    fs,
    path::{Path, PathBuf},
};

use libloading::{Library, Symbol};
use ort::{MINOR_VERSION, sys::OrtApiBase};

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
        false => mapped_file(*base as usize).unwrap_or_else(|| path.into()),
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

/// The file that is mapped into this process at `address`.
fn mapped_file(address: usize) -> Option<PathBuf> {
    // For example `7f0c1a400000-7f0c1bf02000 r-xp 00000000 fe:01 1835044     /usr/lib/libonnxruntime.so.1.31.1`.
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let line = maps.lines().find(|line| {
        let range = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'));
        let range = range.and_then(|(start, end)| Some(number(start)?..number(end)?));
        range.is_some_and(|range| range.contains(&address))
    })?;
    Some(line[line.find('/')?..].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_address_is_this_program() {
        let file = mapped_file(mapped_file as *const () as usize);
        assert_eq!(file, Some(std::env::current_exe().unwrap()));
        assert_eq!(mapped_file(0), None);
    }
}
