// SPDX-License-Identifier: MPL-2.0
//! Sessions on an accelerator: one for each size of batch, so that every shape is fixed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use ort::session::{Session, builder::SessionBuilder};

use super::{
    batch::{self, Lane},
    engines::{self, Building, Engines, Key},
    placement::{self, Placement},
};
use crate::model::{
    card::{Card, Layout},
    error::Error,
    options::{Options, Progress},
    provider::{Device, Precision, Provider, Setup},
    runtime::Runtime,
};

/// The batch sizes with a session; smaller batches are padded.
const SIZES: [usize; 4] = [1, 8, 32, 128];

/// Why engines are not kept: a sentence for the user.
#[derive(Debug, thiserror::Error)]
enum NoCache {
    #[error(
        "there is no folder for engines, so they are built at each start: set `engine-cache`, XDG_CACHE_HOME or HOME"
    )]
    NoFolder,
    #[error(
        "engines cannot be stored in {} ({cause}), so they are built at each start: set `engine-cache` to a writable folder",
        .root.display()
    )]
    Unusable { root: PathBuf, cause: io::Error },
}

/// What the sessions are made of.
pub struct Accelerator<'a> {
    pub provider: Provider,
    pub path: &'a Path,
    pub card: &'a Card,
    pub layout: &'a Layout,
    pub options: &'a Options,
    pub runtime: &'a Runtime,
    /// Whether the device's work is recorded once and then replayed.
    pub replay: bool,
}

/// The sessions, from the smallest batch to the largest.
pub struct Opened {
    pub lanes: Vec<Lane>,
    pub summary: Summary,
}

/// What can be said of a model on an accelerator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub provider: Provider,
    /// The device's name.
    pub device: String,
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
                "{nodes} of {} nodes of the model `{model}` run on the CPU, because {} does not support them: {}",
                nodes + self.placement.accelerator,
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
        write!(f, "{provider} ({}, {precision})", self.device)
    }
}

impl Accelerator<'_> {
    /// Whether the device's work can be recorded and replayed: every shape must be fixed.
    pub fn replays(&self) -> bool {
        let [least, _, most] = batch::lengths(self.card);
        let any_batch = self.layout.batches && self.layout.batch_symbols.is_empty();
        self.provider.backend().facts().replays && least == most && !any_batch
    }

    /// Opens one session for each size of batch.
    ///
    /// # Errors
    /// [`Error::ProviderMissing`] when a library, the driver or the device is unavailable, [`Error::Provider`] when the
    /// device cannot run the model.
    pub fn open(&self, progress: &dyn Fn(Progress)) -> Result<Opened, Error> {
        let backend = self.provider.backend();
        let library = self.provider.find_library(&self.runtime.path)?;
        let device = backend
            .device(self.options.device)
            .map_err(|error| self.provider.missing(error))?;
        let mut lanes = Vec::new();
        let mut summary = Summary {
            provider: self.provider,
            device: device.name.clone(),
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
            let building = self.engines(size, &device, library.as_deref());
            let building = building.unwrap_or_else(|note| {
                summary.cache = Some(note.to_string());
                None
            });
            let setup = self.setup(size, building.as_ref());
            let announced = self.announcement(size, &device, building.as_ref());
            if let Some(text) = &announced {
                progress(Progress::Started(text.clone()));
            }
            let session = self.session(size, &setup);
            if let Some(text) = announced {
                progress(match &session {
                    Ok(_) => Progress::Finished(text),
                    Err(error) => Progress::Failed(error.to_string()),
                });
            }
            let session = session?;
            let refused = |error: ort::Error| self.refused(error.message());
            if lanes.is_empty() {
                summary.placement = Placement::of(&session).map_err(refused)?;
                if summary.placement.accelerator == 0 {
                    return Err(self.refused("it supports none of the model's nodes"));
                }
            }
            let memory = backend.memory(&session, &setup).map_err(refused)?;
            let engines = building.map(Building::finish);
            lanes.push(Lane::of(size, session, memory, engines));
        }
        Ok(Opened { lanes, summary })
    }

    /// What the sessions compute in.
    fn precision(&self) -> Precision {
        let asked = self.options.precision;
        if self.provider.backend().facts().makes_half_floats
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
            cause: self.provider.backend().explain(message),
        }
    }

    fn session(&self, size: usize, setup: &Setup) -> Result<Session, Error> {
        let refused = |error: ort::Error| self.refused(error.message());
        let backend = self.provider.backend();
        let builder = self.builder(size).map_err(refused)?;
        let builder = backend
            .register(builder, setup)
            // Here ONNX Runtime loads the provider's library and what that needs.
            .map_err(|error| self.provider.missing(backend.explain(error.message())))?;
        let mut builder = builder
            .with_execution_providers([super::cpu_provider()])
            .map_err(|error| refused(error.into()))?;
        builder.commit_from_file(self.path).map_err(refused)
    }

    /// Everything but the providers.
    fn builder(&self, size: usize) -> ort::Result<SessionBuilder> {
        let mut builder = super::builder(self.options, self.runtime)?
            .with_memory_pattern(true)?
            .with_config_entry(placement::RECORD, "1")?;
        if self.layout.batches {
            for symbol in &self.layout.batch_symbols {
                builder = builder.with_dimension_override(symbol, size as i64)?;
            }
        }
        Ok(builder)
    }

    fn setup(&self, size: usize, engines: Option<&Building>) -> Setup {
        // In TensorRT's profiles these separate the names from the shapes.
        let writable = |name: &String| !name.contains([':', ',']);
        Setup {
            device: self.options.device,
            precision: self.precision(),
            shapes: (self.layout.inputs.iter().all(writable)).then(|| self.shapes(size)),
            engines: engines.map(|building| building.path().display().to_string()),
            replay: self.replay,
        }
    }

    /// The inputs with their shapes, at least, as a rule and at most, e.g. `frame:8x260x260x3`.
    fn shapes(&self, size: usize) -> [String; 3] {
        batch::lengths(self.card).map(|length| {
            let tensors = batch::inputs(self.card, self.layout, size, length);
            let inputs: Vec<String> = tensors
                .into_iter()
                .map(|tensor| {
                    let lengths: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
                    format!("{}:{}", tensor.name, lengths.join("x"))
                })
                .collect();
            inputs.join(",")
        })
    }

    /// The folder of this session's engines; `None` for a provider that builds none.
    ///
    /// # Errors
    /// [`NoCache`].
    fn engines(
        &self,
        size: usize,
        device: &Device,
        library: Option<&Path>,
    ) -> Result<Option<Building>, NoCache> {
        if !self.provider.backend().facts().builds_engines {
            return Ok(None);
        }
        let root = self.options.engine_cache.clone();
        let root = root
            .or_else(Engines::default_root)
            .ok_or(NoCache::NoFolder)?;
        let open = || {
            let library = match library {
                Some(library) => engines::sha256(library)?,
                None => String::new(),
            };
            let key = Key {
                name: self.card.name.clone(),
                model: engines::sha256(self.path)?,
                shapes: self.shapes(size).join(" "),
                precision: self.precision().as_str().into(),
                provider: self.provider.as_str().into(),
                device: device.kind.clone(),
                versions: format!("{}; provider {library}; {}", ort::info(), device.versions),
            };
            Engines::open(&root, key)
        };
        open()
            .map(Some)
            .map_err(|cause| NoCache::Unusable { root, cause })
    }

    /// What is said while an engine is built; `None` where none is.
    fn announcement(
        &self,
        size: usize,
        device: &Device,
        building: Option<&Building>,
    ) -> Option<String> {
        let builds = self.provider.backend().facts().builds_engines;
        if !builds || building.is_some_and(Building::is_warm) {
            return None;
        }
        Some(format!(
            "building the {} engine of {} for batches of {size} on {}, which can take minutes",
            self.provider.as_str(),
            self.card.name,
            device.name
        ))
    }
}

/// The sizes of batches up to the first that holds `most` items.
fn sizes(most: usize) -> Vec<usize> {
    let smaller = SIZES.into_iter().filter(|size| *size < most);
    let last = SIZES.into_iter().find(|size| *size >= most);
    smaller.chain([last.unwrap_or(most)]).collect()
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
            device: "NVIDIA Test".into(),
            precision: Precision::Fp16,
            placement: Placement {
                cpu: [("Gather", 2), ("Shape", 1)]
                    .map(|(operator, count)| (operator.to_owned(), count))
                    .into(),
                accelerator: 90,
            },
            cache: None,
        };
        assert_eq!(summary.to_string(), "cuda (NVIDIA Test, fp16)");
        assert_eq!(
            summary.notes("choi"),
            [
                "3 of 93 nodes of the model `choi` run on the CPU, because cuda does not support them: 2 Gather, 1 Shape"
            ]
        );
        summary.placement.cpu.clear();
        assert!(summary.notes("choi").is_empty());
    }
}
