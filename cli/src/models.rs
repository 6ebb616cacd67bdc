// SPDX-License-Identifier: MPL-2.0

//! Which models run. Models that the user chose are opened before the first input, so that what is wrong with them is
//! said once, and the fusion model is the one that belongs to them.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
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
    let of_user = models.audio_model.is_some()
        || models.video_model.is_some()
        || models.fusion_model.is_some();
    let settings = Options {
        provider: named(Provider::ALL, Provider::as_str, &models.provider),
        precision: named(Precision::ALL, Precision::as_str, &models.precision),
        threads,
        ..Options::default()
    };
    // The defaults belong together, and are opened when the first input needs them. A shard must not begin, and record
    // all its inputs as failed, with models that cannot be opened.
    let settings_of_user =
        settings.provider != Provider::Auto || settings.precision != Precision::Auto;
    if !of_user && !settings_of_user && options.shard.is_none() {
        return Ok((Open::new(), None));
    }
    let of_media = |modality: Modality,
                    name: &Option<String>,
                    default: &str|
     -> Result<Option<Arc<Model>>> {
        let name = name.as_deref().unwrap_or(default);
        if options.without == Some(modality) {
            return Ok(None);
        }
        let model = open(name, &settings)?;
        let right = match (&model.card().modality, modality) {
            (model::Modality::Audio { .. }, Modality::Audio) => true,
            (model::Modality::Video { .. }, Modality::Video) => true,
            _ => false,
        };
        if !right {
            let modality = modality.name();
            bail!(
                "the model `{name}` takes {}, and --{modality}-model needs a model for {modality}; `instruments models` lists them",
                takes(&model)
            );
        }
        Ok(Some(model))
    };
    let audio = of_media(Modality::Audio, &models.audio_model, DEFAULT_AUDIO_MODEL)?;
    let video = of_media(Modality::Video, &models.video_model, DEFAULT_VIDEO_MODEL)?;
    let open_with = |name: &str| -> Result<Option<Arc<Model>>> {
        let model = open(name, &settings)?;
        Ok(belongs(&model, video.as_deref(), audio.as_deref())?.then_some(model))
    };
    let mut note = None;
    let fusion = match models.fusion_model.as_deref() {
        Some("none") => None,
        Some(name) => match open_with(name)? {
            Some(model) => Some(model),
            None => {
                let ids =
                    [&video, &audio].map(|model| model.as_deref().map_or("none", id).to_owned());
                bail!(
                    "the fusion model `{name}` was not made for the embeddings `{}` of the pictures and `{}` of the sound: choose models that belong together, or none with --fusion-model none",
                    ids[0],
                    ids[1]
                );
            }
        },
        None => {
            let mut names = vec![DEFAULT_FUSION_MODEL.to_owned()];
            if models.audio_model.is_some() || models.video_model.is_some() {
                names.extend(doctor::names(&doctor::folders()));
            }
            let fusion = names.iter().find_map(|name| {
                // Others in the folder may be broken, or of no use with these options.
                let model = Model::open(name, &settings).ok()?;
                let belongs = belongs(&model, video.as_deref(), audio.as_deref());
                belongs.unwrap_or(false).then_some((name, model))
            });
            match fusion {
                Some((name, model)) => {
                    options.models.fusion_model = Some(name.clone());
                    Some(model)
                }
                None if !of_user => Some(open(DEFAULT_FUSION_MODEL, &settings)?),
                None => {
                    options.models.fusion_model = Some("none".into());
                    note = options.without.is_none().then(|| {
                        "no fusion model was made for these models: sound and pictures are tagged separately".to_owned()
                    });
                    None
                }
            }
        }
    };
    Ok((audio.into_iter().chain(video).chain(fusion).collect(), note))
}

fn open(name: &str, settings: &Options) -> Result<Arc<Model>> {
    Model::open(name, settings).map_err(|error| anyhow!(for_command(&error.to_string())))
}

/// Whether a fusion model was made for the embeddings of these models; a modality without a model fits any.
///
/// # Errors
/// It is no fusion model.
fn belongs(fusion: &Model, video: Option<&Model>, audio: Option<&Model>) -> Result<bool> {
    let model::Modality::Fusion {
        video: of_video,
        audio: of_audio,
        ..
    } = &fusion.card().modality
    else {
        bail!(
            "the model `{}` takes {}, and --fusion-model needs a fusion model; `instruments models` lists them",
            fusion.card().name,
            takes(fusion)
        );
    };
    let fits = |space: &Space, model: Option<&Model>| {
        model.is_none_or(|model| model.card().embedding.as_ref() == Some(space))
    };
    Ok(fits(of_video, video) && fits(of_audio, audio))
}

fn id(model: &Model) -> &str {
    model
        .card()
        .embedding
        .as_ref()
        .map_or("none", |space| &space.id)
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
        assert_eq!(chosen(&[]), (None, None));
        for (options, expected) in [
            (
                &["--audio-model", "ced-audioset"] as &[_],
                "fusion-audioset",
            ),
            (&["--audio-model", "ced-yt8m13"], "fusion-yt8m13"),
            (&["--precision", "fp32"], "fusion-yt8m13"),
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
