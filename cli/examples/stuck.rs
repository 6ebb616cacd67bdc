// SPDX-License-Identifier: MPL-2.0

//! A plugin for tests: a decoder of FLAC and a demultiplexer of FLV that never return. It lies in a folder in which GStreamer
//! may look for plugins, and has elements only where the environment variable `STUCK_ELEMENTS` is set. If that is `abort`,
//! they end the process instead.

use std::thread::park;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

/// Waits for ever at the first buffer, or crashes.
fn stick() -> ! {
    if std::env::var_os("STUCK_ELEMENTS").is_some_and(|value| value == "abort") {
        std::process::abort();
    }
    loop {
        park();
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct Decoder;

    #[glib::object_subclass]
    impl ObjectSubclass for Decoder {
        const NAME: &'static str = "StuckDecoder";
        type Type = super::Decoder;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Decoder {
        fn constructed(&self) {
            self.parent_constructed();
            add_pads(&*self.obj(), true);
        }
    }
    impl GstObjectImpl for Decoder {}
    impl ElementImpl for Decoder {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            metadata("Codec/Decoder/Audio")
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            templates("audio/x-flac", "audio/x-raw")
        }
    }

    #[derive(Default)]
    pub struct Demuxer;

    #[glib::object_subclass]
    impl ObjectSubclass for Demuxer {
        const NAME: &'static str = "StuckDemuxer";
        type Type = super::Demuxer;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Demuxer {
        fn constructed(&self) {
            self.parent_constructed();
            add_pads(&*self.obj(), false);
        }
    }
    impl GstObjectImpl for Demuxer {}
    impl ElementImpl for Demuxer {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            metadata("Codec/Demuxer")
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            templates("video/x-flv", "audio/x-raw")
        }
    }
}

glib::wrapper! {
    pub struct Decoder(ObjectSubclass<imp::Decoder>) @extends gst::Element, gst::Object;
}

glib::wrapper! {
    pub struct Demuxer(ObjectSubclass<imp::Demuxer>) @extends gst::Element, gst::Object;
}

fn metadata(class: &str) -> Option<&'static gst::subclass::ElementMetadata> {
    let metadata = gst::subclass::ElementMetadata::new("Stuck", class, "Never returns", "Tests");
    Some(Box::leak(Box::new(metadata)))
}

fn templates(sink: &str, src: &str) -> &'static [gst::PadTemplate] {
    let template = |name, direction, presence, caps: &str| {
        let caps = caps.parse().expect("caps");
        gst::PadTemplate::new(name, direction, presence, &caps).expect("a template")
    };
    let presence = if sink.starts_with("audio") {
        gst::PadPresence::Always
    } else {
        gst::PadPresence::Sometimes
    };
    let templates = vec![
        template(
            "sink",
            gst::PadDirection::Sink,
            gst::PadPresence::Always,
            sink,
        ),
        template("src", gst::PadDirection::Src, presence, src),
    ];
    templates.leak()
}

fn add_pads(element: &impl IsA<gst::Element>, with_source: bool) {
    let template = |name| element.pad_template(name).expect("its template");
    let sink = gst::Pad::builder_from_template(&template("sink"))
        .chain_function(|_, _, _| stick())
        .build();
    element.add_pad(&sink).expect("a new pad");
    if with_source {
        let src = gst::Pad::from_template(&template("src"));
        element.add_pad(&src).expect("a new pad");
    }
}

fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    if std::env::var_os("STUCK_ELEMENTS").is_none() {
        return Ok(());
    }
    let first = gst::Rank::PRIMARY + 1000;
    gst::Element::register(Some(plugin), "stuckdecoder", first, Decoder::static_type())?;
    gst::Element::register(Some(plugin), "stuckdemuxer", first, Demuxer::static_type())
}

gst::plugin_define!(
    stuck,
    "Elements that never return",
    register,
    "1.0",
    "MPL",
    "stuck",
    "stuck",
    "https://example.org",
    "2026-01-01"
);
