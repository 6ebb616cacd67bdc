// SPDX-License-Identifier: MPL-2.0

//! Which part of a list a process works on.

use std::str::FromStr;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use crate::inputs::redact;

/// Part `index` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    pub count: u32,
}

impl Shard {
    /// Whether the input of this URI belongs to the shard.
    pub fn owns(self, uri: &str) -> bool {
        hash(uri) % u64::from(self.count) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text
            .split_once('/')
            .map(|(index, count)| (index.parse(), count.parse()));
        match numbers {
            Some((Ok(index), Ok(count))) if index < count => Ok(Self { index, count }),
            _ => bail!("the shard must be I/N with I from 0 to N - 1, such as 0/8"),
        }
    }
}

/// The first 8 bytes of the SHA-256 of a URI without its secrets: a new signature does not make another input.
pub fn hash(uri: &str) -> u64 {
    let digest = Sha256::digest(redact(uri).as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_zero() {
        assert_eq!(
            "3/8".parse::<Shard>().unwrap(),
            Shard { index: 3, count: 8 }
        );
        for wrong in ["8/8", "1", "0/0", "a/b", "-1/2", "0/4294967296"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_uri_is_in_one_shard_whatever_its_signature() {
        for number in 0..100 {
            let uri = format!("https://host/{number}.mp4");
            let owners = |uri: &str| -> Vec<u32> {
                (0..5)
                    .filter(|&index| Shard { index, count: 5 }.owns(uri))
                    .collect()
            };
            assert_eq!(owners(&uri).len(), 1);
            assert_eq!(
                owners(&uri),
                owners(&format!("{uri}?X-Amz-Signature=ab{number}"))
            );
        }
    }
}
