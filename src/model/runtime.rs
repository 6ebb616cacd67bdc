// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime: loaded once in a process, when the first model is opened.

use std::{
    env,
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

use super::{error::Error, plugin_dir::plugin_dir};

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
    let runtime = load(&candidates())?;
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

/// The directories of ONNX Runtime, from the plugin's: beside it or above, or `lib/gst-instruments` where the plugin is in
/// `lib/gstreamer-1.0` or `lib/ARCHITECTURE/gstreamer-1.0`.
const NEAR: [&str; 4] = [".", "..", "../gst-instruments", "../../gst-instruments"];

/// The ONNX Runtime libraries to try, in order: the value of `ORT_DYLIB_PATH` alone when it is set; otherwise
/// what lies near the plugin, then the names that the loader looks for itself.
fn candidates() -> Vec<PathBuf> {
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
        .flat_map(|dir| NEAR.map(|near| dir.join(near)))
        .flat_map(|dir| libraries(&dir))
        .chain(["libonnxruntime.so".into(), "libonnxruntime.so.1".into()])
        .chain(distributions())
        .collect()
}

/// The names by which distributions install ONNX Runtime, newest first: Debian's are those of one minor version.
fn distributions() -> impl Iterator<Item = PathBuf> {
    let minors = (ort::MINOR_VERSION..ort::MINOR_VERSION + 20).rev();
    minors.map(|minor| format!("libonnxruntime.so.1.{minor}").into())
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
                // One name says it for all.
                if distributions().any(|name| name == path) {
                    continue;
                }
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
        super::plugin_dir::set_plugin_dir(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/.runtime"
        )));
    }
    get().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_runtime_itself_newest_first() {
        let files = [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime.so.2",
            "libonnxruntime.so.1.31.1.bak",
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime.so",
        ];
        let dir = env::temp_dir().join(format!("instruments-runtime-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for file in files {
            fs::write(dir.join(file), "").unwrap();
        }
        let names = [files[5], files[1], files[0]].map(|name| dir.join(name));
        assert_eq!(libraries(&dir), names);
        fs::remove_dir_all(dir).unwrap();
    }
}
