// SPDX-License-Identifier: MPL-2.0
//! Late fusion of picture and audio embeddings. Knows no GStreamer.
//!
//! A [`Collector`] turns time-stamped embeddings into [`Window`]s, [`Whole`] into one of all; a [`Fusion`] runs the
//! fusion model on a window, whatever is missing in it.

#![deny(missing_docs)]

mod collector;
mod coverage;
mod mean;
mod sample;
mod whole;

use std::sync::Arc;

pub use self::{
    collector::{Collector, Config, Reason, SHORT, SLIDE, Skipped, Source, Span, Window},
    sample::Sample,
    whole::Whole,
};

use crate::model::{Client, Error, Input, Modality, Model, Space};

/// A fusion model, run on windows.
#[derive(Debug)]
pub struct Fusion {
    client: Client,
    video: Space,
    audio: Space,
    frames: Option<usize>,
}

impl Fusion {
    /// # Errors
    /// [`Error::WrongInput`] when the model is an audio or a video model.
    pub fn new(model: Arc<Model>) -> Result<Self, Error> {
        let kind = match &model.card().modality {
            Modality::Fusion {
                video,
                audio,
                frames,
            } => {
                let (video, audio, frames) = (video.clone(), audio.clone(), *frames);
                return Ok(Self {
                    client: Client::new(model),
                    video,
                    audio,
                    frames,
                });
            }
            Modality::Audio { .. } => "mel patches",
            Modality::Video { .. } => "pictures",
        };
        Err(Error::WrongInput {
            model: model.card().name.clone(),
            expected: kind.into(),
            actual: "embeddings; use a fusion model".into(),
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.client.model()
    }

    /// Ends the current run and refuses later ones until [`resume`](Self::resume).
    pub fn cancel(&self) {
        self.client.cancel();
    }

    /// Allows runs again.
    pub fn resume(&self) {
        self.client.resume();
    }

    /// How many picture embeddings the model takes; `None`: any number.
    pub fn frames(&self) -> Option<usize> {
        self.frames
    }

    /// The embeddings of `source` that the model was trained on.
    pub fn space(&self, source: Source) -> &Space {
        match source {
            Source::Video => &self.video,
            Source::Audio => &self.audio,
        }
    }

    /// Whether the model was trained on embeddings of this space.
    ///
    /// # Errors
    /// [`Error::WrongEmbedding`] names both spaces.
    pub fn check(&self, source: Source, id: &str, size: usize) -> Result<(), Error> {
        let trained = self.space(source);
        let source_name = match source {
            Source::Video => "video",
            Source::Audio => "audio",
        };
        if trained.id == id && trained.size == size {
            return Ok(());
        }
        Err(Error::WrongEmbedding {
            model: self.model().card().name.clone(),
            source_name,
            expected: format!("{} ({} values)", trained.id, trained.size),
            actual: format!("{id} ({size} values)"),
        })
    }

    /// Runs the model on a window and waits. The pictures are spread evenly: as many as the model takes, or at most
    /// `most` if it takes any number; if the window has fewer, some are repeated. A missing modality is passed as zeros
    /// and marked as missing. Returns one value per label, before the card's activation.
    ///
    /// # Errors
    /// [`Error::WrongInput`] for embeddings of another size, and those of [`Client::run`].
    pub fn run(&self, window: &Window, most: usize) -> Result<Vec<f32>, Error> {
        let rows = &window.video;
        let of_size = |size: usize, row: &[f32]| row.len() == size;
        if !rows.iter().all(|row| of_size(self.video.size, row)) {
            return Err(self.wrong_size(&self.video, rows.iter().map(|row| row.len())));
        }
        let count = self.frames.unwrap_or(rows.len().min(most)).max(1);
        let video = if rows.is_empty() {
            vec![0.0; count * self.video.size]
        } else {
            let spread = sample::spread(rows.len(), count);
            spread
                .flat_map(|index| rows[index].iter().copied())
                .collect()
        };
        let present = |is: bool| if is { 1.0 } else { 0.0 };
        let input = Input::Fusion {
            video,
            audio: match &window.audio {
                Some(row) if of_size(self.audio.size, row) => row.to_vec(),
                Some(row) => return Err(self.wrong_size(&self.audio, [row.len()])),
                None => vec![0.0; self.audio.size],
            },
            present: [present(!rows.is_empty()), present(window.audio.is_some())],
        };
        Ok(self.client.run(input)?.tags)
    }

    fn wrong_size(&self, space: &Space, sizes: impl IntoIterator<Item = usize>) -> Error {
        let wrong = sizes.into_iter().find(|size| *size != space.size);
        Error::WrongInput {
            model: self.model().card().name.clone(),
            expected: format!("`{}` embeddings of {} values", space.id, space.size),
            actual: format!("of {} values", wrong.unwrap_or_default()),
        }
    }
}
