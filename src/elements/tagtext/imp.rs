// SPDX-License-Identifier: MPL-2.0

//! Converts the tags on buffers to a text or metadata stream: JSON lines, plain text, WebVTT, ID3 or KLV.
//!
//! ```sh
//! gst-launch-1.0 filesrc location=examples/media/band.mp4 ! decodebin3 ! melspec ! frameclassify ! tagtext ! filesink location=target/tags.jsonl
//! ```
//!
//! The media is dropped: put a `tee` in front of `tagtext` to use it elsewhere too.

use std::sync::{LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::settings::{DEFAULT_HYSTERESIS, Settings};
use super::state::{State, wall_clock};
use super::{Format, Source, Timing};
use crate::elements::inference::DEFAULT_THRESHOLD;
use crate::elements::{always_pads, is_live};
use crate::meta::{self, Tags};
use crate::text;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "tagtext",
        gst::DebugColorFlags::empty(),
        Some("Tags as a text stream"),
    )
});

/// The formats in order of preference: elements that accept any caps, such as `filesink`, get JSON.
const FORMATS: [(Format, text::Format, &str); 5] = [
    (Format::Json, text::Format::Json, "application/x-json"),
    (Format::Text, text::Format::Text, "text/x-raw,format=utf8"),
    (
        Format::WebVtt,
        text::Format::WebVtt,
        "application/x-subtitle-vtt",
    ),
    (Format::Id3, text::Format::Id3, "meta/x-id3,parsed=true"),
    (Format::Klv, text::Format::Klv, "meta/x-klv,parsed=true"),
];

/// The caps of `format`; with `Auto`, those of all formats, or of those for `events`.
fn caps(format: Format, events: bool) -> gst::Caps {
    let wanted = |own: Format| format == Format::Auto || own == format;
    let names = FORMATS
        .iter()
        .filter(|(own, text, _)| wanted(*own) && !(events && text.is_cue()));
    names
        .map(|(.., name)| name.parse::<gst::Structure>().expect("valid caps"))
        .collect()
}

/// See the module's documentation.
#[derive(glib::Properties)]
#[properties(wrapper_type = super::TagText)]
pub struct TagText {
    sink_pad: gst::Pad,
    src_pad: gst::Pad,
    #[property(name = "source", get, set, type = Source, member = source, default, mutable_ready, blurb = "Which tags become text")]
    #[property(name = "format", get, set, type = Format, member = format, default, mutable_ready, blurb = "Output format")]
    #[property(name = "timing", get, set, type = Timing, member = timing, default, mutable_ready, blurb = "Timestamps of the texts")]
    #[property(name = "only-changes", get, set, type = bool, member = only_changes, mutable_ready, blurb = "Write only the results whose labels differ from those before")]
    #[property(name = "events", get, set, type = bool, member = events, mutable_ready, blurb = "Write when an instrument begins to play, when more is known about it, and when it has ended, in place of results")]
    #[property(name = "threshold", get, set, type = f32, member = threshold, minimum = 0.0, maximum = 1.0, default_value = DEFAULT_THRESHOLD, mutable_ready, blurb = "With only-changes and events: a label whose score falls below this is removed")]
    #[property(name = "hysteresis", get, set, type = f32, member = hysteresis, minimum = 0.0, maximum = 1.0, default_value = DEFAULT_HYSTERESIS, mutable_ready, blurb = "With only-changes and events: a label is added when its score exceeds 'threshold' by this much")]
    #[property(name = "fields", get, set, nullable, type = Option<String>, member = fields, mutable_ready, blurb = "Constants to add to each JSON object, as NAME=VALUE,NAME=VALUE")]
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// The latest segment, for a stream whose caps are negotiated after its segment.
    segment: Mutex<Option<gst::FormattedSegment<gst::ClockTime>>>,
    is_live: Mutex<bool>,
}

#[glib::object_subclass]
impl ObjectSubclass for TagText {
    const NAME: &'static str = "GstTagText";
    type Type = super::TagText;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = |name| {
            class
                .pad_template(name)
                .expect("the class has this pad template")
        };
        let sink_pad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                TagText::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.chain(&buffer),
                )
            })
            .event_function(|pad, parent, event| {
                TagText::catch_panic_pad_function(
                    parent,
                    || false,
                    |this| this.sink_event(pad, event),
                )
            })
            .build();
        let src_pad = gst::Pad::builder_from_template(&template("src")).build();
        Self {
            sink_pad,
            src_pad,
            settings: Mutex::default(),
            state: Mutex::default(),
            segment: Mutex::default(),
            is_live: Mutex::default(),
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for TagText {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        for pad in [&self.sink_pad, &self.src_pad] {
            element
                .add_pad(pad)
                .expect("a new element has no pad of that name");
        }
    }
}

impl GstObjectImpl for TagText {}

impl ElementImpl for TagText {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Tags to text",
                "Filter/Converter",
                "Converts the instrument tags on buffers to text or timed metadata",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| always_pads(&gst::Caps::new_any(), &caps(Format::Auto, false)));
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused
            && let Err(message) = self.settings.lock().unwrap().check()
        {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{}", message));
            return Err(gst::StateChangeError);
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            *self.state.lock().unwrap() = None;
            *self.segment.lock().unwrap() = None;
        }
        Ok(success)
    }
}

impl TagText {
    fn chain(&self, buffer: &gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let fresh = Tags::from_buffer(buffer).into_iter();
        let fresh: Vec<_> = fresh.filter(|tags| tags.fresh).collect();
        let clock = if *self.is_live.lock().unwrap() {
            wall_clock(self.obj().upcast_ref())
        } else {
            None
        };
        for tags in &fresh {
            gst::debug!(
                CAT,
                imp = self,
                "A result of {} from {}: {:?}",
                tags.source.name(),
                tags.start.display(),
                tags.scores
            );
        }
        let (texts, gap) = {
            let mut state = self.state.lock().unwrap();
            let state = state.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            state.see(buffer, clock);
            let texts = state.write(fresh, false, false);
            let gap = state.gap(&texts).filter(|_| buffer.pts().is_some());
            (texts, gap)
        };
        self.push(texts)?;
        if let Some((start, duration)) = gap {
            gst::trace!(CAT, imp = self, "No text at {start}");
            let gap = gst::event::Gap::builder(start).duration(duration);
            self.src_pad.push_event(gap.build());
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(_) => return self.negotiate(),
            gst::EventView::Segment(segment) => {
                let seqnum = event.seqnum();
                let segment = segment.segment().clone().downcast().unwrap_or_default();
                self.finish(false);
                return self.begin(segment, seqnum);
            }
            gst::EventView::FlushStop(_) => {
                gst::debug!(CAT, imp = self, "A flush forgets what was held");
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.restart();
                }
            }
            gst::EventView::Eos(_) => self.finish(true),
            gst::EventView::CustomDownstream(_) => {
                if let Some(clip) = meta::clip_from_event(&event) {
                    return self.push_late(vec![clip], true);
                }
                if let Some((tags, _)) = meta::from_event(&event) {
                    return self.push_late(tags, false);
                }
            }
            _ => (),
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    /// Negotiates the format with the element downstream.
    fn negotiate(&self) -> bool {
        let settings = self.settings.lock().unwrap().clone();
        let own = caps(settings.format, settings.events);
        let mut agreed = self.src_pad.peer_query_caps(Some(&own));
        if agreed.is_empty() {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("tagtext produces {own}, which the element downstream does not accept: set 'format', or put another element after tagtext")
            );
            return false;
        }
        agreed.fixate();
        let name = agreed.structure(0).map(|structure| structure.name());
        let format = FORMATS
            .iter()
            .find(|(.., caps)| name.is_some_and(|name| caps.split(',').next() == Some(name)))
            .map_or(text::Format::Json, |(_, format, _)| *format);
        gst::debug!(CAT, imp = self, "Texts are {agreed}");
        *self.is_live.lock().unwrap() = is_live(&self.sink_pad);
        {
            let mut state = self.state.lock().unwrap();
            match state.as_mut() {
                Some(state) => state.change(format),
                None => {
                    let fields = settings.fields().unwrap_or_default();
                    let mut new = State::new(format, settings, fields);
                    if let Some(segment) = self.segment.lock().unwrap().clone() {
                        new.segment = segment;
                    }
                    *state = Some(new);
                }
            }
        }
        self.src_pad.push_event(gst::event::Caps::new(&agreed))
    }

    /// Begins a segment. The text stream's segment has no end, because the text of the last result is sent after the
    /// media's segment has ended.
    fn begin(
        &self,
        mut segment: gst::FormattedSegment<gst::ClockTime>,
        seqnum: gst::Seqnum,
    ) -> bool {
        if let Some(state) = self.state.lock().unwrap().as_mut() {
            state.segment = segment.clone();
        }
        *self.segment.lock().unwrap() = Some(segment.clone());
        if segment.rate() > 0.0 {
            segment.set_stop(gst::ClockTime::NONE);
        }
        let event = gst::event::Segment::builder(&segment).seqnum(seqnum);
        self.src_pad.push_event(event.build())
    }

    /// Sends the texts that are still held; `at_end` of a stream without texts also the format's header.
    fn finish(&self, at_end: bool) {
        let texts = match self.state.lock().unwrap().as_mut() {
            Some(state) => state.finish(at_end),
            None => return,
        };
        // The event that follows is sent even if this fails.
        let _ = self.push(texts);
    }

    /// Sends the texts of results that no buffer carries.
    fn push_late(&self, tags: Vec<Tags>, clip: bool) -> bool {
        let texts = match self.state.lock().unwrap().as_mut() {
            Some(state) => state.write(tags, clip, true),
            None => return false,
        };
        self.push(texts).is_ok()
    }

    fn push(&self, texts: Vec<gst::Buffer>) -> Result<gst::FlowSuccess, gst::FlowError> {
        for text in texts {
            gst::log!(CAT, imp = self, "{text:?}");
            self.src_pad.push(text)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
