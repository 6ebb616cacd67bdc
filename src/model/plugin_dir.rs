// SPDX-License-Identifier: MPL-2.0
//! The folder of the plugin's file: models and ONNX Runtime are looked for beside it.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

static PLUGIN_DIR: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Sets the folder of the plugin's file.
pub fn set_plugin_dir(dir: &Path) {
    *PLUGIN_DIR.write().unwrap_or_else(PoisonError::into_inner) = Some(dir.into());
}

/// The folder of the plugin's file, once it is known.
pub fn plugin_dir() -> Option<PathBuf> {
    PLUGIN_DIR
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}
