// SPDX-License-Identifier: MPL-2.0
//! Files from outside. Only regular ones are read: others may never end, or never even open. An ONNX file is told from
//! other files and from half a one, of which ONNX Runtime's loader says only that it cannot be parsed.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::model::error::Error;

/// The largest sidecar or labels file in bytes.
const TEXT: u64 = 1_000_000;

/// Opens a regular file.
///
/// # Errors
/// [`Error::Unreadable`].
fn open(path: &Path) -> Result<File, Error> {
    let open = || {
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        File::open(path)
    };
    open().map_err(|error| unreadable(path, &error))
}

/// Reads a regular file of text of at most 1 MB, without the byte order mark that some editors put first.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = open(path)?.take(TEXT + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 <= TEXT => {
            Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
        }
        Ok(_) => Err(unreadable(path, "it is larger than 1 MB")),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// That a file cannot be read.
fn unreadable(path: &Path, cause: impl ToString) -> Error {
    Error::Unreadable {
        path: path.into(),
        cause: cause.to_string(),
    }
}

/// The field number of `ModelProto.ir_version`, which comes first.
const IR_VERSION: u64 = 1;
/// The field number of `ModelProto.graph`.
const GRAPH: u64 = 7;
/// The largest field number of protobuf.
const LAST_FIELD: u64 = (1 << 29) - 1;

/// Walks the top-level fields of the file's `ModelProto` without reading what they hold. Fields that a later ONNX adds
/// are skipped.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::NotOnnx`] or [`Error::Truncated`].
pub fn check(path: &Path) -> Result<(), Error> {
    let unreadable = |error: io::Error| unreadable(path, error);
    let not_onnx = |cause: String| Error::NotOnnx {
        path: path.into(),
        cause,
    };
    let file = open(path)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        return Err(not_onnx("it is empty".into()));
    }
    let mut reader = BufReader::new(file);
    let (mut version, mut graph) = (false, false);
    loop {
        let at = reader.stream_position().map_err(unreadable)?;
        if at == length {
            break;
        }
        let no_field = || {
            not_onnx(format!(
                "at byte {at} there is no valid field of an ONNX model"
            ))
        };
        // Bytes that only happen to look like a field say nothing of the file's length.
        let truncated = |version: bool, expected: u64| {
            if !version {
                return no_field();
            }
            Error::Truncated {
                path: path.into(),
                expected,
                actual: length,
            }
        };
        let Some(tag) = varint(&mut reader) else {
            return Err(truncated(version, length + 1));
        };
        let (field, wire) = (tag >> 3, tag & 7);
        if !(1..=LAST_FIELD).contains(&field) {
            return Err(no_field());
        }
        let skipped = match wire {
            0 => varint(&mut reader).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut reader),
            5 => Some(4),
            _ => return Err(no_field()),
        };
        version |= (field, wire) == (IR_VERSION, 0);
        graph |= (field, wire) == (GRAPH, 2);
        let here = reader.stream_position().map_err(unreadable)?;
        let end = skipped.map_or(length + 1, |skipped| here.saturating_add(skipped));
        if end > length {
            return Err(truncated(version, end));
        }
        reader.seek(SeekFrom::Start(end)).map_err(unreadable)?;
    }
    if graph {
        Ok(())
    } else {
        Err(not_onnx("it contains no graph".into()))
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

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn fields_of_a_later_onnx_are_skipped() {
        let path = env::temp_dir().join(format!("instruments-onnx-{}", std::process::id()));
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            check(&path)
        };
        // ir_version, a graph of two bytes, and the fields 27 (length), 300 (8 bytes) and 301 (4 bytes).
        let later = [
            &[0x08, 0x0a, 0x3a, 0x02, 0x00, 0x00][..],
            &[0xda, 0x01, 0x01, 0xff, 0xe1, 0x12],
            &[0; 8],
            &[0xed, 0x12],
            &[0; 4],
        ]
        .concat();
        assert_eq!(check(&later), Ok(()));
        let expected = later.len() as u64;
        let truncated = |actual| Error::Truncated {
            path: path.clone(),
            expected,
            actual,
        };
        let cut = later.len() - 3;
        assert_eq!(check(&later[..cut]), Err(truncated(cut as u64)));
        // Text whose first letters look like fields: `h` is field 13, `i` field 13 of 8 bytes.
        for text in ["hello", "ink"] {
            assert!(
                matches!(check(text.as_bytes()), Err(Error::NotOnnx { .. })),
                "{text}"
            );
        }
        fs::remove_file(path).unwrap();
    }
}
