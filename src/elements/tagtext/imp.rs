// SPDX-License-Identifier: MPL-2.0

//! Turns the tags on buffers into a text stream: JSON lines, or plain text for overlays and subtitles.
//!
//! ```sh
//! gst-launch-1.0 filesrc location=examples/media/band.mp4 ! decodebin ! melspec ! frameclassify ! tagtext ! filesink location=target/tags.jsonl
//! ```
//!
//! The media ends here: put a `tee` in front where it shall go on.

use std::sync::{LazyLock, Mutex};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use serde_json::json;

use super::Source;
use crate::elements::{always_pads, seconds};
use crate::meta::{self, Tags};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "tagtext",
        gst::DebugColorFlags::empty(),
        Some("Tags as a text stream"),
    )
});

const JSON: &str = "application/x-json";
const TEXT: &str = "text/x-raw";

static SRC_CAPS: LazyLock<gst::Caps> = LazyLock::new(|| {
    // JSON first: what takes anything, such as a file, gets all there is to know.
    gst::Caps::builder_full()
        .structure(gst::Structure::new_empty(JSON))
        .structure(
            gst::Structure::builder(TEXT)
                .field("format", "utf8")
                .build(),
        )
        .build()
});

#[derive(Default)]
struct State {
    /// Whether the text is JSON; unset before the caps are agreed on.
    json: Option<bool>,
    /// Where the last text of each source ended, in the time base of the tags.
    ends: Vec<(meta::Source, gst::ClockTime)>,
    /// Where the last buffer ended.
    position: Option<gst::ClockTime>,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    source: Source,
}

/// See the module's documentation.
#[derive(glib::Properties)]
#[properties(wrapper_type = super::TagText)]
pub struct TagText {
    sink_pad: gst::Pad,
    src_pad: gst::Pad,
    #[property(name = "source", get, set, type = Source, member = source, default, blurb = "Which tags become text")]
    settings: Mutex<Settings>,
    state: Mutex<State>,
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
            .chain_function(|pad, parent, buffer| {
                TagText::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.chain(pad, buffer),
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
                "Turns the instrument tags on buffers into JSON lines or plain text",
                "The gst-instruments developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| always_pads(&gst::Caps::new_any(), &SRC_CAPS));
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            *self.state.lock().unwrap() = State::default();
        }
        Ok(success)
    }
}

impl TagText {
    fn chain(
        &self,
        _pad: &gst::Pad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let tags = Tags::from_buffer(&buffer);
        let fresh = tags.into_iter().filter(|tags| tags.fresh).collect();
        let pushed = self.push(fresh, buffer.pts())?;
        if let Some(pts) = buffer.pts() {
            self.state.lock().unwrap().position = Some(pts + buffer.duration().unwrap_or_default());
            if !pushed {
                // Whoever overlays the text need not wait for more of it.
                let gap = gst::event::Gap::builder(pts).duration(buffer.duration());
                self.src_pad.push_event(gap.build());
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(_) => self.negotiate(),
            gst::EventView::FlushStop(_) => {
                let mut state = self.state.lock().unwrap();
                state.ends.clear();
                state.position = None;
                drop(state);
                gst::Pad::event_default(pad, Some(&*self.obj()), event)
            }
            gst::EventView::CustomDownstream(_) if meta::from_event(&event).is_some() => {
                let (tags, _) = meta::from_event(&event).unwrap_or_default();
                let position = self.state.lock().unwrap().position;
                self.push(tags, position).is_ok()
            }
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    /// Agrees with downstream on JSON or plain text.
    fn negotiate(&self) -> bool {
        let mut caps = self.src_pad.peer_query_caps(Some(&SRC_CAPS));
        if caps.is_empty() {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("tagtext makes {JSON} or {TEXT}, format=utf8, and the element after it takes neither")
            );
            return false;
        }
        caps.fixate();
        let json = caps.structure(0).is_some_and(|s| s.name() == JSON);
        gst::debug!(CAT, imp = self, "making {caps}");
        self.state.lock().unwrap().json = Some(json);
        self.src_pad.push_event(gst::event::Caps::new(&caps))
    }

    /// Sends one text buffer for each of `tags`, at `timestamp`; says whether there was any.
    fn push(
        &self,
        tags: Vec<Tags>,
        timestamp: Option<gst::ClockTime>,
    ) -> Result<bool, gst::FlowError> {
        let wanted = self.settings.lock().unwrap().source;
        let mut pushed = false;
        for tags in tags {
            let is_wanted = match wanted {
                Source::Any => true,
                Source::Audio => tags.source == meta::Source::Audio,
                Source::Video => tags.source == meta::Source::Video,
                Source::Fused => tags.source == meta::Source::Fused,
            };
            if !is_wanted {
                continue;
            }
            let (json, duration) = {
                let mut state = self.state.lock().unwrap();
                let json = state.json.ok_or(gst::FlowError::NotNegotiated)?;
                (json, state.period(&tags))
            };
            let text = if json { line(&tags) } else { plain(&tags) };
            if text.is_empty() {
                continue;
            }
            let mut buffer = gst::Buffer::from_slice(text.into_bytes());
            {
                let buffer = buffer.make_mut();
                buffer.set_pts(timestamp);
                buffer.set_duration(duration);
            }
            self.src_pad.push(buffer)?;
            pushed = true;
        }
        Ok(pushed)
    }
}

impl State {
    /// How long `tags` are the latest: as long as the time since the last ones of their source.
    fn period(&mut self, tags: &Tags) -> Option<gst::ClockTime> {
        let end = tags.start? + tags.duration?;
        let last = self
            .ends
            .iter_mut()
            .find(|(source, _)| *source == tags.source);
        let before = match last {
            Some((_, last)) => Some(std::mem::replace(last, end)),
            None => {
                self.ends.push((tags.source, end));
                None
            }
        };
        before
            .and_then(|before| end.checked_sub(before))
            .filter(|period| !period.is_zero())
            .or(tags.duration)
    }
}

/// One JSON object and a line feed; times in seconds.
fn line(tags: &Tags) -> String {
    let time = |time: gst::ClockTime| seconds(time.nseconds());
    let end = tags.start.zip(tags.duration).map(|(s, d)| time(s + d));
    let list: Vec<_> = tags
        .scores
        .iter()
        .map(|(label, score)| json!({"label": label, "score": score}))
        .collect();
    let object = json!({
        "source": tags.source.name(),
        "model": tags.model,
        "start": tags.start.map(time),
        "end": end,
        "tags": list,
    });
    format!("{object}\n")
}

/// The labels with their scores, e.g. `Violin 82 %, Piano 31 %`; empty without any.
fn plain(tags: &Tags) -> String {
    let labels: Vec<_> = tags
        .scores
        .iter()
        .map(|(label, score)| format!("{label} {:.0} %", 100.0 * score))
        .collect();
    labels.join(", ")
}
