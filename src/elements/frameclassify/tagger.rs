// SPDX-License-Identifier: MPL-2.0

//! Which model the element runs: opened while the element starts where the media is known by then,
//! otherwise, and when another is set in a running stream, on a thread of its own.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::imp::{CAT, FrameClassify};
use super::settings::{DEFAULT_AUDIO_MODEL, DEFAULT_VIDEO_MODEL};
use super::state::State;
use crate::elements::inference::open_model;
use crate::elements::model_error;
use crate::mel::FrontEnd;
use crate::model::{self, Card, Client, Modality, Options};

/// What the user asked to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The value of the property `model`.
    property: Option<String>,
    /// The model's name or path: that of the property, or a default.
    pub name: String,
    options: Options,
}

/// A model that is open.
#[derive(Clone)]
pub struct Tagger {
    pub client: Arc<Client>,
    pub card: Arc<Card>,
    pub asked: Asked,
}

/// Audio or pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Audio,
    Video,
}

impl Media {
    /// What all of `caps` are; `None` for both, or for neither.
    pub fn of(caps: &gst::CapsRef) -> Option<Self> {
        let all =
            |name| !caps.is_empty() && !caps.is_any() && caps.iter().all(|s| s.name() == name);
        if all("video/x-raw") {
            Some(Self::Video)
        } else {
            all("audio/x-raw").then_some(Self::Audio)
        }
    }
}

impl FrameClassify {
    /// What is to be opened for `media`; `None` when the model follows from the media, which is not known.
    pub(super) fn asked(&self, media: Option<Media>) -> Option<Asked> {
        let (property, batch_size) = {
            let settings = self.settings.lock().unwrap();
            (settings.model.clone(), settings.batch_size)
        };
        let default = media.map(|media| match media {
            Media::Audio => DEFAULT_AUDIO_MODEL,
            Media::Video => DEFAULT_VIDEO_MODEL,
        });
        Some(Asked {
            name: property.as_deref().or(default)?.to_owned(),
            property,
            options: self.inference.lock().unwrap().options(batch_size),
        })
    }

    /// Opens what was asked for, unless that is open already or cannot be known yet. A default model
    /// that cannot be opened is an error once media comes: a branch without media does not need it.
    pub(super) fn prepare(&self) -> Result<(), model::Error> {
        let sink = self.obj().sink_pad().clone();
        let caps = sink.allowed_caps();
        let caps = caps.unwrap_or_else(|| sink.query_caps(None));
        let Some(asked) = self.asked(Media::of(&caps)) else {
            return Ok(());
        };
        let is_open = {
            let state = self.state.lock().unwrap();
            state
                .tagger
                .as_ref()
                .is_some_and(|tagger| tagger.asked == asked)
        };
        if is_open {
            return Ok(());
        }
        let opened = self.open(&asked);
        let (tagger, result) = match opened {
            Err(err) if asked.property.is_none() => {
                gst::warning!(CAT, imp = self, "{err}");
                (None, Ok(()))
            }
            Err(err) => (None, Err(err)),
            Ok(tagger) => (Some(tagger), Ok(())),
        };
        let before = {
            let mut state = self.state.lock().unwrap();
            (
                std::mem::replace(&mut state.tagger, tagger),
                state.before.take(),
            )
        };
        // Closing a model takes a while: no lock is held.
        drop(before);
        result
    }

    fn open(&self, asked: &Asked) -> Result<Tagger, model::Error> {
        let model = open_model(&*self.obj(), &asked.name, &asked.options)?;
        gst::info!(
            CAT,
            imp = self,
            "{} on {}",
            asked.name,
            model.active_provider()
        );
        Ok(Tagger {
            card: Arc::new(model.card().clone()),
            client: Arc::new(Client::new(model)),
            asked: asked.clone(),
        })
    }

    /// Opens what was asked for in the background, unless it runs, is being opened, or has failed.
    pub(super) fn ensure(&self, state: &mut State, asked: Asked) {
        let running = state.tagger.as_ref().map(|tagger| &tagger.asked);
        let latest = state.opening.as_deref().or(running);
        if !state.failed && latest.is_none_or(|latest| latest.name != asked.name) {
            self.open_beside(state, asked);
        }
    }

    /// Opens what was asked for on a thread of its own, in place of what is being opened; the
    /// stream continues meanwhile with the model that it has.
    fn open_beside(&self, state: &mut State, asked: Asked) {
        gst::debug!(CAT, imp = self, "opening {} beside the stream", asked.name);
        let opening = Arc::new(asked);
        state.failed = false;
        state.opening = Some(opening.clone());
        self.obj().call_async(move |element| {
            let imp = element.imp();
            imp.opened(&opening, imp.open(&opening));
        });
    }

    /// Puts the model that was opened as `opening` in its place; one that cannot take it changes nothing.
    fn opened(&self, opening: &Arc<Asked>, result: Result<Tagger, model::Error>) {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        if !state.is_opening(opening) {
            // Another one was asked for, or the element was stopped.
            drop(guard);
            return;
        }
        let installed = result
            .map_err(|err| err.to_string())
            .and_then(|tagger| state.install(tagger));
        let runs = state.runs();
        drop(guard);
        match &installed {
            Err(message) if runs => self.keep_model(opening, message),
            Err(message) => {
                gst::element_imp_error!(self, gst::LibraryError::Init, ("{message}"));
            }
            Ok(_) => (),
        }
        // The streaming thread hears of it after the bus, or its own error would come first.
        let mut guard = self.state.lock().unwrap();
        if guard.is_opening(opening) {
            guard.opening = None;
            guard.failed = installed.is_err() && !runs;
        }
        drop(guard);
        self.changed.notify_all();
        if let Ok(unused) = installed {
            drop(unused);
            self.obj().notify("active-provider");
        }
    }

    /// Warns that the model that was asked for as `bad` cannot be used, and names the one that stays in use in the
    /// property `model`, unless that was set again.
    pub(super) fn keep_model(&self, bad: &Asked, message: &str) {
        let Some(kept) = self
            .state
            .lock()
            .unwrap()
            .tagger
            .as_ref()
            .map(|kept| kept.asked.clone())
        else {
            return;
        };
        let (bad_name, kept_name) = (&bad.name, &kept.name);
        gst::element_imp_warning!(
            self,
            gst::LibraryError::Settings,
            ("The model {bad_name} cannot be used, {kept_name} stays in use: {message}")
        );
        let mut settings = self.settings.lock().unwrap();
        if settings.model == bad.property {
            settings.model = kept.property;
            drop(settings);
            self.obj().notify("model");
        }
    }

    /// Sets the property `model`; in a running stream the new model takes the place of the old one once it is open.
    pub(super) fn set_model(&self, model: Option<String>) {
        self.settings.lock().unwrap().model = model;
        self.reload(true);
    }

    /// Opens the model of a running stream again: its file may have changed, or what the user asked for.
    pub(super) fn reload(&self, reload: bool) {
        let mut state = self.state.lock().unwrap();
        let media = state.stream.as_ref().and_then(|stream| stream.media());
        // Before the caps a stream has nothing to replace: they, or the next start, open the model.
        if reload
            && media.is_some()
            && let Some(asked) = self.asked(media)
        {
            self.open_beside(&mut state, asked);
        }
    }

    /// The front end of the audio model, which is opened if it must be, and the frames of its shortest patch.
    pub(super) fn front_end(&self) -> Option<(FrontEnd, usize)> {
        let mut state = self.state.lock().unwrap();
        if state.stream.as_ref()?.branch.is_none() {
            let asked = self.asked(Some(Media::Audio))?;
            self.ensure(&mut state, asked);
        }
        let waits = |state: &mut State| state.is_waiting() && !self.requests.is_interrupted();
        let state = self.changed.wait_while(state, waits).unwrap();
        match &state.tagger.as_ref()?.card.modality {
            Modality::Audio {
                front_end,
                min_frames,
            } => Some((front_end.clone(), *min_frames)),
            _ => None,
        }
    }

    pub(super) fn post_model_error(&self, err: &model::Error) {
        self.post_error_message(model_error(err));
    }
}
