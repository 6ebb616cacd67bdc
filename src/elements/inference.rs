// SPDX-License-Identifier: MPL-2.0

//! What the user sets of an element that runs a model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gst::glib::{
    self, ParamSpecBoolean, ParamSpecEnum, ParamSpecFloat, ParamSpecString, ParamSpecUInt,
    ParamSpecUInt64,
};
use gst::prelude::*;

use super::analysis::Analysis;
use crate::meta::{self, Source, Tags};
use crate::model::{self, Card, Model, Precision, Progress, Provider};

pub const DEFAULT_THRESHOLD: f32 = 0.3;
pub const DEFAULT_MAX_TAGS: u32 = 3;
pub const DEFAULT_TIMEOUT: u64 = gst::ClockTime::from_seconds(30).nseconds();
pub const MAX_BATCH_SIZE: u32 = model::MAX_BATCH_SIZE as u32;
/// Tags that are about less time than this live for this time.
const MIN_LIFETIME: gst::ClockTime = gst::ClockTime::SECOND;

/// When a stream gets a tag event with its instruments.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstInstrumentsStreamTags")]
pub enum StreamTags {
    /// Never.
    #[enum_value(name = "Never")]
    Never,
    /// At its end.
    #[default]
    #[enum_value(name = "At the end of the stream, with the instruments of the whole stream")]
    End,
    /// On each change, too.
    #[enum_value(name = "Whenever the instruments change, and at the end of the stream")]
    Changes,
}

/// The instruments that a stream's latest tag event names.
#[derive(Default)]
pub struct Named(Vec<String>);

impl Named {
    /// The event for the stream on `sink` that `tags` ask for by `when`; `clip` says that they are about the whole stream.
    pub fn event(
        &mut self,
        when: StreamTags,
        sink: &gst::Pad,
        tags: &Tags,
        clip: bool,
    ) -> Option<gst::Event> {
        let due = match when {
            StreamTags::Never => false,
            StreamTags::End => clip,
            StreamTags::Changes => true,
        };
        let labels: Vec<_> = tags
            .scores
            .iter()
            .map(|(label, _)| label.as_str())
            .collect();
        let same = labels.len() == self.0.len()
            && labels
                .iter()
                .all(|label| self.0.iter().any(|named| named == label));
        if !due || same {
            return None;
        }
        let event = meta::stream_tags(sink, labels.iter().copied());
        self.0 = labels.into_iter().map(str::to_owned).collect();
        Some(event)
    }
}

/// The properties that `frameclassify` and `avfuse` share.
#[derive(Debug, Clone)]
pub struct Inference {
    pub labels_file: Option<String>,
    pub execution_provider: Provider,
    pub device: u32,
    pub precision: Precision,
    pub engine_cache: Option<String>,
    pub threads: u32,
    /// In nanoseconds; 0: none.
    pub timeout: u64,
    pub threshold: f32,
    pub max_tags: u32,
    pub repeat_tags: bool,
    /// In nanoseconds; 0: see [`Latest`].
    pub tag_lifetime: u64,
    pub post_messages: bool,
    pub stream_tags: StreamTags,
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            labels_file: None,
            execution_provider: Provider::Auto,
            device: 0,
            precision: Precision::Auto,
            engine_cache: None,
            threads: 0,
            timeout: DEFAULT_TIMEOUT,
            threshold: DEFAULT_THRESHOLD,
            max_tags: DEFAULT_MAX_TAGS,
            repeat_tags: true,
            tag_lifetime: 0,
            post_messages: true,
            stream_tags: StreamTags::default(),
        }
    }
}

impl Inference {
    /// The tags that follow from `analysis` by the model of `card`.
    pub fn tags(&self, analysis: &Analysis, source: Source, card: &Card) -> Tags {
        let (threshold, max_tags) = (self.threshold, self.max_tags);
        analysis.tags(source, &card.name, &card.labels, threshold, max_tags)
    }

    /// The options for opening a model, with at most `batch_size` inputs per run.
    pub fn options(&self, batch_size: u32) -> model::Options {
        model::Options {
            provider: self.execution_provider,
            device: self.device,
            precision: self.precision,
            threads: self.threads,
            batch_size: batch_size as usize,
            labels_file: self.labels_file.as_ref().map(PathBuf::from),
            engine_cache: self.engine_cache.as_ref().map(PathBuf::from),
            timeout: Duration::from_nanos(self.timeout),
        }
    }
}

/// Declares the properties of [`Inference`], one a line: its field, and the builder of its specification.
macro_rules! properties {
    ($($name:literal $field:ident: $builder:expr;)+) => {
        impl Inference {
            /// The properties' specifications.
            pub fn properties() -> impl Iterator<Item = glib::ParamSpec> {
                [$($builder.build()),+].into_iter()
            }

            /// Sets the property `name`; false when it is not among these.
            pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
                match name {
                    $($name => self.$field = value.get().expect("GObject checks the type"),)+
                    _ => return false,
                }
                true
            }

            /// The value of the property `name`; `None` when it is not among these.
            pub fn get(&self, name: &str) -> Option<glib::Value> {
                match name {
                    $($name => Some(self.$field.to_value()),)+
                    _ => None,
                }
            }
        }
    };
}

properties! {
    "labels-file" labels_file: ParamSpecString::builder("labels-file").mutable_ready()
        .blurb("Text file with one label per line, replacing the model's own labels");
    "execution-provider" execution_provider: ParamSpecEnum::builder_with_default("execution-provider", Provider::Auto).mutable_ready()
        .blurb("Execution provider that runs the model");
    "device" device: ParamSpecUInt::builder("device").mutable_ready()
        .blurb("Number of the GPU");
    "precision" precision: ParamSpecEnum::builder_with_default("precision", Precision::Auto).mutable_ready()
        .blurb("Number format that the model computes in, which selects the model file");
    "engine-cache" engine_cache: ParamSpecString::builder("engine-cache").mutable_ready()
        .blurb("Folder for the engines that TensorRT builds (unset = $XDG_CACHE_HOME/gst-instruments/engines)");
    "threads" threads: ParamSpecUInt::builder("threads").maximum(model::MAX_THREADS).mutable_ready()
        .blurb("Threads of one inference on the CPU (0 = one per core)");
    "timeout" timeout: ParamSpecUInt64::builder("timeout").default_value(DEFAULT_TIMEOUT).mutable_ready()
        .blurb("Time limit in nanoseconds for one run of the model, and for opening it except for building engines (0 = none)");
    "threshold" threshold: ParamSpecFloat::builder("threshold").minimum(0.0).maximum(1.0).default_value(DEFAULT_THRESHOLD).mutable_playing()
        .blurb("Minimum score of a tag");
    "max-tags" max_tags: ParamSpecUInt::builder("max-tags").default_value(DEFAULT_MAX_TAGS).mutable_playing()
        .blurb("Maximum tags per result (0 = all)");
    "repeat-tags" repeat_tags: ParamSpecBoolean::builder("repeat-tags").default_value(true).mutable_playing()
        .blurb("Put the latest tags on every buffer until they expire, not only on the first");
    "tag-lifetime" tag_lifetime: ParamSpecUInt64::builder("tag-lifetime").mutable_playing()
        .blurb("Time in nanoseconds after which the latest tags expire unless newer ones arrive (0 = the length of the analysed time, at least a second)");
    "post-messages" post_messages: ParamSpecBoolean::builder("post-messages").default_value(true).mutable_playing()
        .blurb("Post each result as an element message 'instrument-tags'");
    "stream-tags" stream_tags: ParamSpecEnum::builder_with_default("stream-tags", StreamTags::default()).mutable_playing()
        .blurb("When to send a tag event with the instruments as keywords");
}

/// The latest tags, which later buffers repeat until newer ones come or they expire: a lifetime
/// after the end of the time that they are about, or after the first buffer with them if that is later.
pub struct Latest {
    tags: Tags,
    /// The time around which they are valid.
    from: Option<gst::ClockTime>,
    to: Option<gst::ClockTime>,
}

impl Latest {
    /// `carrier` is the timestamp of the first buffer with `tags`, in the same time base.
    pub fn new(tags: &Tags, carrier: Option<gst::ClockTime>) -> Self {
        let end = tags
            .start
            .map(|start| start.saturating_add(tags.duration.unwrap_or_default()));
        Self {
            tags: tags.repeated(),
            from: tags.start.into_iter().chain(carrier).min(),
            to: end.max(carrier),
        }
    }

    /// The tags for the buffer at `position`, unless they have expired. `lifetime` is in nanoseconds;
    /// 0 is as long as the time that the tags are about, at least a second. The lifetime counts in
    /// both directions, as streams may play backwards and jump.
    pub fn at(&self, position: Option<gst::ClockTime>, lifetime: u64) -> Option<Tags> {
        let lifetime = match lifetime {
            0 => self.tags.duration.unwrap_or_default().max(MIN_LIFETIME),
            _ => gst::ClockTime::from_nseconds(lifetime.min(gst::ClockTime::MAX.nseconds())),
        };
        let valid = |position: gst::ClockTime| {
            let (from, to) = (self.from?, self.to?);
            let range = from.saturating_sub(lifetime)..=to.saturating_add(lifetime);
            Some(range.contains(&position))
        };
        // Without timestamps there is no telling.
        let expired = position.and_then(valid) == Some(false);
        (!expired).then(|| self.tags.clone())
    }
}

/// Opens a model for `element`, which says on the bus what takes long and what the user should know.
///
/// # Errors
/// Those of [`Model::open`].
pub fn open_model(
    element: &impl IsA<gst::Element>,
    name: &str,
    options: &model::Options,
) -> Result<Arc<Model>, model::Error> {
    let model = Model::open_with(name, options, &mut |progress| {
        // Without a bus there is no reader.
        let _ = element.post_message(progress_message(element, progress));
    })?;
    for note in model.take_notes() {
        gst::element_warning!(element, gst::LibraryError::Settings, ("{note}"));
    }
    Ok(model)
}

fn progress_message(element: &impl IsA<gst::Element>, progress: Progress) -> gst::Message {
    let (kind, text) = match progress {
        Progress::Started(text) => (gst::ProgressType::Start, text),
        Progress::Finished(text) => (gst::ProgressType::Complete, text),
        Progress::Failed(text) => (gst::ProgressType::Error, text),
    };
    gst::message::Progress::builder(kind, "engine", &text)
        .src(element.upcast_ref::<gst::Element>())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_expire() {
        let seconds = gst::ClockTime::from_seconds;
        let tags = Tags {
            source: Source::Audio,
            model: "m".into(),
            sources: vec![Source::Audio],
            start: Some(seconds(100)),
            duration: Some(seconds(10)),
            scores: vec![("Guitar".into(), 0.5)],
            media: 1.0,
            fresh: true,
        };
        // In mid-stream a window rides on the buffer at its end; at its start where media plays backwards.
        for (carrier, first, last) in [(110, 90, 120), (113, 90, 123), (95, 85, 120)] {
            let latest = Latest::new(&tags, Some(seconds(carrier)));
            let at = |position| latest.at(Some(seconds(position)), 0).is_some();
            let valid = [first - 1, first, last, last + 1].map(at);
            assert_eq!(valid, [false, true, true, false], "{carrier}");
        }
        let latest = Latest::new(&tags, Some(seconds(110)));
        let at = |position, lifetime| latest.at(position, lifetime);
        assert_eq!(at(Some(seconds(110)), 0), Some(tags.repeated()));
        assert!(at(Some(seconds(113)), 3_000_000_000).is_some());
        assert!(at(Some(seconds(114)), 3_000_000_000).is_none());
        assert!(at(Some(gst::ClockTime::MAX), u64::MAX).is_some());
        assert!(at(None, 0).is_some());
        // A picture of a stream in which each is analysed.
        let picture = Tags {
            duration: Some(gst::ClockTime::ZERO),
            ..tags.clone()
        };
        let latest = Latest::new(&picture, Some(seconds(100)));
        assert!(latest.at(Some(seconds(101)), 0).is_some());
        assert!(latest.at(Some(seconds(102)), 0).is_none());
    }

    #[test]
    fn progress_is_a_message_of_the_element() {
        gst::init().unwrap();
        let element = gst::Bin::with_name("tagger");
        for (progress, kind) in [
            (Progress::Started("text".into()), gst::ProgressType::Start),
            (
                Progress::Finished("text".into()),
                gst::ProgressType::Complete,
            ),
            (Progress::Failed("text".into()), gst::ProgressType::Error),
        ] {
            let message = progress_message(&element, progress);
            assert_eq!(message.src().unwrap().name(), "tagger");
            let gst::MessageView::Progress(message) = message.view() else {
                panic!("{message:?}");
            };
            assert_eq!(message.get(), (kind, "engine", "text"));
        }
    }
}
