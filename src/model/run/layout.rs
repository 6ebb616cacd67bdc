// SPDX-License-Identifier: MPL-2.0
//! How a graph takes and gives what a card describes.

use super::arrange::Arrangement;

/// The names in a graph of what a card describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// `mel`, `frame`, or `video`, `audio` and `present`, in this order.
    pub inputs: Vec<String>,
    pub tags: String,
    pub embedding: Option<String>,
    /// How the input of an audio or a video model takes one item.
    pub arrangement: Arrangement,
    /// Whether axis 0 takes several items at once.
    pub batches: bool,
    /// The names of the inputs' axes 0, by which their length can be fixed; none where one of them has no name.
    pub batch_symbols: Vec<String>,
}
