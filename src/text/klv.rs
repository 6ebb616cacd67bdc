// SPDX-License-Identifier: MPL-2.0
//! KLV packets (SMPTE 336M).

/// Key of the packets: a universal label of SMPTE's class 15, experimental metadata.
pub const KEY: [u8; 16] = *b"\x06\x0e\x2b\x34\x01\x01\x01\x01\x0f\x00gst-in";

/// A packet: the key, the length in BER (long form from 128 bytes on), the value.
pub fn packet(value: &[u8]) -> Vec<u8> {
    let mut packet = KEY.to_vec();
    match value.len() {
        length @ 0..=127 => packet.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            packet.push(0x80 | (bytes.len() - zeros) as u8);
            packet.extend(&bytes[zeros..]);
        }
    }
    packet.extend(value);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_ber() {
        let length = |size: usize| {
            let packet = packet(&vec![1; size]);
            assert_eq!(packet[..16], KEY);
            packet[16..packet.len() - size].to_vec()
        };
        assert_eq!(length(0), [0]);
        assert_eq!(length(127), [127]);
        assert_eq!(length(128), [0x81, 128]);
        assert_eq!(length(300), [0x82, 1, 44]);
        assert_eq!(length(70_000), [0x83, 1, 17, 112]);
    }
}
