// SPDX-License-Identifier: MPL-2.0
//! What models compute in.

/// What a model computes in, and so which of a name's files is run: `NAME.onnx`, `NAME.fp16.onnx` or `NAME.int8.onnx`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The fastest for the provider: int8 on the CPU and fp16 on a GPU, where the model has such a file.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// The name that users give: `auto`, `fp32`, `fp16` or `int8`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}
