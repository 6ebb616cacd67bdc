// SPDX-License-Identifier: MPL-2.0

//! From the model's answers to tags on buffers, in events and on the bus.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::Activation;
use super::imp::{CAT, FrameClassify};
use super::requests::{Answer, Request, Span};
use super::state::Settled;
use crate::elements::analysis::Analysis;
use crate::elements::inference::{Latest, StreamTags};
use crate::meta::{self, Features, Kind, Tags};
use crate::model::{self, Card, Output};

impl FrameClassify {
    /// Turns answers into tags and embeddings for the buffer at `timestamp`, or for an event, and
    /// announces them. An error was posted already.
    pub(super) fn accept(
        &self,
        answers: Vec<Answer>,
        timestamp: Option<gst::ClockTime>,
    ) -> Result<(Vec<Tags>, Vec<Features>), gst::FlowError> {
        if answers.is_empty() {
            return Ok(Default::default());
        }
        let inference = self.inference.lock().unwrap().clone();
        let asked = self.settings.lock().unwrap().activation;
        let (mut tags, mut embeddings, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        let settled = self.state.lock().unwrap().settle(answers);
        let results = match settled {
            Ok(settled) => self.settled(settled),
            Err(err) => {
                self.post_model_error(&err);
                return Err(gst::FlowError::Error);
            }
        };
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        let (Some(tagger), Some(stream)) = (&state.tagger, &mut state.stream) else {
            return Err(gst::FlowError::Flushing);
        };
        let source = stream.source();
        for (card, span, output) in results {
            stream.remember(&card, &span, &output);
            let mut scores = output.tags;
            activation(asked, card.activation).apply(&mut scores);
            let analysis = Analysis {
                scores,
                sources: vec![source],
                start: span.start,
                duration: span.duration,
                media: span.media,
            };
            finished.extend(stream.add(&card, &tagger.card, &analysis));
            let found = inference.tags(&analysis, source, &card);
            gst::debug!(
                CAT,
                imp = self,
                "{} for {}: {:?} by {}",
                span.start.display(),
                span.duration.display(),
                found.scores,
                card.name
            );
            tags.push(found);
            if let Some((space, data)) = card.embedding.as_ref().zip(output.embedding) {
                embeddings.push(Features {
                    id: space.id.clone(),
                    kind: Kind::Embedding,
                    dims: vec![space.size as u32],
                    data,
                    start: span.start,
                    duration: span.duration,
                    media: span.media,
                    blank: span.blank,
                    still: span.still,
                    front_end: Default::default(),
                });
            }
        }
        if let Some(tags) = tags.last() {
            stream.latest = Some(Latest::new(tags, timestamp));
        }
        drop(guard);
        self.post_whole(finished);
        if inference.post_messages {
            for tags in &tags {
                self.post(tags, timestamp, false);
            }
        }
        if let Some(latest) = tags.last() {
            self.push_stream_tags(inference.stream_tags, latest, false);
        }
        Ok((tags, embeddings))
    }

    /// The results among the answers, once it is said that a model gave way to another.
    fn settled(&self, settled: Settled) -> Vec<(Arc<Card>, Span, Output)> {
        let Settled {
            results,
            ignored,
            gave_way,
            unused,
        } = settled;
        if ignored > 0 {
            gst::debug!(
                CAT,
                imp = self,
                "{ignored} failures of a replaced model are ignored"
            );
        }
        if let (Some(err), Some(failed)) = (gave_way, unused.last()) {
            self.keep_model(&failed.asked, &err.to_string());
            self.obj().notify("active-provider");
        }
        results
    }

    /// Hands the requests to the model without waiting.
    pub(super) fn post_requests(&self, requests: Vec<Request>) {
        for request in requests {
            let (start, dropped) = (request.span.start, self.requests.dropped());
            self.requests.post(request);
            if self.requests.dropped() > dropped {
                gst::debug!(
                    CAT,
                    imp = self,
                    "one before {} is dropped, the model is slower than the stream",
                    start.display()
                );
            }
        }
    }

    /// Analyses patches that came in an event and sends what follows from them on in another.
    pub(super) fn analyse_event(&self, features: Vec<Features>) {
        let (asked, wait) = {
            let mut state = self.wait_for_model();
            let wait = state.stream.as_ref().is_some_and(|stream| stream.wait);
            (state.patches(features), wait)
        };
        match asked {
            Ok(asked) if asked.is_empty() => (),
            Ok(asked) if wait => self.push_answers(self.requests.ask(asked).unwrap_or_default()),
            Ok(asked) => {
                self.post_requests(asked);
                self.push_answers(self.requests.take());
            }
            Err(message) => {
                let _ = self.fail(message);
            }
        }
    }

    /// What is still under way at the end of the stream, and the result for all of it.
    pub(super) fn end(&self) {
        if let Some(answers) = self.requests.drain() {
            self.push_answers(answers);
            self.finish();
        }
    }

    /// Another stream follows without an end of the one before: its result is what is known by
    /// now, since live media does not wait for more.
    pub(super) fn start_stream(&self, seqnum: gst::Seqnum) {
        let starts = |state: &mut super::state::State| {
            let stream = state.stream.as_mut();
            stream.is_some_and(|stream| stream.starts(seqnum))
        };
        if !starts(&mut self.state.lock().unwrap()) {
            return;
        }
        gst::debug!(CAT, imp = self, "a stream begins");
        self.push_answers(self.requests.take());
        self.finish();
        self.requests.flush();
        if let Some(stream) = &mut self.state.lock().unwrap().stream {
            stream.restart();
            stream.orientation = gst_video::VideoOrientationMethod::Identity;
        }
    }

    /// Announces the result for the whole stream.
    fn finish(&self) {
        let (whole, unfed) = {
            let mut state = self.state.lock().unwrap();
            let Some(stream) = &mut state.stream else {
                return;
            };
            (stream.take_whole(), stream.take_unfed())
        };
        if unfed {
            self.warn_unfed();
        }
        self.post_whole(whole);
    }

    fn post_whole(&self, results: impl IntoIterator<Item = (Arc<Card>, Analysis)>) {
        let inference = self.inference.lock().unwrap().clone();
        for (card, analysis) in results {
            let tags = inference.tags(&analysis, analysis.sources[0], &card);
            gst::info!(
                CAT,
                imp = self,
                "the whole stream: {:?} by {}",
                tags.scores,
                card.name
            );
            if inference.post_messages {
                self.post(&tags, None, true);
            }
            self.push_stream_tags(inference.stream_tags, &tags, true);
            self.obj().src_pad().push_event(meta::clip_event(&tags));
        }
    }

    fn push_stream_tags(&self, when: StreamTags, tags: &Tags, clip: bool) {
        let element = self.obj();
        let event = {
            let mut state = self.state.lock().unwrap();
            let stream = state.stream.as_mut();
            stream.and_then(|stream| stream.named.event(when, element.sink_pad(), tags, clip))
        };
        if let Some(event) = event {
            element.src_pad().push_event(event);
        }
    }

    fn post(&self, tags: &Tags, timestamp: Option<gst::ClockTime>, clip: bool) {
        let element = self.obj();
        let message = tags.message(&*element, &element.segment(), timestamp, clip);
        // Without a bus there is no reader.
        let _ = element.post_message(message);
    }

    fn push_answers(&self, answers: Vec<Answer>) {
        if let Ok((tags, embeddings)) = self.accept(answers, None)
            && !tags.is_empty()
        {
            let src_pad = self.obj().src_pad().clone();
            src_pad.push_event(meta::event(&tags, &embeddings));
        }
    }

    pub(super) fn warn_unfed(&self) {
        gst::element_imp_warning!(
            self,
            gst::StreamError::Failed,
            ("This audio has no mel patches, so nothing is classified: put melspec in front of frameclassify")
        );
    }

    pub(super) fn fail(&self, message: String) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Failed, ("{}", message));
        gst::FlowError::Error
    }

    /// What the element's own requests took, and apart from that what all elements with the same session did.
    pub(super) fn stats(&self) -> gst::Structure {
        let client = {
            let state = self.state.lock().unwrap();
            state.tagger.as_ref().map(|tagger| tagger.client.clone())
        };
        let (own, session) = client
            .map(|client| (client.stats(), client.model().stats()))
            .unwrap_or_default();
        let of = |name, stats: &model::Stats| {
            gst::Structure::builder(name)
                .field("inferences", stats.inferences)
                .field("failures", stats.failures)
                .field("mean-latency", stats.mean_latency.as_nanos() as u64)
                .field("p99-latency", stats.p99_latency.as_nanos() as u64)
        };
        let shared = of("session", &session)
            .field("batch-sizes", gst::Array::new(session.batches.iter()))
            .field("cpu-nodes", session.cpu_nodes as u64)
            .build();
        of("stats", &own)
            .field("dropped", self.requests.dropped())
            .field("session", shared)
            .build()
    }
}

/// What the user asked for, else what the card says.
fn activation(asked: Activation, card: model::Activation) -> model::Activation {
    match asked {
        Activation::Auto => card,
        Activation::Softmax => model::Activation::Softmax,
        Activation::Sigmoid => model::Activation::Sigmoid,
        Activation::None => model::Activation::None,
    }
}
