// SPDX-License-Identifier: MPL-2.0
//! Tells an ONNX file from other files and from half a one, which ONNX Runtime's loader does not.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::Error;

/// Largest field number of `ModelProto` (onnx.proto: `configuration` = 26).
const LAST_FIELD: u64 = 26;
/// The field number of `ModelProto.graph`.
const GRAPH: u64 = 7;

/// Walks the top-level fields of the file's `ModelProto` without reading what they hold.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::NotOnnx`] or [`Error::Truncated`].
pub fn check(path: &Path) -> Result<(), Error> {
    let unreadable = |error: std::io::Error| Error::Unreadable {
        path: path.into(),
        cause: error.to_string(),
    };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let not_onnx = |cause: &str| Error::NotOnnx {
        path: path.into(),
        cause: cause.into(),
    };
    if length == 0 {
        return Err(not_onnx("it is empty"));
    }
    let mut reader = BufReader::new(file);
    let mut graph = false;
    loop {
        let at = reader.stream_position().map_err(unreadable)?;
        if at == length {
            break;
        }
        let truncated = |expected| Error::Truncated {
            path: path.into(),
            expected,
            actual: length,
        };
        let Some(tag) = varint(&mut reader) else {
            return Err(truncated(length + 1));
        };
        let (field, wire) = (tag >> 3, tag & 7);
        if field == 0 || field > LAST_FIELD || !matches!(wire, 0 | 2) {
            return Err(not_onnx(&format!(
                "byte {at} begins no field of an ONNX model"
            )));
        }
        let Some(value) = varint(&mut reader) else {
            return Err(truncated(length + 1));
        };
        if wire == 2 {
            let end = reader
                .stream_position()
                .map_err(unreadable)?
                .saturating_add(value);
            if end > length {
                return Err(truncated(end));
            }
            reader.seek(SeekFrom::Start(end)).map_err(unreadable)?;
        }
        graph |= field == GRAPH;
    }
    if graph {
        Ok(())
    } else {
        Err(not_onnx("it holds no graph"))
    }
}

/// A protobuf variable-length integer; `None` where the file ends or it is longer than 64 bits.
fn varint(reader: &mut impl Read) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte).ok()?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
