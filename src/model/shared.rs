// SPDX-License-Identifier: MPL-2.0
//! One [`Model`] in a process for the same files and options.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use super::{Error, Model, Options, card::sidecar, find::Files};

/// A file's length and time of change, `None` if there is no such file: a replaced file is another model.
type Stamp = Option<(u64, Option<SystemTime>)>;

#[derive(PartialEq, Eq, Hash)]
struct Key {
    options: Options,
    /// Every file that counts.
    stamps: Vec<(PathBuf, Stamp)>,
}

/// One lock a key, held while its model loads: whoever asks for the same waits, and no one else.
type Slot = Arc<Mutex<Weak<Model>>>;

static MODELS: LazyLock<Mutex<HashMap<Key, Slot>>> = LazyLock::new(Default::default);

/// The model that is open with these files and options, or what `load` returns.
///
/// # Errors
/// Those of `load`.
pub fn open(
    files: &Files,
    options: &Options,
    load: impl FnOnce() -> Result<Model, Error>,
) -> Result<Arc<Model>, Error> {
    let key = Key {
        options: options.clone(),
        stamps: files
            .paths()
            .flat_map(|path| [path.to_owned(), sidecar(path)])
            .chain(options.labels_file.clone())
            .map(|path| (path.canonicalize().unwrap_or(path.clone()), stamp(&path)))
            .collect(),
    };
    let slot = {
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that only the map holds is not being loaded into, so its lock is free.
        models.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.lock().is_ok_and(|model| model.strong_count() > 0)
        });
        models.entry(key).or_default().clone()
    };
    let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = open.upgrade() {
        return Ok(model);
    }
    let model = Arc::new(load()?);
    *open = Arc::downgrade(&model);
    Ok(model)
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}
