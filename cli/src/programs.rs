// SPDX-License-Identifier: MPL-2.0

//! What the tables of an MPEG transport stream say that it holds: GStreamer's demultiplexer keeps silent about other
//! programs and about streams whose type it does not know.

use std::collections::{BTreeMap, HashMap};

use crate::args::Modality;

/// Sizes of packets: plain, with a time code (M2TS), with error correction.
const PACKETS: [usize; 3] = [188, 192, 204];
/// Bytes without a packet after which it is no transport stream.
const PATIENCE: usize = 1 << 20;
/// Table ids (ISO 13818-1, table 2-31).
const PAT: u8 = 0;
const PMT: u8 = 2;

/// The programs of a transport stream, by their numbers.
#[derive(Default)]
pub struct Programs {
    programs: BTreeMap<u16, Program>,
    /// Sections of which the rest follows, by PID.
    partial: HashMap<u16, Vec<u8>>,
    /// Bytes in which no packets were found.
    other: usize,
}

#[derive(Default)]
struct Program {
    /// Where its table is.
    pid: u16,
    streams: Vec<Stream>,
}

struct Stream {
    pid: u16,
    modality: Option<Modality>,
    what: String,
}

impl Programs {
    /// Looks at bytes as they are read. Returns whether this is, or may be, a transport stream.
    pub fn look(&mut self, data: &[u8]) -> bool {
        let Some((first, size)) = packets(data) else {
            self.other += data.len();
            return !self.programs.is_empty() || self.other < PATIENCE;
        };
        for packet in data[first..].chunks(size) {
            if packet.len() >= 188 && packet[0] == 0x47 {
                self.packet(&packet[..188]);
            }
        }
        true
    }

    /// The numbers of the programs.
    pub fn numbers(&self) -> Vec<u16> {
        self.programs.keys().copied().collect()
    }

    /// Sound and pictures of `program`, each as what it is, that are not among those `found` at these PIDs.
    pub fn unknown(&self, program: u16, found: &[u16]) -> Vec<(Option<Modality>, String)> {
        let streams = self.programs.get(&program);
        streams
            .into_iter()
            .flat_map(|program| &program.streams)
            .filter(|stream| !found.contains(&stream.pid))
            .map(|stream| {
                let what = format!("{} (PID {})", stream.what, stream.pid);
                (stream.modality, what)
            })
            .collect()
    }

    fn packet(&mut self, packet: &[u8]) {
        let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        let is_table = pid == 0 || self.programs.values().any(|program| program.pid == pid);
        if !is_table || packet[3] & 0x10 == 0 {
            return;
        }
        let adaptation = if packet[3] & 0x20 != 0 {
            1 + usize::from(packet[4])
        } else {
            0
        };
        let Some(payload) = packet.get(4 + adaptation..) else {
            return;
        };
        if packet[1] & 0x40 != 0 {
            let begin = payload
                .first()
                .and_then(|&pointer| payload.get(1 + usize::from(pointer)..));
            self.partial.insert(pid, begin.unwrap_or_default().to_vec());
        } else if let Some(section) = self.partial.get_mut(&pid) {
            section.extend(payload);
        }
        let Some(section) = self.partial.get(&pid) else {
            return;
        };
        let &[table, high, low, ..] = section.as_slice() else {
            return;
        };
        let size = 3 + (usize::from(high & 0xf) << 8 | usize::from(low));
        if section.len() < size {
            return;
        }
        let section = self.partial.remove(&pid).unwrap_or_default();
        let section = &section[..size];
        if size >= 12 && crc(section) == 0 {
            let body = &section[3..size - 4];
            match table {
                PAT => self.pat(&body[5..]),
                PMT => self.pmt(body),
                _ => {}
            }
        }
    }

    fn pat(&mut self, entries: &[u8]) {
        for entry in entries.as_chunks::<4>().0 {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let pid = u16::from_be_bytes([entry[2], entry[3]]) & 0x1fff;
            // Number 0 is the network's table.
            if number != 0 {
                self.programs.entry(number).or_default().pid = pid;
            }
        }
    }

    fn pmt(&mut self, body: &[u8]) {
        let length = |bytes: &[u8]| (usize::from(bytes[0] & 0xf) << 8) | usize::from(bytes[1]);
        if body.len() < 9 {
            return;
        }
        let number = u16::from_be_bytes([body[0], body[1]]);
        let Some(program) = self.programs.get_mut(&number) else {
            return;
        };
        let mut rest = body.get(9 + length(&body[7..])..).unwrap_or_default();
        // A stream that left may have been tagged before: none is forgotten.
        while let [kind, head @ ..] = rest
            && head.len() >= 4
        {
            let pid = u16::from_be_bytes([head[0], head[1]]) & 0x1fff;
            let size = length(&head[2..]);
            let Some(descriptors) = head.get(4..4 + size) else {
                return;
            };
            if let Some((modality, what)) = name(*kind, descriptors)
                && !program.streams.iter().any(|stream| stream.pid == pid)
            {
                program.streams.push(Stream {
                    pid,
                    modality,
                    what,
                });
            }
            rest = &head[4 + size..];
        }
    }
}

/// Where the first packet begins, and how large packets are.
fn packets(data: &[u8]) -> Option<(usize, usize)> {
    PACKETS.into_iter().find_map(|size| {
        let starts = |&first: &usize| {
            [0, 1, 2]
                .iter()
                .all(|n| data.get(first + n * size) == Some(&0x47))
        };
        Some(((0..size).find(starts)?, size))
    })
}

/// What a stream of this type and with these descriptors is, if it may be sound or pictures.
fn name(kind: u8, descriptors: &[u8]) -> Option<(Option<Modality>, String)> {
    let mut rest = descriptors;
    let (mut tags, mut registration) = (Vec::new(), Vec::new());
    while let [tag, size, body @ ..] = rest {
        let size = usize::from(*size).min(body.len());
        tags.push(*tag);
        if *tag == 5 {
            registration = body[..size].to_vec();
        }
        rest = &body[size..];
    }
    let has = |tag: u8| tags.contains(&tag);
    let registered = |name: &[u8]| registration.starts_with(name);
    use Modality::{Audio, Video};
    let (modality, what) = match kind {
        0x01 | 0x02 => (Video, "MPEG-2 video"),
        0x03 | 0x04 => (Audio, "MPEG audio"),
        0x0f | 0x11 | 0x1c => (Audio, "AAC"),
        0x10 => (Video, "MPEG-4 video"),
        0x1b | 0x1f | 0x20 => (Video, "H.264"),
        0x21 => (Video, "JPEG 2000"),
        0x24 | 0x25 => (Video, "H.265"),
        0x2d | 0x2e => (Audio, "MPEG-H audio"),
        0x33 => (Video, "H.266"),
        0x42 | 0xd2 | 0xd4 => (Video, "AVS video"),
        0x80 => return None,
        0x81 | 0xc1 => (Audio, "AC-3"),
        0x83 => (Audio, "TrueHD"),
        0x84 | 0x87 | 0xa1 | 0xc2 => (Audio, "E-AC-3"),
        0x86 if registered(b"CUEI") => return None,
        0x82 if registered(b"SCTE") => return None,
        0x82 | 0x85 | 0x86 | 0x8a | 0xa2 => (Audio, "DTS"),
        0xd1 => (Video, "Dirac"),
        0xea => (Video, "VC-1"),
        0x06 if has(0x6a) || registered(b"AC-3") => (Audio, "AC-3"),
        0x06 if has(0x7a) || registered(b"EAC3") => (Audio, "E-AC-3"),
        0x06 if has(0x7b) || registered(b"DTS") => (Audio, "DTS"),
        0x06 if has(0x7c) => (Audio, "AAC"),
        0x06 if registered(b"Opus") => (Audio, "Opus"),
        0x06 if registered(b"BSSD") => (Audio, "SMPTE 302M sound"),
        0x06 if registered(b"HEVC") => (Video, "H.265"),
        0x06 if registered(b"VC-1") => (Video, "VC-1"),
        0x06 if registered(b"AV01") => (Video, "AV1"),
        // Teletext, subtitles, data services and metadata.
        0x06 if [0x45, 0x46, 0x56, 0x59, 0x52, 0x6f, 0x26]
            .into_iter()
            .any(has) =>
        {
            return None;
        }
        0x06 if registered(b"KLVA") || registered(b"ID3 ") => return None,
        0x06 | 0x81.. => return Some((None, format!("a private stream of type {kind:#04x}"))),
        _ => return None,
    };
    Some((Some(modality), what.into()))
}

/// The CRC of a section with its own CRC at the end is 0.
fn crc(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            let polynomial = if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            crc << 1 ^ polynomial
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let mut section = vec![table, 0xb0, body.len() as u8 + 4];
        section.extend(body);
        let crc = crc(&section);
        section.extend(crc.to_be_bytes());
        section
    }

    fn packet(pid: u16, section: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10, 0];
        packet.extend(section);
        packet.resize(188, 0xff);
        packet
    }

    #[test]
    fn tables_of_two_programs() {
        let pat = section(
            PAT,
            &[
                0, 1, 0xc1, 0, 0, 0, 0, 0xe0, 16, 0, 1, 0xe1, 0, 0, 7, 0xe2, 0,
            ],
        );
        let dts = [0x06, 0xe1, 0x02, 0xf0, 6, 5, 4, b'D', b'T', b'S', b'1'];
        let teletext = [0x06, 0xe1, 0x03, 0xf0, 2, 0x56, 0];
        let mut body = vec![0, 1, 0xc1, 0, 0, 0xe1, 1, 0xf0, 0, 0x1b, 0xe1, 1, 0xf0, 0];
        body.extend(dts);
        body.extend(teletext);
        let mut data = vec![1, 2, 3];
        for _ in 0..2 {
            data.extend(packet(0, &pat));
            data.extend(packet(0x100, &section(PMT, &body)));
        }
        let mut programs = Programs::default();
        assert!(programs.look(&data));
        assert_eq!(programs.numbers(), [1, 7]);
        assert_eq!(
            programs.unknown(1, &[0x101]),
            [(Some(Modality::Audio), "DTS (PID 258)".to_owned())]
        );
        assert_eq!(programs.unknown(1, &[0x101, 0x102]), []);
        // A damaged table is not believed.
        let mut damaged = Programs::default();
        data.iter_mut()
            .skip(20)
            .step_by(188)
            .for_each(|byte| *byte ^= 4);
        damaged.look(&data);
        assert_eq!(damaged.numbers(), [0u16; 0]);
    }

    #[test]
    fn other_data_is_no_transport_stream() {
        let mut programs = Programs::default();
        assert!(programs.look(&[0; 4096]));
        assert!(!programs.look(&vec![0; PATIENCE]));
    }
}
