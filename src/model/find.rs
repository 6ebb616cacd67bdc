// SPDX-License-Identifier: MPL-2.0
//! Where models and the ONNX Runtime library are looked for.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use super::Error;

/// The directories of models, separated by `:`.
const MODEL_PATH: &str = "GST_INSTRUMENTS_MODEL_PATH";

static PLUGIN_DIR: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Says where the plugin's file lies: models and ONNX Runtime are looked for beside it.
pub fn set_plugin_dir(dir: &Path) {
    *PLUGIN_DIR.write().unwrap_or_else(PoisonError::into_inner) = Some(dir.into());
}

fn plugin_dir() -> Option<PathBuf> {
    PLUGIN_DIR
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// The file of a model: a path (it has a `/` or ends with `.onnx`) is taken as it is; a name is looked for as
/// `NAME.onnx` in the directories of `GST_INSTRUMENTS_MODEL_PATH`, then in `models`, `../models`, `../../models`
/// and `../../share/gst-instruments/models` from the plugin.
///
/// # Errors
/// [`Error::ModelNotFound`] with the files that were looked for.
pub fn model(name: &str) -> Result<PathBuf, Error> {
    let path_variable = env::var_os(MODEL_PATH).unwrap_or_default();
    model_in(name, &path_variable, plugin_dir().as_deref())
}

fn model_in(name: &str, path_variable: &OsStr, plugin: Option<&Path>) -> Result<PathBuf, Error> {
    let looked = if name.contains('/') || name.ends_with(".onnx") {
        vec![PathBuf::from(name)]
    } else {
        let near = [
            "models",
            "../models",
            "../../models",
            "../../share/gst-instruments/models",
        ];
        env::split_paths(path_variable)
            .filter(|dir| !dir.as_os_str().is_empty())
            .chain(
                plugin
                    .into_iter()
                    .flat_map(|plugin| near.iter().map(|dir| plugin.join(dir))),
            )
            .map(|dir| dir.join(format!("{name}.onnx")))
            .collect()
    };
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(Error::ModelNotFound {
            name: name.into(),
            looked,
        }),
    }
}

/// The ONNX Runtime libraries to try, in order: the value of `ORT_DYLIB_PATH` alone when it is set; otherwise
/// what lies beside the plugin or one directory above it, then the names that the loader looks for itself.
pub fn runtimes() -> Vec<PathBuf> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        // A bare file name is for the loader; anything else means a file, seen from the current directory.
        let is_name = path.file_name() == Some(path.as_os_str());
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        return vec![if is_name && !absolute.exists() {
            path
        } else {
            absolute
        }];
    }
    let plugin = plugin_dir();
    plugin
        .iter()
        .flat_map(|dir| [dir.clone(), dir.join("..")])
        .flat_map(|dir| libraries(&dir))
        .chain(["libonnxruntime.so".into(), "libonnxruntime.so.1".into()])
        .collect()
}

/// `libonnxruntime.so` and `libonnxruntime.so.1*` in a directory, in this order, newest version first.
fn libraries(dir: &Path) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        let name = path.file_name()?.to_str()?;
        let rest = name.strip_prefix("libonnxruntime.so")?;
        if rest.is_empty() {
            return Some(vec![u32::MAX]);
        }
        let numbers: Result<Vec<u32>, _> =
            rest.strip_prefix('.')?.split('.').map(str::parse).collect();
        numbers.ok().filter(|numbers| numbers.first() == Some(&1))
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| Some((version(&path)?, path)))
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found.into_iter().map(|(_, path)| path).collect()
}
