// SPDX-License-Identifier: MPL-2.0
//! ID3v2.4 tags, the timed metadata that HLS and DASH players accept.

/// Text encoding: UTF-8 with a terminating zero.
const UTF_8: u8 = 3;

/// A tag with one TXXX frame (user-defined text) whose description is `name`.
pub fn tag(name: &str, text: &str) -> Vec<u8> {
    let mut frame = vec![UTF_8];
    frame.extend(name.bytes());
    frame.push(0);
    frame.extend(text.bytes());
    let mut frames = b"TXXX".to_vec();
    frames.extend(sync_safe(frame.len()));
    frames.extend([0, 0]);
    frames.extend(frame);
    let mut tag = b"ID3\x04\x00\x00".to_vec();
    tag.extend(sync_safe(frames.len()));
    tag.extend(frames);
    tag
}

/// A size as four bytes with seven bits each (ID3's sync-safe integer).
fn sync_safe(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_sizes_of_seven_bits_a_byte() {
        let text = "x".repeat(200);
        let tag = tag("n", &text);
        // 203 bytes of frame content, 213 with its header.
        assert_eq!(&tag[..10], b"ID3\x04\x00\x00\x00\x00\x01\x55");
        assert_eq!(&tag[10..20], b"TXXX\x00\x00\x01\x4b\x00\x00");
        assert_eq!(&tag[20..23], b"\x03n\x00");
        assert_eq!(&tag[23..], text.as_bytes());
    }
}
