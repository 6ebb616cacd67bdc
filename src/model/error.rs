// SPDX-License-Identifier: MPL-2.0
//! What can go wrong with a model, each as one sentence that names the thing, the value and what to do.

use std::{path::PathBuf, time::Duration};

/// Why a model could not be opened or run. Every error may be tried again: nothing is remembered of a
/// failed attempt, so a runtime or a model installed meanwhile is found by the next one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No ONNX Runtime library could be loaded, or none that has the interface used here.
    #[error(
        "no usable ONNX Runtime was found ({}); install it (for example `pip install onnxruntime`) and set \
         ORT_DYLIB_PATH to its libonnxruntime.so", .tried.join("; ")
    )]
    RuntimeMissing {
        /// What was tried, each with its cause.
        tried: Vec<String>,
    },

    /// An ONNX Runtime library was found, but it is older than the interface used here.
    #[error(
        "the ONNX Runtime {version} at {} is too old; install version {needed} or newer (for example \
         `pip install --upgrade onnxruntime`) and set ORT_DYLIB_PATH to its libonnxruntime.so", .path.display()
    )]
    RuntimeTooOld {
        /// The library.
        path: PathBuf,
        /// The version it reports.
        version: String,
        /// The oldest version that works.
        needed: String,
    },

    /// No model of that name was found.
    #[error(
        "the model `{name}` was not found{}; give a path, or set GST_INSTRUMENTS_MODEL_PATH to its directory",
        .looked.iter().map(|path| format!(", not at {}", path.display())).collect::<String>()
    )]
    ModelNotFound {
        /// The name as it was asked for.
        name: String,
        /// The files that were looked for.
        looked: Vec<PathBuf>,
    },

    /// The model has no file for the requested precision.
    #[error(
        "the model `{name}` cannot run in {precision} on {provider}, there is only {}; use precision=auto",
        .there.join(", ")
    )]
    PrecisionMissing {
        /// The name as it was asked for.
        name: String,
        /// The precision as it was asked for, e.g. `int8`.
        precision: &'static str,
        /// What would run it.
        provider: &'static str,
        /// The precisions with a file.
        there: Vec<&'static str>,
    },

    /// The file cannot be read.
    #[error("{} cannot be read: {cause}; check the path and its permissions", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },

    /// The file is something else than an ONNX model.
    #[error("{} is not an ONNX model: {cause}; give the path of a .onnx file", .path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        cause: String,
    },

    /// The file ends in the middle of the model.
    #[error(
        "{} is truncated: it has {actual} of at least {expected} bytes; copy or download it again", .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the file's own lengths call for.
        expected: u64,
        /// Bytes in the file.
        actual: u64,
    },

    /// ONNX Runtime refuses the model.
    #[error(
        "ONNX Runtime cannot load {}: {cause}; check the file with onnx.checker, or export it again", .path.display()
    )]
    Load {
        /// The file.
        path: PathBuf,
        /// What ONNX Runtime says.
        cause: String,
    },

    /// The model does not say what it is.
    #[error(
        "{} does not describe itself: its metadata has no `instruments.version` and there is no {} with a section \
         [instruments]; add one of the two", .path.display(), .sidecar.display()
    )]
    CardMissing {
        /// The model.
        path: PathBuf,
        /// The file that could describe it instead.
        sidecar: PathBuf,
    },

    /// The model's description is incomplete or holds a value that means nothing.
    #[error("the description of {}: {problem}", .path.display())]
    Card {
        /// The model.
        path: PathBuf,
        /// Key, value and what is allowed.
        problem: String,
    },

    /// The description says something else than the graph.
    #[error("the description of {} contradicts its graph: {card}, but {graph}; correct the one that is wrong", .path.display())]
    CardContradictsGraph {
        /// The model.
        path: PathBuf,
        /// What the description says.
        card: String,
        /// What the graph has.
        graph: String,
    },

    /// There are more or fewer labels than outputs.
    #[error(
        "{labels} labels in {source_name} do not match the {tags} values of the output `tags` of {}; give one label for each value",
        .path.display()
    )]
    Labels {
        /// The model.
        path: PathBuf,
        /// Where the labels come from.
        source_name: String,
        /// How many labels there are.
        labels: usize,
        /// How many values the output has.
        tags: usize,
    },

    /// An input of another kind or size than the model takes.
    #[error("the model `{model}` takes {expected}, not {actual}")]
    WrongInput {
        /// The model's name.
        model: String,
        /// What it takes.
        expected: String,
        /// What it was given.
        actual: String,
    },

    /// An embedding of another space than the fusion model was trained on.
    #[error(
        "the model `{model}` was trained on {source_name} embeddings `{expected}`, not `{actual}`; use the models that belong together"
    )]
    WrongEmbedding {
        /// The fusion model's name.
        model: String,
        /// `video` or `audio`.
        source_name: &'static str,
        /// Id and size of the space that it was trained on.
        expected: String,
        /// Id and size of the space that was offered.
        actual: String,
    },

    /// The model gave a value that is no number.
    #[error(
        "the model `{model}` gave {value} in its output `{output}` (element {index}); check the model and its input"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// The output's name.
        output: &'static str,
        /// Which element.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },

    /// An execution provider that was asked for by name is unavailable.
    #[error(
        "the execution provider `{provider}` is not available: {cause}; it needs {library}, from {package}; install it, or use \
         `auto` or `cpu`"
    )]
    ProviderMissing {
        /// The provider as it is asked for, e.g. `cuda`.
        provider: &'static str,
        /// The provider's shared library.
        library: String,
        /// What holds that library.
        package: &'static str,
        /// What is missing, or what ONNX Runtime says.
        cause: String,
    },

    /// An execution provider is available, but cannot run a model that the CPU can.
    #[error("the execution provider `{provider}` cannot run {}: {cause}", .path.display())]
    Provider {
        /// The provider as it is asked for, e.g. `cuda`.
        provider: &'static str,
        /// The model.
        path: PathBuf,
        /// What ONNX Runtime says, and what to do.
        cause: String,
    },

    /// The request was cancelled, or its model closed, before there was an answer.
    #[error("the request to the model `{model}` was cancelled")]
    Cancelled {
        /// The model's name.
        model: String,
    },

    /// A newer request of the same user took the place of this one.
    #[error("a newer request to the model `{model}` took the place of this one")]
    Superseded {
        /// The model's name.
        model: String,
    },

    /// Opening or running the model took too long.
    #[error(
        "the model `{model}` did not finish within {} s and was stopped; raise `timeout`, give it more `threads`, or \
         choose a smaller model", .limit.as_secs_f64()
    )]
    TimedOut {
        /// The model's name.
        model: String,
        /// The time limit.
        limit: Duration,
    },

    /// An option is beyond what is possible.
    #[error("`{name}` is {value}; use at most {most}")]
    Limit {
        /// The option's name as a property.
        name: String,
        /// Its value.
        value: usize,
        /// The largest that is possible.
        most: usize,
    },

    /// Inference failed.
    #[error("the model `{model}` failed: {cause}")]
    Run {
        /// The model's name.
        model: String,
        /// What ONNX Runtime says.
        cause: String,
    },
}
