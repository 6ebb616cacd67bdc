// SPDX-License-Identifier: MPL-2.0
//! Where models and the ONNX Runtime library are looked for.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use super::{Error, Precision, Provider};

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

/// The files of a model, of which [`pick`](Self::pick) chooses one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The name or path that was asked for.
    name: String,
    /// What each computes in; `Auto` for a file that was given by its path and is taken as it is.
    files: Vec<(Precision, PathBuf)>,
}

impl Files {
    /// The name or path that was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of them, at least one.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }

    /// The file to run on `provider`. With [`Precision::Auto`] the one that is fastest there; otherwise the one that
    /// computes in `precision`, or that the provider can make do so.
    ///
    /// # Errors
    /// [`Error::PrecisionMissing`].
    pub fn pick(&self, provider: Provider, precision: Precision) -> Result<&Path, Error> {
        use Precision::{Auto, Fp16, Fp32, Int8};
        let order: &[Precision] = match (precision, provider) {
            (Auto, Provider::Cpu) => &[Auto, Int8, Fp32, Fp16],
            (Auto, _) => &[Auto, Fp16, Fp32, Int8],
            (Fp16, Provider::TensorRt) => &[Auto, Fp16, Fp32],
            (asked, _) => &[Auto, asked],
        };
        let find = |wanted: &Precision| self.files.iter().find(|(has, _)| has == wanted);
        match order.iter().find_map(find) {
            Some((_, path)) => Ok(path),
            None => Err(Error::PrecisionMissing {
                name: self.name.clone(),
                precision: precision.as_str(),
                provider: provider.as_str(),
                there: self.files.iter().map(|(has, _)| has.as_str()).collect(),
            }),
        }
    }
}

/// What a file computes in, by its name: `NAME.fp16.onnx`, `NAME.int8.onnx`, otherwise fp32.
pub fn precision(path: &Path) -> Precision {
    let stem = path.file_stem().map(Path::new).and_then(Path::extension);
    match stem.and_then(OsStr::to_str) {
        Some("fp16") => Precision::Fp16,
        Some("int8") => Precision::Int8,
        _ => Precision::Fp32,
    }
}

/// The files of a model: a path (it has a `/` or ends with `.onnx`) is taken as it is; a name is looked for as
/// `NAME.onnx`, `NAME.fp16.onnx` and `NAME.int8.onnx` in the directories of `GST_INSTRUMENTS_MODEL_PATH`, then in
/// `models`, `../models`, `../../models`, `../../share/gst-instruments/models` and
/// `../../../share/gst-instruments/models` from the plugin. The first directory that has any of them counts.
///
/// # Errors
/// [`Error::ModelNotFound`] with the files that were looked for.
pub fn model(name: &str) -> Result<Files, Error> {
    let path_variable = env::var_os(MODEL_PATH).unwrap_or_default();
    model_in(name, &path_variable, plugin_dir().as_deref())
}

fn model_in(name: &str, path_variable: &OsStr, plugin: Option<&Path>) -> Result<Files, Error> {
    let found = |files| Files {
        name: name.into(),
        files,
    };
    let not_found = |looked| Error::ModelNotFound {
        name: name.into(),
        looked,
    };
    if name.contains('/') || name.ends_with(".onnx") {
        let path = PathBuf::from(name);
        // That it is a regular file is found out when it is opened.
        return if path.exists() {
            Ok(found(vec![(Precision::Auto, path)]))
        } else {
            Err(not_found(vec![path]))
        };
    }
    let near = [
        "models",
        "../models",
        "../../models",
        "../../share/gst-instruments/models",
        // The plugin in a folder of its architecture, as on Debian.
        "../../../share/gst-instruments/models",
    ];
    let mut looked = Vec::new();
    for dir in env::split_paths(path_variable)
        .filter(|dir| !dir.as_os_str().is_empty())
        .chain(
            plugin
                .into_iter()
                .flat_map(|plugin| near.iter().map(|dir| plugin.join(dir))),
        )
    {
        let files: Vec<_> = ["", ".fp16", ".int8"]
            .map(|variant| dir.join(format!("{name}{variant}.onnx")))
            .into_iter()
            .filter(|path| path.is_file())
            .map(|path| (precision(&path), path))
            .collect();
        if !files.is_empty() {
            return Ok(found(files));
        }
        looked.push(dir.join(format!("{name}.onnx")));
    }
    Err(not_found(looked))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(test: &str, files: &[&str]) -> PathBuf {
        let dir = env::temp_dir().join(format!("instruments-find-{}-{test}", std::process::id()));
        for file in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_name_is_found_in_the_path_variable_before_the_plugins_surroundings() {
        let files = ["a/x.onnx", "models/x.onnx", "models/y.onnx", "z.onnx"];
        let dir = directory("model", &files);
        let plugin = dir.join("target/debug");
        fs::create_dir_all(&plugin).unwrap();
        let variable = env::join_paths(["", "/nowhere", dir.join("a").to_str().unwrap()]).unwrap();
        let find = |name: &str| {
            let files = model_in(name, &variable, Some(&plugin))?;
            files
                .pick(Provider::Cpu, Precision::Auto)
                .map(Path::to_owned)
        };
        assert_eq!(find("x"), Ok(dir.join("a/x.onnx")));
        assert_eq!(find("y"), Ok(plugin.join("../../models/y.onnx")));
        let direct = dir.join("z.onnx").to_str().unwrap().to_owned();
        assert_eq!(find(&direct), Ok(direct.into()));
        // A name is not looked for in the current directory.
        let Err(Error::ModelNotFound { looked, .. }) = find("z") else {
            panic!("{:?}", find("z"));
        };
        assert_eq!(looked.len(), 7);
        assert_eq!(looked[0], Path::new("/nowhere/z.onnx"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_name_is_the_file_that_suits_the_provider_and_the_precision() {
        use Precision::{Auto, Fp16, Fp32, Int8};
        let all = ["m.onnx", "m.fp16.onnx", "m.int8.onnx"];
        let dir = directory(
            "variants",
            &[
                "all/m.onnx",
                "all/m.fp16.onnx",
                "all/m.int8.onnx",
                "plain/m.onnx",
                "small/m.int8.onnx",
            ],
        );
        let pick = |folder: &str, name: &str, provider, precision| {
            let files = model_in(name, dir.join(folder).as_os_str(), None)?;
            let path = files.pick(provider, precision)?;
            Ok(path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        for (provider, precision, expected) in [
            (Provider::Cpu, Auto, all[2]),
            (Provider::Cuda, Auto, all[1]),
            (Provider::TensorRt, Auto, all[1]),
            (Provider::Cpu, Fp32, all[0]),
            (Provider::Cpu, Fp16, all[1]),
            (Provider::Cuda, Fp32, all[0]),
            (Provider::Cuda, Int8, all[2]),
        ] {
            let picked = pick("all", "m", provider, precision);
            assert_eq!(picked, Ok(expected.into()), "{provider:?} {precision:?}");
        }
        let (cpu, trt) = (Provider::Cpu, Provider::TensorRt);
        assert_eq!(pick("plain", "m", cpu, Auto), Ok(all[0].into()));
        assert_eq!(pick("plain", "m", trt, Fp16), Ok(all[0].into()));
        assert_eq!(pick("small", "m", trt, Auto), Ok(all[2].into()));
        let missing: Result<String, Error> = pick("plain", "m", cpu, Int8);
        let message = missing.unwrap_err().to_string();
        assert!(
            message.contains("`m` cannot run in int8 on cpu, there is only fp32"),
            "{message}"
        );
        let path = dir.join("plain/m.onnx");
        let as_it_is = pick("", path.to_str().unwrap(), cpu, Int8);
        assert_eq!(as_it_is, Ok(all[0].into()));
        fs::remove_dir_all(dir).unwrap();
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
        let dir = directory("libraries", &files);
        let names = [files[5], files[1], files[0]].map(|name| dir.join(name));
        assert_eq!(libraries(&dir), names);
        fs::remove_dir_all(dir).unwrap();
    }
}
