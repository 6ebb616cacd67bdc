// SPDX-License-Identifier: MPL-2.0

use gstinstruments::model::internals::check_onnx;

use super::{Scratch, assert_names};

/// `data` as a model file: what is accepted is complete, so that a byte less is refused.
pub fn onnx(data: &[u8]) {
    let file = Scratch::new("onnx.onnx", data);
    match check_onnx(file.path()) {
        Err(error) => assert_names(&error, file.path()),
        Ok(()) => {
            let cut = data.len() - 1;
            let cut = Scratch::new("onnx-cut.onnx", &data[..cut]);
            assert!(check_onnx(cut.path()).is_err(), "half a field was accepted");
        }
    }
}
