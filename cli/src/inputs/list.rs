// SPDX-License-Identifier: MPL-2.0

//! The lines of a list, in whatever encoding it is. Knows no files.

use std::io::{self, BufRead};

/// What a program for text may put before a UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Names of files may have any bytes.
    Bytes,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// By a byte order mark, or by the zeros beside the first two letters of a path or a scheme.
    fn of(head: &[u8]) -> Self {
        match head {
            [0xff, 0xfe, ..] | [1..=0xff, 0, 1..=0xff, 0, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] | [0, 1..=0xff, 0, 1..=0xff, ..] => Self::Utf16Be,
            _ => Self::Bytes,
        }
    }

    /// Whether the end of these bytes is the end of a line.
    fn ends(self, bytes: &[u8], mark: u8) -> bool {
        let whole = bytes.len().is_multiple_of(2);
        match self {
            Self::Bytes => bytes.ends_with(&[mark]),
            Self::Utf16Le => whole && bytes.ends_with(&[mark, 0]),
            Self::Utf16Be => whole && bytes.ends_with(&[0, mark]),
        }
    }

    /// The bytes of a line, of UTF-16 as UTF-8.
    fn decode(self, line: &[u8]) -> Vec<u8> {
        let unit: fn([u8; 2]) -> u16 = match self {
            Self::Bytes => return line.to_vec(),
            Self::Utf16Le => u16::from_le_bytes,
            Self::Utf16Be => u16::from_be_bytes,
        };
        let units = line.chunks_exact(2).map(|two| unit([two[0], two[1]]));
        String::from_utf16_lossy(&units.collect::<Vec<_>>()).into_bytes()
    }
}

/// Whether a list of this beginning is UTF-16, whose zeros are no sign of anything else.
pub fn is_utf16(head: &[u8]) -> bool {
    Encoding::of(head) != Encoding::Bytes
}

/// Lines without their ends, byte order marks and empty ones. Each is returned as soon as its end has been read.
pub struct Lines<R> {
    reader: R,
    encoding: Option<Encoding>,
    /// What ends a line.
    mark: u8,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            encoding: None,
            mark: b'\n',
        }
    }
}

impl<'a> Lines<&'a [u8]> {
    /// The lines of a whole list. If it ends with NUL, as that of `find -print0` does, NUL ends its lines.
    pub fn of(list: &'a [u8]) -> Self {
        let encoding = Encoding::of(list);
        let nul = encoding == Encoding::Bytes && list.ends_with(&[0]);
        Self {
            reader: list,
            encoding: Some(encoding),
            mark: if nul { 0 } else { b'\n' },
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut bytes = Vec::new();
            let encoding = loop {
                // The mark may be the first byte of a letter of UTF-16 or the second of another one.
                match self.reader.read_until(self.mark, &mut bytes) {
                    Err(error) => return Some(Err(error)),
                    Ok(0) if bytes.is_empty() => return None,
                    Ok(0) => break self.encoding.unwrap_or(Encoding::Bytes),
                    Ok(_) => {}
                }
                let encoding = *self.encoding.get_or_insert_with(|| Encoding::of(&bytes));
                if encoding == Encoding::Utf16Le && bytes.len() % 2 == 1 {
                    let mut high = [0];
                    match self.reader.read_exact(&mut high) {
                        Ok(()) => bytes.extend(high),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                if encoding.ends(&bytes, self.mark) {
                    break encoding;
                }
            };
            let text = encoding.decode(&bytes);
            let mut line = text.strip_suffix(&[self.mark]).unwrap_or(&text);
            if self.mark == b'\n' {
                line = line.strip_suffix(b"\r").unwrap_or(line);
            }
            // Lists that were put together have one in the middle.
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            if !line.is_empty() {
                return Some(Ok(line.to_vec()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    const NAMES: [&str; 5] = [
        "/a b.mp4",
        "/Ċ\u{a00}ਊ\u{d0a}\u{a0d}.wav",
        "http://host/x",
        "x",
        "/日本🎺.flac",
    ];

    /// A reader that has one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn lines(list: &[u8]) -> Vec<String> {
        let text = |line: io::Result<Vec<u8>>| String::from_utf8(line.unwrap()).unwrap();
        let whole: Vec<_> = Lines::of(list).map(text).collect();
        let slow: Vec<_> = Lines::new(BufReader::new(Slow(list))).map(text).collect();
        if !list.ends_with(&[0]) || is_utf16(list) {
            assert_eq!(whole, slow);
        }
        whole
    }

    #[test]
    fn lines_of_every_encoding() {
        for end in ["\n", "\r\n", "\n\n"] {
            for last in ["", end] {
                let text = NAMES.join(end) + last;
                assert_eq!(lines(text.as_bytes()), NAMES);
                assert_eq!(lines(format!("\u{feff}{text}").as_bytes()), NAMES);
                for mark in ["\u{feff}", ""] {
                    let units: Vec<u16> = format!("{mark}{text}").encode_utf16().collect();
                    let little: Vec<u8> =
                        units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
                    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
                    assert_eq!(lines(&little), NAMES);
                    assert_eq!(lines(&big), NAMES);
                }
            }
        }
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines("\u{feff}\r\na\n\u{feff}b\n".as_bytes()), ["a", "b"]);
    }

    #[test]
    fn nul_ends_the_lines_of_a_list_that_ends_with_it() {
        assert_eq!(lines(b"/a\nb.wav\0/c.wav\r\0"), ["/a\nb.wav", "/c.wav\r"]);
        // Elsewhere it is part of a line, in which it is an error.
        assert_eq!(lines(b"/a\0b.wav\n/c.wav\n"), ["/a\0b.wav", "/c.wav"]);
    }

    #[test]
    fn a_line_is_there_as_soon_as_its_end() {
        let mut lines = Lines::new(BufReader::new(Slow(b"\xff\xfea\0\n\0b\0").chain(Never)));
        assert_eq!(lines.next().unwrap().unwrap(), b"a");
    }

    struct Never;

    impl Read for Never {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("read on")
        }
    }
}
