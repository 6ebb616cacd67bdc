// SPDX-License-Identifier: MPL-2.0
//! What models compute in.

use super::names::names;

/// Hands the precisions to the macro `$with`, as [`with_providers`](super::provider::with_providers) does the providers.
macro_rules! with_precisions {
    ($with:ident) => {
        $with! { model Precision, "GstInstrumentsPrecision", "Number format that a model computes in, which selects the model's file: `NAME.onnx`, `NAME.fp16.onnx` or `NAME.int8.onnx`.":
            Auto = "auto", "The fastest for the provider: int8 on the CPU and fp16 on a GPU if the model has it, else fp32";
            Fp32 = "fp32", "32-bit floats";
            Fp16 = "fp16", "16-bit floats";
            Int8 = "int8", "8-bit integers";
        }
    };
}
with_precisions!(names);
pub(crate) use with_precisions;
