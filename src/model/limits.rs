// SPDX-License-Identifier: MPL-2.0
//! The limits of what comes from outside: options, cards and graphs. They are far above what models need, and
//! checked before memory is taken.

use super::{error::Error, options::Options};

/// The largest number of inputs that are run at once.
pub const BATCH_SIZE: usize = 1024;
/// The largest number of threads for one inference.
pub const THREADS: u32 = 1024;
/// The largest number of values of one input: a picture of 4729 by 4729 pixels, or 16384 bands by 4096 frames.
pub const VALUES: usize = 1 << 26;
/// The largest number of values of a whole batch: 1 GiB of 32-bit floats.
pub const BATCH_VALUES: usize = 1 << 28;

/// # Errors
/// [`Error::Limit`].
pub fn check(options: &Options) -> Result<(), Error> {
    let within = |name: &str, value: usize, most: usize| {
        if value <= most {
            return Ok(());
        }
        Err(Error::Limit {
            name: name.into(),
            value,
            most,
        })
    };
    within("batch-size", options.batch_size, BATCH_SIZE)?;
    within("threads", options.threads as usize, THREADS as usize)
}
