// SPDX-License-Identifier: MPL-2.0
//! Where models are looked for.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;

use super::{
    error::Error,
    provider::{Precision, Provider},
};

/// The folder of the plugin's file: models and ONNX Runtime are looked for beside it.
static PLUGIN_DIR: RwLock<Option<PathBuf>> = RwLock::new(None);

/// Sets the folder of the plugin's file.
pub fn set_plugin_dir(dir: &Path) {
    *PLUGIN_DIR.write() = Some(dir.into());
}

/// The folder of the plugin's file, once it is known.
pub fn plugin_dir() -> Option<PathBuf> {
    PLUGIN_DIR.read().clone()
}

/// The directories of models, separated by `:`.
const MODEL_PATH: &str = "GST_INSTRUMENTS_MODEL_PATH";

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
        use Precision::{Auto, Fp16, Fp32};
        let facts = provider.backend().facts();
        let order = match precision {
            Auto => facts.precisions.to_vec(),
            Fp16 if facts.makes_half_floats => vec![Fp16, Fp32],
            asked => vec![asked],
        };
        let order = [Auto].into_iter().chain(order);
        let mut files =
            order.filter_map(|wanted| self.files.iter().find(|(has, _)| *has == wanted));
        match files.next() {
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

#[cfg(test)]
mod tests {
    use std::fs;

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
}
