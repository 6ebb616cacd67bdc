// SPDX-License-Identifier: MPL-2.0

//! Which models run. Models that the user chose are opened before the first input, so that what is wrong with them is
//! said once, and the fusion model is the one that belongs to them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use gst::glib;
use gstinstruments::elements::avfuse::DEFAULT_FUSION_MODEL;
use gstinstruments::elements::frameclassify::{DEFAULT_AUDIO_MODEL, DEFAULT_VIDEO_MODEL};
use gstinstruments::model::{self, Model, Options, Precision, Provider, Space};

use crate::args::{Modality, Tag};
use crate::doctor;

/// Models that stay open until the elements have opened them.
pub type Open = Vec<Arc<Model>>;

/// Opens the models that `options` name, and sets the fusion model if that depends on the others; what the user should
/// know of this choice.
///
/// # Errors
/// A model cannot be opened or is of another kind, or the models do not belong together.
pub fn choose(options: &mut Tag, threads: u32) -> Result<(Open, Option<String>)> {
    let models = &options.models;
    let settings = Options {
        provider: named(Provider::ALL, Provider::as_str, &models.provider),
        precision: named(Precision::ALL, Precision::as_str, &models.precision),
        threads,
        ..Options::default()
    };
    let named_by_user = [
        &models.audio_model,
        &models.video_model,
        &models.fusion_model,
    ]
    .iter()
    .any(|model| model.is_some());
    let set_by_user = settings.provider != Provider::Auto || settings.precision != Precision::Auto;
    // The defaults belong together, and are opened when the first input needs them. A shard must not begin, and record
    // all its inputs as failed, with models that cannot be opened.
    if !named_by_user && !set_by_user && options.shard.is_none() {
        return Ok((Open::new(), None));
    }
    let open = |modality, name: &Option<String>, default| match options.without == Some(modality) {
        true => Ok(None),
        false => open_for(modality, name.as_deref().unwrap_or(default), &settings).map(Some),
    };
    let pair = Pair {
        audio: open(Modality::Audio, &models.audio_model, DEFAULT_AUDIO_MODEL)?,
        video: open(Modality::Video, &models.video_model, DEFAULT_VIDEO_MODEL)?,
    };
    let mut note = None;
    let fusion = match models.fusion_model.as_deref() {
        Some("none") => None,
        Some(name) => Some(pair.check(name, open_model(name, &settings)?)?),
        None if !named_by_user => Some(open_model(DEFAULT_FUSION_MODEL, &settings)?),
        None => {
            let fusion = pair.find_fusion(&settings);
            if fusion.is_none() && options.without.is_none() {
                note = Some("no fusion model was made for these models: sound and pictures are tagged separately".into());
            }
            let name = fusion.as_ref().map_or("none", |(name, _)| name);
            options.models.fusion_model = Some(name.into());
            fusion.map(|(_, model)| model)
        }
    };
    let all = [pair.audio, pair.video, fusion];
    Ok((all.into_iter().flatten().collect(), note))
}

/// The models whose results are fused; none for a modality that is left out.
struct Pair {
    audio: Option<Arc<Model>>,
    video: Option<Arc<Model>>,
}

impl Pair {
    /// Whether a fusion model was made for the embeddings of these models; `None` if it is no fusion model.
    fn fits(&self, fusion: &Model) -> Option<bool> {
        let model::Modality::Fusion { video, audio, .. } = &fusion.card().modality else {
            return None;
        };
        let fits = |space: &Space, model: &Option<Arc<Model>>| {
            let own = |model: &Arc<Model>| model.card().embedding.as_ref() == Some(space);
            model.as_ref().is_none_or(own)
        };
        Some(fits(video, &self.video) && fits(audio, &self.audio))
    }

    /// The fusion model of this name, which the user asked for.
    fn check(&self, name: &str, fusion: Arc<Model>) -> Result<Arc<Model>> {
        match self.fits(&fusion) {
            Some(true) => Ok(fusion),
            Some(false) => bail!(
                "the fusion model `{name}` was not made for the embeddings `{}` of the pictures and `{}` of the sound: choose models that belong together, or none with --fusion-model none",
                embedding(&self.video).unwrap_or("none"),
                embedding(&self.audio).unwrap_or("none")
            ),
            None => bail!(
                "the model `{name}` takes {}, and --fusion-model needs a fusion model; `instruments models` lists them",
                takes(&fusion)
            ),
        }
    }

    /// The default fusion model if it fits, or the first by name that does.
    fn find_fusion(&self, settings: &Options) -> Option<(String, Arc<Model>)> {
        let folders = doctor::folders();
        let others = doctor::names(&folders);
        let others = others
            .into_iter()
            .filter(|name| self.may_fit(name, &folders));
        let mut names = [DEFAULT_FUSION_MODEL.to_owned()].into_iter().chain(others);
        names.find_map(|name| {
            // One that cannot be opened is no choice.
            let model = Model::open(&name, settings).ok()?;
            self.fits(&model)?.then_some((name, model))
        })
    }

    /// Whether a model's sidecar leaves it open that [`fits`](Self::fits); opening each model would take seconds.
    fn may_fit(&self, name: &str, folders: &[PathBuf]) -> bool {
        let sidecars = folders
            .iter()
            .map(|folder| folder.join(format!("{name}.onnx.modelinfo")));
        let Some(sidecar) = sidecars.into_iter().find(|path| path.exists()) else {
            return true;
        };
        let sections = glib::KeyFile::new();
        if sections
            .load_from_file(sidecar, glib::KeyFileFlags::NONE)
            .is_err()
        {
            return true;
        }
        let may = |input: &str, model: &Option<Arc<Model>>| {
            // The id of the embedding, or only that of the input.
            let id = sections.string(input, "id").unwrap_or_default();
            sections.has_group(input)
                && (id.is_empty()
                    || id == input
                    || model.is_none()
                    || Some(id.as_str()) == embedding(model))
        };
        may("video", &self.video) && may("audio", &self.audio)
    }
}

/// The model of this name for sound or pictures.
fn open_for(modality: Modality, name: &str, settings: &Options) -> Result<Arc<Model>> {
    let model = open_model(name, settings)?;
    let of_modality = match modality {
        Modality::Audio => matches!(model.card().modality, model::Modality::Audio { .. }),
        Modality::Video => matches!(model.card().modality, model::Modality::Video { .. }),
    };
    if !of_modality {
        let modality = modality.name();
        bail!(
            "the model `{name}` takes {}, and --{modality}-model needs a model for {modality}; `instruments models` lists them",
            takes(&model)
        );
    }
    Ok(model)
}

fn open_model(name: &str, settings: &Options) -> Result<Arc<Model>> {
    Model::open(name, settings).map_err(|error| anyhow!(for_command(&error.to_string())))
}

/// The id of a model's embeddings.
fn embedding(model: &Option<Arc<Model>>) -> Option<&str> {
    let space = model.as_ref()?.card().embedding.as_ref()?;
    Some(&space.id)
}

fn takes(model: &Model) -> &'static str {
    match model.card().modality {
        model::Modality::Audio { .. } => "sound",
        model::Modality::Video { .. } => "pictures",
        model::Modality::Fusion { .. } => "embeddings",
    }
}

/// The provider or precision of this name, which the command line has checked.
fn named<T: Copy + Default>(all: &[T], name: fn(T) -> &'static str, wanted: &str) -> T {
    all.iter()
        .copied()
        .find(|one| name(*one) == wanted)
        .unwrap_or_default()
}

/// What an element or a model advises, in terms of the command's options.
pub fn for_command(text: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("use precision=auto", "use --precision auto"),
        (
            "or use `auto` or `cpu`",
            "or use --provider auto or --provider cpu",
        ),
        (
            "set another `execution-provider`",
            "choose another --provider",
        ),
        (", or put frameclassify on a branch with pictures", ""),
        (", or put frameclassify on a branch with audio", ""),
        (
            "raise `timeout`, give it more `threads`, or choose a smaller model",
            "choose a smaller model",
        ),
        (
            "set `engine-cache`, XDG_CACHE_HOME or HOME",
            "set XDG_CACHE_HOME or HOME",
        ),
        (
            "set `engine-cache` to a writable folder",
            "set XDG_CACHE_HOME to a writable folder",
        ),
    ];
    let replace = |text: String, (element, command): &(&str, &str)| text.replace(element, command);
    WORDS.iter().fold(text.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    /// The fusion model for some options, and the note.
    fn chosen(options: &[&str]) -> (Option<String>, Option<String>) {
        // SAFETY: each test is a process of its own, and its threads have not begun.
        unsafe {
            std::env::set_var(
                "GST_INSTRUMENTS_MODEL_PATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../models"),
            );
        }
        gst::init().unwrap();
        let args = [&["instruments", "tag", "a.wav"], options].concat();
        let Command::Tag(mut tag) = Args::parse_from(args).command else {
            panic!("another command");
        };
        let (_, note) = choose(&mut tag, 1).unwrap();
        (tag.models.fusion_model, note)
    }

    #[test]
    fn the_fusion_model_belongs_to_the_others() {
        // The element's own default.
        for options in [
            &[] as &[_],
            &["--precision", "fp32"],
            &["--shard", "0/1", "--out", "o"],
        ] {
            assert_eq!(chosen(options), (None, None), "{options:?}");
        }
        for (options, expected) in [
            (
                &["--audio-model", "ced-audioset"] as &[_],
                "fusion-audioset",
            ),
            (&["--audio-model", "ced-yt8m13"], "fusion-yt8m13"),
            (
                &[
                    "--audio-model",
                    "choi-yt8m13",
                    "--video-model",
                    "inception-yt8m13",
                ],
                "fusion-inception-choi-k20",
            ),
            (
                &["--audio-model", "ced-audioset", "--without", "video"],
                "fusion-audioset",
            ),
        ] {
            assert_eq!(
                chosen(options),
                (Some(expected.into()), None),
                "{options:?}"
            );
        }
        let (fusion, note) = chosen(&["--audio-model", "han-yt8m13"]);
        assert_eq!(fusion.as_deref(), Some("none"));
        assert!(
            note.unwrap()
                .starts_with("no fusion model was made for these models")
        );
    }
}
