// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime: found, examined by `library`, and loaded once in a process, when the first model is opened.

#[allow(unsafe_code)]
mod library;
#[allow(unsafe_code)]
mod telemetry;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ort::{
    environment::{Environment, EnvironmentBuilder},
    logging::LogLevel,
};

use parking_lot::{Mutex, RwLock};

use self::library::Unusable;
use super::{error::Error, find::plugin_dir, platform};

pub use self::telemetry::disable_telemetry;

/// The name of its library.
const NAME: &str = "onnxruntime";

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
    *LOG.write() = Some((log, level));
    if let Some(runtime) = &*RUNTIME.lock() {
        runtime.environment.set_log_level(level);
    }
}

/// Passes a message on, if its level is asked for. ONNX Runtime's environment is made with the lowest level, before
/// another can be set.
pub fn log(level: LogLevel, message: &str) {
    let set = *LOG.read();
    if let Some((log, _)) = set.filter(|(_, least)| level >= *least) {
        log(level, message);
    }
}

/// The runtime, loaded if it is not yet.
///
/// # Errors
/// [`Error::RuntimeMissing`] or [`Error::RuntimeTooOld`]; the next call tries again.
pub fn get() -> Result<Runtime, Error> {
    let mut loaded = RUNTIME.lock();
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
        return vec![named(PathBuf::from(path))];
    }
    let plugin = plugin_dir();
    plugin
        .iter()
        .flat_map(|dir| NEAR.map(|near| dir.join(near)))
        .flat_map(|dir| libraries(&dir))
        .chain([platform::library(NAME).into()])
        .chain([platform::versioned(NAME, "1").into()])
        .chain(distributions())
        .collect()
}

/// What `ORT_DYLIB_PATH` means. A bare file name is for the loader, which does not look in the current folder: what
/// somebody left there is not run. Anything else is a file, seen from the current folder.
fn named(path: PathBuf) -> PathBuf {
    if path.file_name() == Some(path.as_os_str()) {
        return path;
    }
    std::path::absolute(&path).unwrap_or(path)
}

/// The names by which distributions install ONNX Runtime, newest first: Debian's are those of one minor version.
fn distributions() -> impl Iterator<Item = PathBuf> {
    let minors = (ort::MINOR_VERSION..ort::MINOR_VERSION + 20).rev();
    minors.map(|minor| platform::versioned(NAME, &format!("1.{minor}")).into())
}

/// The library without a version and those of a version 1 in a directory, in this order, newest version first.
fn libraries(dir: &Path) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Option<Vec<u32>> {
        let version = platform::version(NAME, path.file_name()?.to_str()?)?;
        if version.is_empty() {
            return Some(vec![u32::MAX]);
        }
        let numbers: Result<Vec<u32>, _> = version.split('.').map(str::parse).collect();
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
    disable_telemetry();
    let mut tried = Vec::new();
    let mut too_old = None;
    for candidate in candidates {
        // ort keeps the first library that it loads for good, and panics if that is not the right one: it gets none
        // that has not been examined.
        let library = match library::load(candidate) {
            Ok(library) => library,
            Err(Unusable::TooOld { path, version }) => {
                too_old = too_old.or(Some(Error::RuntimeTooOld {
                    path,
                    version,
                    needed: library::needed(),
                }));
                continue;
            }
            // One name says it for all.
            Err(Unusable::NotLoaded(_)) if distributions().any(|name| name == *candidate) => {
                continue;
            }
            Err(unusable) => {
                tried.push(format!("{}: {unusable}", candidate.display()));
                continue;
            }
        };
        let path = library.file.clone();
        let environment = ort::init_from(&path)
            .map_err(|error| error.to_string())
            .and_then(|builder| environment(builder).map_err(|error| error.to_string()));
        return match environment {
            Ok(environment) => Ok(Runtime { environment, path }),
            Err(cause) => Err(Error::RuntimeMissing {
                tried: vec![format!("{}: {cause}", path.display())],
            }),
        };
    }
    Err(too_old.unwrap_or(Error::RuntimeMissing { tried }))
}

fn environment(builder: EnvironmentBuilder) -> ort::Result<Environment> {
    let environment = builder
        .with_name("gst-instruments")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, category, _id, _location, message| {
            log(level, &format!("{category}: {message}"));
        }))
        .build()?;
    let set = *LOG.read();
    environment.set_log_level(set.map_or(LogLevel::Warning, |(_, level)| level));
    Ok(environment)
}

/// The runtime that `scripts/setup` fetched, unless the environment names another.
#[cfg(test)]
pub fn of_this_tree() -> Runtime {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        super::find::set_plugin_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.runtime")));
    }
    get().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_for_the_loader_and_a_path_is_a_file() {
        let here = env::current_dir().unwrap();
        for (path, expected) in [
            ("libonnxruntime.so", "libonnxruntime.so".into()),
            // A file of the current folder.
            ("Cargo.toml", "Cargo.toml".into()),
            ("./Cargo.toml", here.join("Cargo.toml")),
            ("lib/libonnxruntime.so", here.join("lib/libonnxruntime.so")),
            ("/lib/libonnxruntime.so", "/lib/libonnxruntime.so".into()),
        ] {
            assert_eq!(named(path.into()), expected, "{path}");
        }
    }

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
