// SPDX-License-Identifier: MPL-2.0

//! Why an input failed, as a sentence: of the errors that GStreamer reports, the one that says most.

use anyhow::{Error, anyhow};
use gio::prelude::*;
use gst::prelude::*;

use crate::doctor;

/// Seconds that a server may take to answer when it is asked why it cannot be read.
const ANSWER: u32 = 5;

/// The errors of one input.
#[derive(Default)]
pub struct Failure(Option<(Detail, Error)>);

/// How much an error says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// Something went wrong.
    Little,
    /// What was read looks like no media.
    Type,
    /// What is wrong with the media.
    Media,
    /// Why it cannot be read.
    Resource,
    /// Our own sentence.
    Own,
}

impl Failure {
    /// Takes an error from the bus.
    pub fn add(&mut self, error: &gst::message::Error) {
        let (detail, error) = describe(error);
        self.keep(detail, error);
    }

    /// Takes an error that says what is wrong.
    pub fn set(&mut self, error: Error) {
        self.keep(Detail::Own, error);
    }

    fn keep(&mut self, detail: Detail, error: Error) {
        // Of two that say as much, the second follows from the first.
        if self.0.as_ref().is_none_or(|(known, _)| detail > *known) {
            self.0 = Some((detail, error));
        }
    }

    /// Whether no other error can say more.
    pub fn is_clear(&self) -> bool {
        matches!(&self.0, Some((detail, _)) if *detail >= Detail::Resource)
    }

    /// The error, if any. Asks the server of `uri` where GStreamer does not say what it answered.
    pub fn into_error(self, uri: &str) -> Option<Error> {
        let (detail, error) = self.0?;
        let asked = (detail <= Detail::Media).then(|| ask(uri)).flatten();
        Some(asked.map_or(error, |answer| anyhow!("cannot be read: {answer}")))
    }
}

/// An error message as a sentence, and how much it says.
fn describe(error: &gst::message::Error) -> (Detail, Error) {
    let cause = error.error();
    let source = error.src().cloned();
    let within = |name: &str| {
        let mut object = source.clone();
        while let Some(own) = object {
            if own.name().starts_with(name) {
                return true;
            }
            object = own.parent();
        }
        false
    };
    if within("tagger") || cause.matches(gst::CoreError::Failed) {
        return (Detail::Own, anyhow!("{cause}"));
    }
    let status = error
        .details()
        .and_then(|details| details.get::<u32>("http-status-code").ok());
    let debug = error.debug().unwrap_or_default();
    if let Some(status @ 300..) = status {
        let phrase = cause.message().trim_end_matches('.');
        let more = match status {
            300..=399 => ", a redirection that is not followed: give the final address",
            401 | 407 => ": put the user name and the password into the URI",
            _ => "",
        };
        let sentence = anyhow!("cannot be read: the server answered {status} {phrase}{more}");
        return (Detail::Resource, sentence);
    }
    if debug.contains("does not accept Range") {
        let sentence = "the connection broke, or another part of the file is needed, and the server sends no parts of files (Range)";
        return (Detail::Resource, anyhow!("cannot be read: {sentence}"));
    }
    // The element that reads could not go on, and has said why before, if it did.
    let stopped = debug.contains("streaming stopped, reason");
    let opened = [
        gst::ResourceError::OpenRead,
        gst::ResourceError::OpenReadWrite,
    ];
    if cause.matches(gst::StreamError::TypeNotFound) {
        let sentence = anyhow!("cannot be decoded: it is empty, or not media that GStreamer knows");
        return (Detail::Type, sentence);
    }
    if cause.matches(gst::StreamError::WrongType) {
        let cause = cause.message().trim_end_matches('.').to_lowercase();
        return (
            Detail::Media,
            anyhow!("has neither audio nor video: {cause}"),
        );
    }
    let detail = if stopped {
        Detail::Little
    } else if opened.into_iter().any(|kind| cause.matches(kind)) {
        Detail::Media
    } else if cause.is::<gst::ResourceError>() {
        Detail::Resource
    } else {
        Detail::Media
    };
    let sentence = if cause.is::<gst::ResourceError>() || within("reader") {
        anyhow!("cannot be read: {cause}")
    } else {
        anyhow!("cannot be decoded: {cause}")
    };
    (detail, sentence)
}

/// Connects to the server of `uri`, and says why that fails, if it does. GStreamer 1.22 reports neither refused
/// connections nor failures of name resolution and TLS.
fn ask(uri: &str) -> Option<String> {
    let scheme = uri.split_once("://")?.0.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        "rtsp" => 554,
        "rtsps" => 322,
        _ => return None,
    };
    let client = gio::SocketClient::new();
    client.set_tls(scheme.ends_with('s'));
    client.set_timeout(ANSWER);
    let error = client
        .connect_to_uri(uri, port, gio::Cancellable::NONE)
        .err()?;
    Some(if error.matches(gio::IOErrorEnum::ConnectionRefused) {
        "the server refused the connection".into()
    } else if error.matches(gio::IOErrorEnum::TimedOut) {
        "the server does not answer".into()
    } else if error.is::<gio::ResolverError>() || error.matches(gio::IOErrorEnum::HostNotFound) {
        "the name of the server cannot be resolved".into()
    } else if error.is::<gio::TlsError>() {
        format!("no secure connection (TLS): {error}")
    } else {
        format!("no connection to the server: {error}")
    })
}

/// Why media of these caps cannot be decoded, as a part of a sentence that names the remedy.
pub fn no_decoder(caps: &gst::CapsRef) -> String {
    let name = caps.structure(0).map_or("", |caps| caps.name().as_str());
    let words = gst_pbutils::pb_utils_get_codec_description(caps);
    let package = match doctor::package(name) {
        Some(package) => format!(": install {package}"),
        None => String::new(),
    };
    format!("GStreamer has no decoder for {words} ({name}){package}")
}
