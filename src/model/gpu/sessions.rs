// SPDX-License-Identifier: MPL-2.0
//! Sessions on a GPU: one for each size of batch, so that every shape is fixed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    ep,
    session::{Session, builder::SessionBuilder},
};

use super::{
    driver::{self, Gpu},
    engines::{self, Building, Engines, Key},
    fault,
    placement::{self, Placement},
};
use crate::model::{
    Error, Options, Precision, Progress, Provider,
    batch::{self, Lane},
    binding::Memory,
    card::Card,
    runtime::Runtime,
    session,
    verify::Layout,
};

/// The sizes of batches that there are sessions for; smaller batches are filled up.
const SIZES: [usize; 4] = [1, 8, 32, 128];

/// The name by which the plugin of TensorRT for RTX registers its provider, and by which it is registered here.
const RTX: &str = "NvTensorRTRTXExecutionProvider";
/// What the plugin needs and brings along, in the order of its own loading script.
const RTX_LIBRARIES: [&str; 3] = [
    "libcudart.so.13",
    "libtensorrt_rtx.so.1",
    "libtensorrt_onnxparser_rtx.so.1",
];

/// What a GPU session is made of.
pub struct Request<'a> {
    pub provider: Provider,
    pub path: &'a Path,
    pub card: &'a Card,
    pub layout: &'a Layout,
    pub options: &'a Options,
    pub runtime: &'a Runtime,
    /// Whether the GPU's work is recorded once and then replayed.
    pub graphs: bool,
}

/// What came of it.
pub struct Opened {
    pub lanes: Vec<Lane>,
    pub summary: Summary,
}

/// What can be said of a model on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub provider: Provider,
    pub gpu: Gpu,
    pub precision: Precision,
    /// Where the nodes of the first session went; those of the others go the same way.
    pub placement: Placement,
    /// What is wrong with the folder for engines.
    pub cache: Option<String>,
}

impl Summary {
    /// What the user should know though it works, each a sentence.
    pub fn notes(&self, model: &str) -> Vec<String> {
        let fallen_back = (!self.placement.cpu.is_empty()).then(|| {
            let operators: Vec<String> = self
                .placement
                .cpu
                .iter()
                .map(|(operator, count)| format!("{count} {operator}"))
                .collect();
            let nodes = self.placement.cpu_nodes();
            format!(
                "{nodes} of {} nodes of the model `{model}` run on the processor, since {} does not take them: {}",
                nodes + self.placement.gpu,
                self.provider.as_str(),
                operators.join(", ")
            )
        });
        fallen_back.into_iter().chain(self.cache.clone()).collect()
    }
}

/// `cuda (NVIDIA H200, fp16)`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (provider, precision) = (self.provider.as_str(), self.precision.as_str());
        write!(f, "{provider} ({}, {precision})", self.gpu)
    }
}

impl Request<'_> {
    /// Whether the GPU's work can be recorded and replayed: every shape must be fixed. TensorRT for RTX is left alone,
    /// its engines are made for the GPU's own launches.
    pub fn replays(&self) -> bool {
        let [least, _, most] = batch::lengths(self.card);
        let any_batch = self.layout.batches && self.layout.batch_symbols.is_empty();
        self.provider != Provider::TensorRtRtx && least == most && !any_batch
    }

    /// Opens one session for each size of batch.
    ///
    /// # Errors
    /// [`Error::ProviderMissing`] when a library, the driver or the GPU is not to be had, [`Error::Provider`] when the
    /// GPU cannot run the model.
    pub fn open(&self, progress: &mut dyn FnMut(Progress)) -> Result<Opened, Error> {
        let missing = |cause| self.provider.missing(cause);
        let library = self.provider.find_library(&self.runtime.path)?;
        let library = library.expect("a GPU's provider has a library");
        let gpu = driver::gpu(self.options.device).map_err(missing)?;
        if self.provider == Provider::TensorRtRtx {
            register_rtx(self.runtime, &library).map_err(missing)?;
        }
        let mut lanes = Vec::new();
        let mut summary = Summary {
            provider: self.provider,
            gpu,
            precision: self.precision(),
            placement: Placement::default(),
            cache: None,
        };
        let batch_size = self.options.batch_size_on(self.provider);
        let sizes = if self.layout.batches {
            sizes(batch_size)
        } else {
            vec![1]
        };
        for size in sizes {
            let building = self.engines(size, &summary.gpu, &library);
            let building = building.unwrap_or_else(|note| {
                summary.cache = Some(note);
                None
            });
            let announced = self.announcement(size, &summary.gpu, building.as_ref());
            if let Some(text) = &announced {
                progress(Progress::Started(text.clone()));
            }
            let session = self.session(size, building.as_ref().map(Building::path));
            if let Some(text) = announced {
                progress(match &session {
                    Ok(_) => Progress::Finished(text),
                    Err(error) => Progress::Failed(error.to_string()),
                });
            }
            let session = session?;
            if lanes.is_empty() {
                summary.placement =
                    Placement::of(&session).map_err(|error| self.refused(error.message()))?;
                if summary.placement.gpu == 0 {
                    return Err(self.refused("it takes none of the model's nodes"));
                }
            }
            let device = i32::try_from(self.options.device).unwrap_or(i32::MAX);
            let memory = Memory::gpu(&session, device, self.graphs)
                .map_err(|error| self.refused(error.message()))?;
            let engines = building.map(Building::finish);
            lanes.push(Lane::of(size, session, memory, engines));
        }
        Ok(Opened { lanes, summary })
    }

    /// TensorRT makes 16-bit floats of 32-bit ones; the others compute in what the file holds.
    fn precision(&self) -> Precision {
        let asked = self.options.precision;
        if self.provider == Provider::TensorRt
            && self.card.precision == Precision::Fp32
            && matches!(asked, Precision::Auto | Precision::Fp16)
        {
            return Precision::Fp16;
        }
        self.card.precision
    }

    fn refused(&self, message: &str) -> Error {
        Error::Provider {
            provider: self.provider.as_str(),
            path: self.path.into(),
            cause: fault::explain(message),
        }
    }

    fn session(&self, size: usize, engines: Option<&Path>) -> Result<Session, Error> {
        let refused = |error: ort::Error| self.refused(error.message());
        let mut builder = self.builder(size).map_err(refused)?;
        builder = self
            .register(builder, size, engines)
            // Here ONNX Runtime loads the provider's library and what that needs.
            .map_err(|error| self.provider.missing(fault::explain(error.message())))?;
        let mut builder = builder
            .with_execution_providers([session::processor()])
            .map_err(|error| refused(error.into()))?;
        builder.commit_from_file(self.path).map_err(refused)
    }

    /// Everything but the providers.
    fn builder(&self, size: usize) -> ort::Result<SessionBuilder> {
        let mut builder = session::builder(self.options, self.runtime)?
            .with_memory_pattern(true)?
            .with_config_entry(placement::RECORD, "1")?;
        if self.layout.batches {
            for symbol in &self.layout.batch_symbols {
                builder = builder.with_dimension_override(symbol, size as i64)?;
            }
        }
        Ok(builder)
    }

    /// The GPU's providers; what none of them takes is left to the processor.
    fn register(
        &self,
        builder: SessionBuilder,
        size: usize,
        engines: Option<&Path>,
    ) -> ort::Result<SessionBuilder> {
        let device = i32::try_from(self.options.device).unwrap_or(i32::MAX);
        let [least, usual, most] =
            batch::lengths(self.card).map(|length| self.shapes(size, length));
        let folder = engines.map(|path| path.display().to_string());
        let cuda = ep::CUDA::default()
            .with_device_id(device)
            .with_tf32(false)
            .with_cuda_graph(self.graphs && self.provider == Provider::Cuda)
            .build()
            .error_on_failure();
        match self.provider {
            Provider::TensorRt => {
                let mut tensorrt = ep::TensorRT::default()
                    .with_device_id(device)
                    .with_fp16(self.precision() == Precision::Fp16)
                    .with_int8(self.precision() == Precision::Int8)
                    .with_cuda_graph(self.graphs);
                if self.has_profiles() {
                    tensorrt = tensorrt
                        .with_profile_min_shapes(least)
                        .with_profile_opt_shapes(usual)
                        .with_profile_max_shapes(most);
                }
                if let Some(folder) = folder {
                    tensorrt = tensorrt
                        .with_engine_cache(true)
                        .with_engine_cache_path(&folder)
                        .with_timing_cache(true)
                        .with_timing_cache_path(&folder);
                }
                let tensorrt = tensorrt.build().error_on_failure();
                Ok(builder.with_execution_providers([tensorrt, cuda])?)
            }
            Provider::TensorRtRtx => {
                let mut options = Vec::new();
                if self.has_profiles() {
                    options.extend([
                        ("nv_profile_min_shapes", least),
                        ("nv_profile_opt_shapes", usual),
                        ("nv_profile_max_shapes", most),
                    ]);
                }
                options.extend(folder.map(|folder| ("nv_runtime_cache_path", folder)));
                let options: Vec<(String, String)> = options
                    .into_iter()
                    .map(|(name, value)| (format!("{RTX}.{name}"), value))
                    .collect();
                let gpu = self
                    .runtime
                    .environment
                    .devices()
                    .filter(|gpu| gpu.ep().is_ok_and(|name| name == RTX))
                    .nth(self.options.device as usize)
                    .ok_or_else(|| {
                        ort::Error::new(format!(
                            "it finds no GPU {device} of the kinds that it supports, which are RTX GPUs of compute capability 8.6, 8.9, and 12.0 or newer"
                        ))
                    })?;
                Ok(builder.with_devices([gpu], Some(&options))?)
            }
            _ => Ok(builder.with_execution_providers([cuda])?),
        }
    }

    /// Whether the inputs' names can be written in TensorRT's profiles; without them it goes by the graph's shapes.
    fn has_profiles(&self) -> bool {
        let mut names = self.layout.inputs.iter();
        names.all(|name| !name.contains([':', ',']))
    }

    /// The inputs with their shapes as TensorRT's profiles are written, e.g. `frame:8x260x260x3`.
    fn shapes(&self, size: usize, length: usize) -> String {
        let tensors = batch::inputs(self.card, self.layout, size, length);
        let inputs: Vec<String> = tensors
            .into_iter()
            .map(|tensor| {
                let lengths: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
                format!("{}:{}", tensor.name, lengths.join("x"))
            })
            .collect();
        inputs.join(",")
    }

    /// The folder of this session's engines; `None` for a provider that builds none.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn engines(&self, size: usize, gpu: &Gpu, library: &Path) -> Result<Option<Building>, String> {
        let tensorrt = match self.provider {
            Provider::TensorRt => "libnvinfer.so.10",
            Provider::TensorRtRtx => "libtensorrt_rtx.so.1",
            _ => return Ok(None),
        };
        let root = self.options.engine_cache.clone();
        let root = root.or_else(Engines::default_root).ok_or(
            "there is no folder for engines, so they are built each time: set `engine-cache`, XDG_CACHE_HOME or HOME",
        )?;
        let open = || {
            let key = Key {
                name: self.card.name.clone(),
                model: engines::sha256(self.path)?,
                shapes: batch::lengths(self.card)
                    .map(|length| self.shapes(size, length))
                    .join(" "),
                precision: self.precision().as_str().into(),
                provider: self.provider.as_str().into(),
                device: format!("{gpu} {}.{}", gpu.capability.0, gpu.capability.1),
                versions: format!(
                    "{}; {} {}; TensorRT {:?}; driver {}",
                    ort::info(),
                    self.provider.library().unwrap_or_default(),
                    engines::sha256(library)?,
                    driver::tensorrt_version(tensorrt),
                    gpu.driver,
                ),
            };
            Engines::open(&root, key)
        };
        open().map(Some).map_err(|error| {
            format!(
                "engines cannot be kept in {} ({error}), so they are built each time: set `engine-cache` to a folder that can be written",
                root.display()
            )
        })
    }

    /// What is said while an engine is built; `None` where none is.
    fn announcement(&self, size: usize, gpu: &Gpu, building: Option<&Building>) -> Option<String> {
        if self.provider == Provider::Cuda || building.is_some_and(Building::is_warm) {
            return None;
        }
        Some(format!(
            "building the {} engine of {} for batches of {size} on {gpu}, which can take minutes",
            self.provider.as_str(),
            self.card.name
        ))
    }
}

/// The sizes of batches up to the first that holds `most` items.
fn sizes(most: usize) -> Vec<usize> {
    let smaller = SIZES.into_iter().filter(|size| *size < most);
    let last = SIZES.into_iter().find(|size| *size >= most);
    smaller.chain([last.unwrap_or(most)]).collect()
}

/// Makes the plugin known to ONNX Runtime, once in a process.
fn register_rtx(runtime: &Runtime, library: &Path) -> Result<(), String> {
    static REGISTERED: Mutex<bool> = Mutex::new(false);
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if *registered {
        return Ok(());
    }
    for name in RTX_LIBRARIES {
        // Loaded before, they are found wherever they lie; what fails is said by what needs them.
        if let Some(path) = beside(library, name) {
            let _ = ort::util::preload_dylib(path);
        }
    }
    runtime
        .environment
        .register_ep_library(RTX, library)
        .map_err(|error| fault::explain(error.message()))?;
    *registered = true;
    Ok(())
}

/// The file of that name, or of a version of it, in the directory of `library`.
fn beside(library: &Path, name: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(library.parent()?)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .and_then(|file| file.strip_prefix(name))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_reach_the_largest_batch() {
        for (most, expected) in [
            (1, &[1][..]),
            (2, &[1, 8]),
            (8, &[1, 8]),
            (9, &[1, 8, 32]),
            (128, &[1, 8, 32, 128]),
            (200, &[1, 8, 32, 128, 200]),
        ] {
            assert_eq!(sizes(most), expected, "{most}");
        }
    }

    #[test]
    fn what_fell_back_is_said_with_its_operators() {
        let mut summary = Summary {
            provider: Provider::Cuda,
            gpu: Gpu {
                name: "NVIDIA Test".into(),
                capability: (9, 0),
                driver: 13_000,
            },
            precision: Precision::Fp16,
            placement: Placement {
                cpu: [("Gather", 2), ("Shape", 1)]
                    .map(|(operator, count)| (operator.to_owned(), count))
                    .into(),
                gpu: 90,
            },
            cache: None,
        };
        assert_eq!(summary.to_string(), "cuda (NVIDIA Test, fp16)");
        assert_eq!(
            summary.notes("choi"),
            [
                "3 of 93 nodes of the model `choi` run on the processor, since cuda does not take them: 2 Gather, 1 Shape"
            ]
        );
        summary.placement.cpu.clear();
        assert!(summary.notes("choi").is_empty());
    }

    #[test]
    fn libraries_are_found_with_their_versions() {
        let dir = std::env::temp_dir().join(format!("instruments-rtx-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ["libcudart.so.13.4.36", "libcudart.so.130", "provider.so"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let library = dir.join("provider.so");
        let found = beside(&library, "libcudart.so.13");
        assert_eq!(found, Some(dir.join("libcudart.so.13.4.36")));
        assert_eq!(beside(&library, "libtensorrt_rtx.so.1"), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
