// SPDX-License-Identifier: MPL-2.0
//! One call of a session with several items: stacked along axis 0, and split again.

use std::{borrow::Cow, sync::Arc};

use ort::{
    session::{Session, SessionInputValue, SessionOutputs},
    value::TensorRef,
};

use super::{
    Error, Input, Output,
    card::{Card, Modality},
    session::one_line,
    verify::Layout,
};

/// A session with what its card says of it, and the buffers that batches are stacked in.
pub struct Runner {
    session: Session,
    card: Arc<Card>,
    layout: Layout,
    bytes: Vec<u8>,
    floats: [Vec<f32>; 3],
}

type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

impl Runner {
    pub fn new(session: Session, card: Arc<Card>, layout: Layout) -> Self {
        Self {
            session,
            card,
            layout,
            bytes: Vec::new(),
            floats: Default::default(),
        }
    }

    /// Whether several items may be given to [`run`](Self::run) at once.
    pub fn batches(&self) -> bool {
        self.layout.batches
    }

    /// Whether the model takes this input.
    ///
    /// # Errors
    /// [`Error::WrongInput`].
    pub fn check(&self, input: &Input) -> Result<(), Error> {
        let (fits, expected) = match &self.card.modality {
            Modality::Audio { bands, frames, .. } => (
                matches!(input, Input::Mel(mel) if mel.len() == bands * frames),
                format!("a mel patch of {bands} bands by {frames} frames"),
            ),
            Modality::Video { width, height, .. } => (
                matches!(input, Input::Frame(frame) if frame.len() == pixels(*width, *height) * 3),
                format!("an RGB picture of {width} by {height} pixels"),
            ),
            Modality::Fusion {
                video,
                audio,
                frames,
            } => (
                matches!(input, Input::Fusion { video: rows, audio: row, .. }
                    if row.len() == audio.size
                        && !rows.is_empty()
                        && rows.len().is_multiple_of(video.size)
                        && frames.is_none_or(|frames| rows.len() == frames * video.size)),
                format!(
                    "{} picture embedding(s) of {} values and an audio embedding of {} values",
                    frames.map_or("any number of".into(), |frames| frames.to_string()),
                    video.size,
                    audio.size
                ),
            ),
        };
        if fits {
            return Ok(());
        }
        Err(Error::WrongInput {
            model: self.card.name.clone(),
            expected,
            actual: input.to_string(),
        })
    }

    /// An input of zeros, as the model takes it.
    pub fn silence(&self) -> Input {
        match &self.card.modality {
            Modality::Audio { bands, frames, .. } => Input::Mel(vec![0.0; bands * frames]),
            Modality::Video { width, height, .. } => {
                Input::Frame(vec![0; pixels(*width, *height) * 3])
            }
            Modality::Fusion {
                video,
                audio,
                frames,
            } => Input::Fusion {
                video: vec![0.0; video.size * frames.unwrap_or(1)],
                audio: vec![0.0; audio.size],
                present: [0.0; 2],
            },
        }
    }

    /// Runs the model once on inputs that passed [`check`](Self::check) and are of the same length; more than one
    /// only if it [`batches`](Self::batches). One result an input, in their order.
    ///
    /// # Errors
    /// [`Error::Run`] when the model as a whole fails; what is wrong with one item only is in its own result.
    pub fn run(&mut self, inputs: &[&Input]) -> Result<Vec<Result<Output, Error>>, Error> {
        let Self {
            session,
            card,
            layout,
            bytes,
            floats,
        } = self;
        let failed = |cause: String| Error::Run {
            model: card.name.clone(),
            cause,
        };
        let values = stack(card, layout, inputs, bytes, floats)
            .map_err(|error| failed(one_line(error.message())))?;
        let outputs = session
            .run(values)
            .map_err(|error| failed(one_line(error.message())))?;
        let tags = rows(&outputs, &layout.tags, inputs.len(), card.labels.len());
        let tags = tags.map_err(failed)?;
        let embeddings = match (&layout.embedding, &card.embedding) {
            (Some(name), Some(space)) => {
                Some(rows(&outputs, name, inputs.len(), space.size).map_err(failed)?)
            }
            _ => None,
        };
        let item = |index: usize| {
            let tags = tags
                .chunks(card.labels.len())
                .nth(index)
                .unwrap_or_default();
            finite(card, "tags", tags)?;
            let embedding = match (embeddings, &card.embedding) {
                (Some(all), Some(space)) => {
                    let row = all.chunks(space.size).nth(index).unwrap_or_default();
                    finite(card, "embedding", row)?;
                    Some(row.into())
                }
                _ => None,
            };
            Ok(Output {
                tags: tags.to_vec(),
                embedding,
            })
        };
        Ok((0..inputs.len()).map(item).collect())
    }
}

fn pixels(width: u32, height: u32) -> usize {
    width as usize * height as usize
}

/// The inputs as tensors of `[inputs.len(), …]`; a single one is not copied.
fn stack<'a>(
    card: &Card,
    layout: &'a Layout,
    inputs: &[&'a Input],
    bytes: &'a mut Vec<u8>,
    [video_rows, audio_rows, present_rows]: &'a mut [Vec<f32>; 3],
) -> ort::Result<Inputs<'a>> {
    let count = inputs.len();
    let shape = || -> Vec<usize> {
        let item = layout.arrangement.shape.iter();
        [count].iter().chain(item).copied().collect()
    };
    let mut tensors: Vec<SessionInputValue> = Vec::with_capacity(3);
    match &card.modality {
        Modality::Audio { .. } => {
            let mel = joined(inputs, audio_rows, |input| match input {
                Input::Mel(mel) => layout.arrangement.values(mel),
                _ => Cow::default(),
            });
            tensors.push(TensorRef::from_array_view((shape(), mel))?.into());
        }
        Modality::Video { .. } if layout.arrangement.is_float() => {
            let frame = joined(inputs, video_rows, |input| match input {
                Input::Frame(frame) => layout.arrangement.floats(frame).into(),
                _ => Cow::default(),
            });
            tensors.push(TensorRef::from_array_view((shape(), frame))?.into());
        }
        Modality::Video { .. } => {
            let frame = joined(inputs, bytes, |input| match input {
                Input::Frame(frame) => layout.arrangement.values(frame),
                _ => Cow::default(),
            });
            tensors.push(TensorRef::from_array_view((shape(), frame))?.into());
        }
        Modality::Fusion { video, audio, .. } => {
            let pictures = joined(inputs, video_rows, |input| match input {
                Input::Fusion { video, .. } => video.into(),
                _ => Cow::default(),
            });
            let sound = joined(inputs, audio_rows, |input| match input {
                Input::Fusion { audio, .. } => audio.into(),
                _ => Cow::default(),
            });
            let present = joined(inputs, present_rows, |input| match input {
                Input::Fusion { present, .. } => present[..].into(),
                _ => Cow::default(),
            });
            let frames = pictures.len() / (count * video.size).max(1);
            let shape = [count, frames, video.size];
            tensors.push(TensorRef::from_array_view((shape, pictures))?.into());
            tensors.push(TensorRef::from_array_view(([count, audio.size], sound))?.into());
            tensors.push(TensorRef::from_array_view(([count, 2], present))?.into());
        }
    }
    let names = layout.inputs.iter().map(|name| Cow::from(name.as_str()));
    Ok(names.zip(tensors).collect())
}

/// The parts one after the other: the only part itself where it is as the model takes it, or a copy in `scratch`.
fn joined<'a, T: Copy>(
    inputs: &[&'a Input],
    scratch: &'a mut Vec<T>,
    part: impl Fn(&'a Input) -> Cow<'a, [T]>,
) -> &'a [T] {
    if let [only] = inputs
        && let Cow::Borrowed(part) = part(only)
    {
        return part;
    }
    scratch.clear();
    for input in inputs {
        scratch.extend_from_slice(&part(input));
    }
    scratch
}

/// An output's values, which must be `[count, size]`.
fn rows<'a>(
    outputs: &'a SessionOutputs,
    name: &str,
    count: usize,
    size: usize,
) -> Result<&'a [f32], String> {
    let value = outputs
        .get(name)
        .ok_or(format!("it gave no output `{name}`"))?;
    let (shape, data) = value
        .try_extract_tensor::<f32>()
        .map_err(|error| one_line(error.message()))?;
    if **shape == [count as i64, size as i64] {
        Ok(data)
    } else {
        Err(format!(
            "its output `{name}` is of shape {shape} where its description calls for [{count}, {size}]"
        ))
    }
}

fn finite(card: &Card, output: &'static str, values: &[f32]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite {
            model: card.name.clone(),
            output,
            index,
            value: values[index].to_string(),
        }),
    }
}
