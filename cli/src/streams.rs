// SPDX-License-Identifier: MPL-2.0

//! What the pads and caps of demultiplexers say about their streams.

use gst::prelude::*;

use crate::args::Modality;
use crate::failure::no_decoder;

/// Decoders of whole files.
const WHOLE: [&str; 2] = ["musepackdec", "sfdec"];

/// The program and the PID of a transport stream's stream, which the demultiplexer puts into the stream's id.
pub fn place(pad: &gst::Pad) -> Option<(u16, u16)> {
    let id = pad.stream_id()?;
    let (program, pid) = id.rsplit_once(':')?.1.split_once('/')?;
    let pid = u16::from_str_radix(pid.get(4..)?, 16).ok()?;
    Some((program.parse().ok()?, pid))
}

/// What the container says about a stream. Its tags may not have reached `pad` yet, but the demultiplexer has sent them.
fn tag<'a, T: gst::Tag<'a, TagType = &'a str>>(pad: &gst::Pad) -> Option<String> {
    let own = |pad: &gst::Pad| {
        let events = (0..).map_while(|index| pad.sticky_event::<gst::event::Tag>(index));
        let mut streams = events.filter(|event| event.tag().scope() == gst::TagScope::Stream);
        streams.find_map(|event| {
            let value = event.tag().get::<T>()?;
            Some(value.get().to_owned())
        })
    };
    let mut source = Some(pad.clone());
    while let Some(pad) = source {
        let sink = match pad.downcast_ref::<gst::GhostPad>() {
            Some(ghost) => {
                source = ghost.target();
                continue;
            }
            None => pad.iterate_internal_links().next().ok().flatten(),
        };
        if let Some(value) = own(&pad).or_else(|| own(sink.as_ref()?)) {
            return Some(value);
        }
        source = sink.and_then(|sink| sink.peer());
    }
    None
}

/// What the stream of `pad` is called.
pub fn names(pad: &gst::Pad) -> Vec<String> {
    let language = tag::<gst::tags::LanguageCode>(pad);
    let name = tag::<gst::tags::LanguageName>(pad);
    let title = tag::<gst::tags::Title>(pad);
    let known = [language, name, title].into_iter().flatten();
    known.filter(|name| name != "und").collect()
}

/// What a stream of these caps is, if it is either.
pub fn modality(caps: &gst::CapsRef) -> Option<Modality> {
    let structure = caps.structure(0)?;
    let name = match structure.name().as_str() {
        "application/x-rtp" => structure.get::<&str>("media").ok()?,
        "application/x-cenc" | "application/x-cbcs" => {
            structure.get::<&str>("original-media-type").ok()?
        }
        name => name,
    };
    match name.split('/').next()? {
        "audio" => Some(Modality::Audio),
        "video" | "image" => Some(Modality::Video),
        _ => None,
    }
}

pub fn is_encrypted(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|caps| {
        matches!(
            caps.name().as_str(),
            "application/x-cenc" | "application/x-cbcs"
        )
    })
}

/// The caps of a stream, or those that it may have.
pub fn caps_of(pad: &gst::Pad) -> gst::Caps {
    pad.current_caps().unwrap_or_else(|| pad.query_caps(None))
}

pub fn modality_of(pad: &gst::Pad) -> Option<Modality> {
    modality(&caps_of(pad))
}

/// A track for a list: its number and what is known about it.
pub fn describe(number: usize, pad: &gst::Pad) -> String {
    let codec = gst_pbutils::pb_utils_get_codec_description(&caps_of(pad));
    let mut known = vec![codec.to_string()];
    known.extend(names(pad));
    if is_default(pad) {
        known.push("default".into());
    }
    format!("{number} ({})", known.join(", "))
}

/// Whether a stream is a picture, e.g. of a cover.
pub fn is_cover(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    caps.is_some_and(|caps| {
        caps.structure(0)
            .is_some_and(|caps| caps.name().starts_with("image/"))
    })
}

/// Whether the container says that a stream is one to play.
pub fn is_default(pad: &gst::Pad) -> bool {
    let start = pad.sticky_event::<gst::event::StreamStart>(0);
    start.is_some_and(|start| start.stream_flags().contains(gst::StreamFlags::SELECT))
}

/// The decoder of files of these caps that takes no streams.
pub fn whole_decoder(caps: &gst::Caps) -> Option<gst::ElementFactory> {
    let mut decoders = WHOLE
        .iter()
        .filter_map(|name| gst::ElementFactory::find(name));
    decoders.find(|decoder| decoder.can_sink_any_caps(caps))
}

/// Why a stream of these caps cannot be decoded.
pub fn undecodable(caps: &gst::Caps) -> String {
    let why = no_decoder(caps);
    match whole_decoder(caps).is_some() {
        true => format!("{why} but that of files: download it first"),
        false => why,
    }
}

/// Whether there is a decoder for these caps, or for what a parser or a depayloader makes of them.
pub fn is_decodable(caps: &gst::Caps) -> bool {
    use gst::ElementFactoryType as Type;
    if caps
        .structure(0)
        .is_some_and(|caps| caps.name().ends_with("/x-raw"))
    {
        return true;
    }
    let factories = |kind| gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let decoders: Vec<_> = factories(Type::DECODER)
        .into_iter()
        .filter(|decoder| !WHOLE.contains(&decoder.name().as_str()))
        .collect();
    let decoded = |caps: &gst::Caps| {
        decoders
            .iter()
            .any(|decoder| decoder.can_sink_any_caps(caps))
    };
    if decoded(caps) {
        return true;
    }
    let between = factories(Type::PARSER)
        .into_iter()
        .chain(factories(Type::DEPAYLOADER));
    between
        .filter(|factory| factory.can_sink_any_caps(caps))
        .any(|factory| {
            factory.static_pad_templates().iter().any(|template| {
                let caps = template.caps();
                template.direction() == gst::PadDirection::Src && (caps.is_any() || decoded(&caps))
            })
        })
}
