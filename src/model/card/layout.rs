// SPDX-License-Identifier: MPL-2.0
//! How a graph takes and gives what a card describes: names, axes, and for graphs made elsewhere the order and the
//! numbers of pictures and mel patches.

use std::borrow::Cow;

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

/// The ways in which a graph may take a mel patch, without the axis of the batch.
pub const MEL_LAYOUTS: [&str; 6] = [
    "1,bands,frames",
    "1,frames,bands",
    "bands,frames",
    "frames,bands",
    "bands,frames,1",
    "frames,bands,1",
];

/// How a graph takes one picture or mel patch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrangement {
    /// The shape of its tensor, without the axis of the batch; of a mel patch the longest one's.
    pub shape: Vec<usize>,
    /// The axis of a mel patch's frames, whose number may vary.
    frames: Option<usize>,
    /// How the values are a matrix whose columns become rows.
    transposed: Option<Matrix>,
    /// What bytes become, in each channel; `None`: nothing else.
    levels: Option<[Level; 3]>,
}

/// A matrix of any number of values, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Matrix {
    Rows(usize),
    Columns(usize),
}

impl Matrix {
    fn columns(self, values: usize) -> usize {
        match self {
            Self::Rows(rows) => values / rows,
            Self::Columns(columns) => columns,
        }
    }
}

/// The values that stand for the bytes 0 and 255.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    lowest: f32,
    highest: f32,
}

impl Arrangement {
    /// A mel patch in one of [`MEL_LAYOUTS`].
    pub fn mel(layout: &str, bands: usize, frames: usize) -> Self {
        let length = |axis| match axis {
            "bands" => bands,
            "frames" => frames,
            _ => 1,
        };
        let transposed = layout.find("frames") < layout.find("bands");
        Self {
            shape: layout.split(',').map(length).collect(),
            frames: layout.split(',').position(|axis| axis == "frames"),
            transposed: transposed.then_some(Matrix::Rows(bands)),
            levels: None,
        }
    }

    /// The shape of a mel patch of `frames` frames, or of a picture.
    pub fn shape_of(&self, frames: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(axis) = self.frames {
            shape[axis] = frames;
        }
        shape
    }

    /// The axis of a mel patch's frames in the graph's input, whose first is the batch's.
    pub fn frames_axis(&self) -> Option<usize> {
        self.frames.map(|axis| axis + 1)
    }

    /// A picture of bytes, or with `ranges` of 32-bit floats: `min,max` for all channels or, separated by `;`, for each
    /// of the three; `None` where they are anything else.
    pub fn picture(
        height: usize,
        width: usize,
        planar: bool,
        ranges: Option<&str>,
    ) -> Option<Self> {
        let shape = if planar {
            vec![3, height, width]
        } else {
            vec![height, width, 3]
        };
        Some(Self {
            shape,
            frames: None,
            transposed: planar.then_some(Matrix::Columns(3)),
            levels: match ranges {
                Some(text) => Some(levels(text)?),
                None => None,
            },
        })
    }

    /// Whether the graph takes pictures as 32-bit floats.
    pub fn is_float(&self) -> bool {
        self.levels.is_some()
    }

    /// A picture's RGB bytes, for a graph that takes bytes, or a mel patch.
    pub fn values<'a, T: Copy>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        match self.transposed {
            Some(matrix) => transpose(values, matrix.columns(values.len())).collect(),
            None => values.into(),
        }
    }

    /// A picture's RGB bytes, for a graph that takes 32-bit floats.
    pub fn floats(&self, pixels: &[u8]) -> Vec<f32> {
        let Some(levels) = &self.levels else {
            return Vec::new();
        };
        let value = |(byte, level): (&u8, &Level)| {
            level.lowest + f32::from(*byte) / 255.0 * (level.highest - level.lowest)
        };
        let values = pixels.iter().zip(levels.iter().cycle()).map(value);
        match self.transposed {
            Some(matrix) => {
                let columns = matrix.columns(pixels.len());
                transpose(&values.collect::<Vec<f32>>(), columns).collect()
            }
            None => values.collect(),
        }
    }
}

/// The values of a matrix, column by column.
fn transpose<T: Copy>(values: &[T], columns: usize) -> impl Iterator<Item = T> {
    (0..columns).flat_map(move |column| values.iter().skip(column).step_by(columns).copied())
}

fn levels(text: &str) -> Option<[Level; 3]> {
    let level = |pair: &str| {
        let (lowest, highest) = pair.split_once(',')?;
        let number = |text: &str| {
            text.trim()
                .parse()
                .ok()
                .filter(|value: &f32| value.is_finite())
        };
        Some(Level {
            lowest: number(lowest)?,
            highest: number(highest)?,
        })
    };
    let pairs = text.trim().trim_end_matches(';').split(';');
    let levels: Vec<Level> = pairs.map(level).collect::<Option<_>>()?;
    match levels[..] {
        [all] => Some([all; 3]),
        [red, green, blue] => Some([red, green, blue]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mel_patches_are_turned_where_frames_come_first() {
        let patch = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let as_they_are = Arrangement::mel("1,bands,frames", 2, 3);
        assert_eq!(as_they_are.shape, [1, 2, 3]);
        assert!(matches!(as_they_are.values(&patch), Cow::Borrowed(_)));
        let turned = Arrangement::mel("frames,bands,1", 2, 3);
        assert_eq!(turned.shape, [3, 2, 1]);
        assert_eq!(*turned.values(&patch), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // A shorter patch.
        assert_eq!(*turned.values(&patch[..4]), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(turned.shape_of(2), [2, 2, 1]);
        assert_eq!(
            [as_they_are.frames_axis(), turned.frames_axis()],
            [Some(3), Some(1)]
        );
    }

    #[test]
    fn pictures_become_planes_and_floats() {
        let pixels = [0, 51, 255, 255, 0, 51];
        let planes = Arrangement::picture(1, 2, true, None).unwrap();
        assert_eq!(planes.shape, [3, 1, 2]);
        assert_eq!(*planes.values(&pixels), [0, 255, 51, 0, 255, 51]);
        let signed = Arrangement::picture(1, 2, false, Some("-1,1")).unwrap();
        assert_eq!(
            (&signed.shape[..], signed.is_float()),
            (&[1, 2, 3][..], true)
        );
        assert_eq!(signed.floats(&pixels), [-1.0, -0.6, 1.0, 1.0, -1.0, -0.6]);
        let own = Arrangement::picture(1, 2, true, Some("0.0,1.0; 0.0,10.0; 5.0,0.0;")).unwrap();
        assert_eq!(own.floats(&pixels), [0.0, 1.0, 2.0, 0.0, 0.0, 4.0]);
        for wrong in ["", "1", "0,1;0,1", "0,one", "0,1,2", "0,inf"] {
            assert_eq!(
                Arrangement::picture(1, 2, true, Some(wrong)),
                None,
                "{wrong}"
            );
        }
    }
}
