// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime: loaded once in a process, when the first model is opened.

use std::{
    error::Error as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use ort::{
    LoadDynamicError,
    environment::{Environment, EnvironmentBuilder},
    logging::LogLevel,
};

use super::{Error, find};

/// Where ONNX Runtime's log goes: level and message.
pub type Log = fn(LogLevel, &str);

static LOG: RwLock<Option<(Log, LogLevel)>> = RwLock::new(None);
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// The loaded library and its one environment, which lives as long as the process: ONNX Runtime allows no second.
#[derive(Clone)]
pub struct Runtime {
    pub environment: Environment,
    /// The library's file, or its name where the system does not tell.
    pub path: PathBuf,
}

/// Sends ONNX Runtime's messages of this level and above to `log`; without it they are dropped.
pub fn set_log(log: Log, level: LogLevel) {
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = Some((log, level));
    if let Some(runtime) = &*RUNTIME.lock().unwrap_or_else(PoisonError::into_inner) {
        runtime.environment.set_log_level(level);
    }
}

/// Passes a message on, if its level is asked for. ONNX Runtime's environment is made with the lowest level, before
/// another can be set.
pub fn log(level: LogLevel, message: &str) {
    let set = *LOG.read().unwrap_or_else(PoisonError::into_inner);
    if let Some((log, _)) = set.filter(|(_, least)| level >= *least) {
        log(level, message);
    }
}

/// The runtime, loaded if it is not yet.
///
/// # Errors
/// [`Error::RuntimeMissing`] or [`Error::RuntimeTooOld`]; the next call tries again.
pub fn get() -> Result<Runtime, Error> {
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        return Ok(runtime.clone());
    }
    let runtime = load(&find::runtimes())?;
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

fn load(candidates: &[PathBuf]) -> Result<Runtime, Error> {
    let mut tried = Vec::new();
    let mut too_old = None;
    for path in candidates {
        // ort keeps the first library that loads with a version new enough; only failures before that leave it
        // free to try another. It panics on a library that has the symbol but not the interface behind it.
        match catch_unwind(AssertUnwindSafe(|| ort::init_from(path))) {
            Ok(Ok(builder)) => {
                return catch_unwind(AssertUnwindSafe(|| environment(builder)))
                    .unwrap_or_else(|_| Err("it is not a working ONNX Runtime".into()))
                    .map(|environment| Runtime {
                        environment,
                        path: loaded_path(path),
                    })
                    .map_err(|cause| Error::RuntimeMissing {
                        tried: vec![format!("{}: {cause}", path.display())],
                    });
            }
            Ok(Err(LoadDynamicError::BadVersion { version_str, path })) => {
                too_old = too_old.or(Some(Error::RuntimeTooOld {
                    path,
                    version: version_str,
                    needed: format!("1.{}", ort::MINOR_VERSION),
                }));
            }
            Ok(Err(LoadDynamicError::Dlopen { error, path })) => {
                // The loader's own words are in the source.
                let cause = error.source().map(ToString::to_string);
                let cause = cause.unwrap_or_else(|| error.to_string());
                tried.push(format!("{}: {cause}", path.display()));
            }
            Ok(Err(error)) => tried.push(error.to_string()),
            Err(_) => tried.push(format!(
                "{}: it is not a working ONNX Runtime",
                path.display()
            )),
        }
    }
    Err(too_old.unwrap_or(Error::RuntimeMissing { tried }))
}

fn environment(builder: EnvironmentBuilder) -> Result<Environment, String> {
    let environment = builder
        .with_name("gst-instruments")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, category, _id, _location, message| {
            log(level, &format!("{category}: {message}"));
        }))
        .build()
        .map_err(|error| error.to_string())?;
    let set = *LOG.read().unwrap_or_else(PoisonError::into_inner);
    environment.set_log_level(set.map_or(LogLevel::Warning, |(_, level)| level));
    Ok(environment)
}

/// Where the loader found a library that was given by its name alone.
fn loaded_path(path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.into();
    }
    fs::read_to_string("/proc/self/maps")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])))
        .find(|mapped| {
            mapped
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("libonnxruntime.so"))
        })
        .unwrap_or_else(|| path.into())
}

/// The runtime that `scripts/setup` fetched, unless the environment names another.
#[cfg(test)]
pub fn of_this_tree() -> Runtime {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        find::set_plugin_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.runtime")));
    }
    get().unwrap()
}
