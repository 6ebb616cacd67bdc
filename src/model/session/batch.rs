// SPDX-License-Identifier: MPL-2.0
//! One call of a session with several items: stacked along axis 0, and split again.

use std::{borrow::Cow, sync::Arc};

use ort::{
    memory::Allocator,
    session::{RunOptions, Session, SessionInputValue},
    value::{DynTensor, PrimitiveTensorElementType, TensorElementType},
};

use super::{
    buffers::{Buffers, Tensor},
    engines::Engines,
};
use crate::model::{
    card::{Card, Layout, MAX_VALUES, Modality},
    error::Error,
    item::{Input, Output},
    provider::{Backend, Memory, Provider},
};

/// The largest number of values of a whole batch: 1 GiB of 32-bit floats.
const BATCH_VALUES: usize = 1 << 28;
/// How often a session is run before ONNX Runtime surely replays the GPU's work: it records one of the first runs.
const RUNS_TO_RECORD: usize = 4;
/// For how many shapes a session keeps its buffers.
const KEPT: usize = 32;
/// How many picture embeddings a fusion model that takes any number gets: at least, as a rule, at most.
const PICTURES: [usize; 3] = [1, 20, 128];

/// A model's sessions with what its card says of it.
pub struct Runner {
    backend: &'static dyn Backend,
    lanes: Vec<Lane>,
    card: Arc<Card>,
    layout: Layout,
}

/// A session for batches of one size, or of any, with the memory that its batches go through.
pub struct Lane {
    buffers: Vec<(Shape, Buffers)>,
    memory: Memory,
    session: Session,
    size: Option<usize>,
    engines: Option<Engines>,
}

/// What buffers of one model can differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    items: usize,
    length: usize,
}

impl Lane {
    /// A session on the CPU, which takes batches of any size.
    pub fn any(session: Session) -> Self {
        Self {
            buffers: Vec::new(),
            memory: Memory::default(),
            session,
            size: None,
            engines: None,
        }
    }

    /// A session for batches of `size` items; smaller ones are filled up.
    pub fn of(size: usize, session: Session, memory: Memory, engines: Option<Engines>) -> Self {
        Self {
            buffers: Vec::new(),
            memory,
            session,
            size: Some(size),
            engines,
        }
    }

    /// Runs the session on inputs of the same length, and gives the values of its outputs: `tags` and, if the layout
    /// has one, `embedding`.
    fn run(
        &mut self,
        card: &Card,
        layout: &Layout,
        inputs: &[&Input],
        run: &RunOptions,
    ) -> ort::Result<[&[f32]; 2]> {
        let shape = Shape {
            items: self.size.unwrap_or(inputs.len()),
            length: length(card, inputs[0]),
        };
        let index = match self.buffers.iter().position(|(of, _)| *of == shape) {
            Some(index) => index,
            None => {
                if self.buffers.len() == KEPT {
                    self.buffers.remove(0);
                }
                let buffers = Buffers::new(
                    &self.session,
                    &self.memory,
                    &self::inputs(card, layout, shape.items, shape.length),
                    &outputs(card, layout, shape.items),
                )?;
                self.buffers.push((shape, buffers));
                self.buffers.len() - 1
            }
        };
        let buffers = &mut self.buffers[index].1;
        fill(card, layout, buffers, inputs)?;
        buffers.run(&mut self.session, run)?;
        let embedding = match layout.embedding {
            Some(_) => buffers.output(1)?,
            None => &[],
        };
        Ok([buffers.output(0)?, embedding])
    }
}

impl Runner {
    /// `lanes` go from the smallest batch to the largest; no batch exceeds the largest lane.
    pub fn new(provider: Provider, lanes: Vec<Lane>, card: Arc<Card>, layout: Layout) -> Self {
        Self {
            backend: provider.backend(),
            lanes,
            card,
            layout,
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
        let fits = match (&self.card.modality, input) {
            (
                Modality::Audio {
                    front_end,
                    min_frames,
                },
                Input::Mel(mel),
            ) => {
                let frames = *min_frames..=front_end.patch_frames;
                mel.len().is_multiple_of(front_end.bands)
                    && frames.contains(&(mel.len() / front_end.bands))
            }
            (Modality::Video { width, height, .. }, Input::Frame(frame)) => {
                frame.len() == pixels(*width, *height) * 3
            }
            (
                Modality::Fusion {
                    video,
                    audio,
                    frames,
                },
                Input::Fusion {
                    video: rows,
                    audio: row,
                    ..
                },
            ) => {
                row.len() == audio.size
                    && (1..=MAX_VALUES).contains(&rows.len())
                    && rows.len().is_multiple_of(video.size)
                    && frames.is_none_or(|frames| rows.len() == frames * video.size)
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Error::WrongInput {
            model: self.card.name.clone(),
            expected: expected(&self.card),
            actual: input.to_string(),
        })
    }

    /// Runs every session of a GPU until it is as fast as it gets.
    ///
    /// # Errors
    /// [`Error::Run`], also when a session that replays the GPU's recorded work does not see its inputs change.
    pub fn warm(&mut self, run: &RunOptions) -> Result<(), Error> {
        let (silence, noise) = (sample(&self.card, |_| 0.0), sample(&self.card, noise));
        let Self {
            backend,
            lanes,
            card,
            layout,
        } = self;
        for lane in lanes.iter_mut().filter(|lane| lane.size.is_some()) {
            let mut answer = |input: &Input| -> Result<Vec<u32>, Error> {
                let outputs = lane.run(card, layout, &[input], run);
                let outputs =
                    outputs.map_err(|error| failed(card, backend.explain(error.message())))?;
                Ok(outputs.concat().into_iter().map(f32::to_bits).collect())
            };
            let mut quiet = answer(&silence)?;
            for _ in 1..RUNS_TO_RECORD {
                quiet = answer(&silence)?;
            }
            let loud = answer(&noise)?;
            if lane.memory.device.is_some() && quiet == loud {
                return Err(failed(
                    card,
                    "what the GPU replays does not depend on the input".into(),
                ));
            }
        }
        Ok(())
    }

    /// Runs the model once on inputs that passed [`check`](Self::check) and are of the same length; more than one
    /// only if it [`batches`](Self::batches). One result an input, in their order.
    ///
    /// # Errors
    /// [`Error::Run`] when the model as a whole fails; what is wrong with one item only is in its own result.
    pub fn run(
        &mut self,
        inputs: &[&Input],
        run: &RunOptions,
    ) -> Result<Vec<Result<Output, Error>>, Error> {
        let Self {
            backend,
            lanes,
            card,
            layout,
        } = self;
        let lane = lanes
            .iter_mut()
            .find(|lane| lane.size.is_none_or(|size| size >= inputs.len()))
            .expect("a session for the largest batch");
        let [tags, embeddings] = lane
            .run(card, layout, inputs, run)
            .map_err(|error| failed(card, backend.explain(error.message())))?;
        let item = |index: usize| {
            let tags = row(tags, card.labels.len(), index);
            finite(card, "tags", tags)?;
            let embedding = match &card.embedding {
                Some(space) => {
                    let row = row(embeddings, space.size, index);
                    finite(card, "embedding", row)?;
                    Some(row.into())
                }
                None => None,
            };
            Ok(Output {
                tags: tags.to_vec(),
                embedding,
            })
        };
        Ok((0..inputs.len()).map(item).collect())
    }
}

fn failed(card: &Card, cause: String) -> Error {
    Error::Run {
        model: card.name.clone(),
        cause,
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        for mut lane in self.lanes.drain(..) {
            if let Some(engines) = lane.engines.take() {
                engines.close(|| drop(lane));
            }
        }
    }
}

/// Runs a session on zeros and checks that its outputs have the shapes that the card calls for; their values may be
/// NaN, for a model that normalises.
///
/// # Errors
/// [`Error::Run`].
pub fn check(
    session: &mut Session,
    card: &Card,
    layout: &Layout,
    run: &RunOptions,
) -> Result<(), Error> {
    // The longest first, from which the shortest differs at most in whether it works.
    let [least, usual, _] = lengths(card);
    check_length(session, card, layout, run, usual)?;
    if least != usual && matches!(card.modality, Modality::Audio { .. }) {
        check_length(session, card, layout, run, least)?;
    }
    Ok(())
}

fn check_length(
    session: &mut Session,
    card: &Card,
    layout: &Layout,
    run: &RunOptions,
    length: usize,
) -> Result<(), Error> {
    let failed = |cause| failed(card, cause);
    let inputs = inputs(card, layout, 1, length);
    let refused = |error: ort::Error| failed(Provider::Cpu.backend().explain(error.message()));
    let values: Vec<(Cow<str>, SessionInputValue)> = inputs
        .iter()
        .map(|input| Ok((input.name.as_str().into(), zeros(input)?.into())))
        .collect::<ort::Result<_>>()
        .map_err(refused)?;
    let given = session.run_with_options(values, run).map_err(refused)?;
    for Tensor { name, shape, .. } in &outputs(card, layout, 1) {
        let value = given
            .get(name)
            .ok_or_else(|| failed(format!("it gave no output `{name}`")))?;
        let (actual, _) = value.try_extract_tensor::<f32>().map_err(refused)?;
        let same = |(actual, length): (&i64, &usize)| *actual == *length as i64;
        if actual.len() != shape.len() || !actual.iter().zip(shape).all(same) {
            return Err(failed(format!(
                "its output `{name}` is of shape {actual} where its description calls for {shape:?}"
            )));
        }
    }
    Ok(())
}

/// What a model takes, for an error.
fn expected(card: &Card) -> String {
    match &card.modality {
        Modality::Audio {
            front_end,
            min_frames,
        } => {
            let (bands, frames) = (front_end.bands, front_end.patch_frames);
            if *min_frames == frames {
                return format!("a mel patch of {bands} bands by {frames} frames");
            }
            format!("a mel patch of {bands} bands by {min_frames} to {frames} frames")
        }
        Modality::Video { width, height, .. } => {
            format!("an RGB picture of {width} by {height} pixels")
        }
        Modality::Fusion {
            video,
            audio,
            frames,
        } => format!(
            "{} picture embedding(s) of {} values and an audio embedding of {} values",
            frames.map_or("any number of".into(), |frames| frames.to_string()),
            video.size,
            audio.size
        ),
    }
}

fn pixels(width: u32, height: u32) -> usize {
    width as usize * height as usize
}

/// What inputs of one model can differ in: the frames of a patch, the picture embeddings of a fusion model's input; 0
/// for pictures.
fn length(card: &Card, input: &Input) -> usize {
    match (&card.modality, input) {
        (Modality::Audio { front_end, .. }, Input::Mel(mel)) => mel.len() / front_end.bands,
        (Modality::Fusion { video: space, .. }, Input::Fusion { video, .. }) => {
            video.len() / space.size
        }
        _ => 0,
    }
}

/// The lengths of a model's inputs: at least, as a rule, at most.
pub fn lengths(card: &Card) -> [usize; 3] {
    match &card.modality {
        Modality::Audio {
            front_end,
            min_frames,
        } => [*min_frames, front_end.patch_frames, front_end.patch_frames],
        Modality::Video { .. } => [0; 3],
        Modality::Fusion { frames, .. } => frames.map_or(PICTURES, |frames| [frames; 3]),
    }
}

/// The largest batch of a model, at least 1, by the values of its inputs.
pub fn largest(card: &Card) -> usize {
    let values = match &card.modality {
        Modality::Audio { front_end, .. } => front_end.bands * front_end.patch_frames,
        Modality::Video { width, height, .. } => pixels(*width, *height) * 3,
        Modality::Fusion { video, audio, .. } => video.size * lengths(card)[2] + audio.size,
    };
    (BATCH_VALUES / values).max(1)
}

/// An input of the usual length whose values are `value` of their number.
fn sample(card: &Card, value: impl Fn(usize) -> f32) -> Input {
    let values = |count: usize| (0..count).map(&value).collect::<Vec<f32>>();
    match &card.modality {
        Modality::Audio { front_end, .. } => {
            Input::Mel(values(front_end.bands * front_end.patch_frames).into())
        }
        Modality::Video { width, height, .. } => {
            let bytes = values(pixels(*width, *height) * 3);
            Input::Frame(bytes.into_iter().map(|value| value as u8).collect())
        }
        Modality::Fusion {
            video,
            audio,
            frames,
        } => Input::Fusion {
            video: values(video.size * frames.unwrap_or(1)),
            audio: values(audio.size),
            present: [value(0), value(0)],
        },
    }
}

/// Values from 1 to 97 in no order.
fn noise(index: usize) -> f32 {
    (index * 61 % 97 + 1) as f32
}

/// The inputs of a batch of items of the same length.
pub fn inputs(card: &Card, layout: &Layout, items: usize, length: usize) -> Vec<Tensor> {
    let shapes = match &card.modality {
        Modality::Audio { .. } | Modality::Video { .. } => {
            let item = layout.arrangement.shape_of(length);
            vec![[items].into_iter().chain(item).collect()]
        }
        Modality::Fusion { video, audio, .. } => vec![
            vec![items, length, video.size],
            vec![items, audio.size],
            vec![items, 2],
        ],
    };
    let element = match &card.modality {
        Modality::Video { .. } if !layout.arrangement.is_float() => TensorElementType::Uint8,
        _ => TensorElementType::Float32,
    };
    let inputs = layout.inputs.iter().zip(shapes);
    let inputs = inputs.map(|(name, shape)| Tensor {
        name: name.clone(),
        element,
        shape,
    });
    inputs.collect()
}

/// The outputs of a batch.
fn outputs(card: &Card, layout: &Layout, items: usize) -> Vec<Tensor> {
    let tags = (&layout.tags, card.labels.len());
    let embedding = layout.embedding.as_ref().zip(card.embedding.as_ref());
    let embedding = embedding.map(|(name, space)| (name, space.size));
    let outputs = [tags].into_iter().chain(embedding);
    let outputs = outputs.map(|(name, size)| Tensor {
        name: name.clone(),
        element: TensorElementType::Float32,
        shape: vec![items, size],
    });
    outputs.collect()
}

/// Writes the items one after the other; what is left of a larger batch stays as it is.
fn fill(card: &Card, layout: &Layout, buffers: &mut Buffers, inputs: &[&Input]) -> ort::Result<()> {
    let arrangement = &layout.arrangement;
    match &card.modality {
        Modality::Audio { .. } => join(buffers, 0, inputs, |input| match input {
            Input::Mel(mel) => arrangement.values(mel),
            _ => Cow::default(),
        }),
        Modality::Video { .. } if arrangement.is_float() => {
            join(buffers, 0, inputs, |input| match input {
                Input::Frame(frame) => arrangement.floats(frame).into(),
                _ => Cow::default(),
            })
        }
        Modality::Video { .. } => join(buffers, 0, inputs, |input| match input {
            Input::Frame(frame) => arrangement.values(frame),
            _ => Cow::default(),
        }),
        Modality::Fusion { .. } => {
            join(buffers, 0, inputs, |input| match input {
                Input::Fusion { video, .. } => video.into(),
                _ => Cow::default(),
            })?;
            join(buffers, 1, inputs, |input| match input {
                Input::Fusion { audio, .. } => audio.into(),
                _ => Cow::default(),
            })?;
            join(buffers, 2, inputs, |input| match input {
                Input::Fusion { present, .. } => present[..].into(),
                _ => Cow::default(),
            })
        }
    }
}

/// Writes one part of each item to the input of that number.
fn join<'a, T: PrimitiveTensorElementType + Copy + 'a>(
    buffers: &mut Buffers,
    index: usize,
    inputs: &[&'a Input],
    part: impl Fn(&'a Input) -> Cow<'a, [T]>,
) -> ort::Result<()> {
    let mut rest = buffers.input::<T>(index)?;
    for input in inputs {
        let part = part(input);
        let (item, others) = rest.split_at_mut(part.len());
        item.copy_from_slice(&part);
        rest = others;
    }
    Ok(())
}

fn zeros(tensor: &Tensor) -> ort::Result<DynTensor> {
    let mut zeros = DynTensor::new(&Allocator::default(), tensor.element, tensor.shape.clone())?;
    match tensor.element {
        TensorElementType::Uint8 => zeros.try_extract_tensor_mut::<u8>()?.1.fill(0),
        _ => zeros.try_extract_tensor_mut::<f32>()?.1.fill(0.0),
    }
    Ok(zeros)
}

/// One item's values of an output.
fn row(values: &[f32], size: usize, index: usize) -> &[f32] {
    &values[index * size..(index + 1) * size]
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
