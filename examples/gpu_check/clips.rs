// SPDX-License-Identifier: MPL-2.0

//! The tags of clips, as the elements give them.

use std::{collections::BTreeMap, path::PathBuf, sync::Once};

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};
use gstinstruments::{
    meta::{Source, Tags},
    model::{Precision, Provider},
};

use crate::Check;

/// The scores of all labels, by clip and by what they are of.
type Results = BTreeMap<(usize, &'static str), BTreeMap<String, f32>>;

/// The clips, and the processor's answers once they are known.
pub struct Answers {
    uris: Vec<String>,
    reference: Option<Results>,
}

/// Answers against the processor's.
pub struct Compared {
    /// How many results there are, by sound, by pictures and by both of all clips.
    pub results: usize,
    /// The largest difference of one label's score.
    pub difference: f32,
    /// How many results have the same best label.
    pub same_top: usize,
}

impl Answers {
    pub fn new(clips: &[PathBuf]) -> Result<Self> {
        let uri = |clip: &PathBuf| -> Result<String> {
            let path = clip.canonicalize();
            let path = path.with_context(|| format!("{} cannot be opened", clip.display()))?;
            Ok(glib::filename_to_uri(path, None)?.into())
        };
        Ok(Self {
            uris: clips.iter().map(uri).collect::<Result<_>>()?,
            reference: None,
        })
    }

    pub fn compare(
        &mut self,
        provider: Provider,
        precision: Precision,
        check: &Check,
    ) -> Result<Compared> {
        if self.uris.is_empty() {
            bail!("no clips were given");
        }
        let answers = |provider, precision| -> Result<Results> {
            let mut results = Results::new();
            for (clip, uri) in self.uris.iter().enumerate() {
                let tags = tag(uri, provider, precision, check);
                for tags in tags.with_context(|| uri.clone())? {
                    results.insert((clip, name(tags.source)), tags.scores.into_iter().collect());
                }
            }
            Ok(results)
        };
        let ours = answers(provider, precision)?;
        let reference = match self.reference.take() {
            Some(reference) => reference,
            None => answers(Provider::Cpu, Precision::Fp32)?,
        };
        let compared = compare(&ours, &reference);
        self.reference = Some(reference);
        compared
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Audio => "audio",
        Source::Video => "video",
        Source::Fused => "fused",
    }
}

fn compare(ours: &Results, theirs: &Results) -> Result<Compared> {
    let mut compared = Compared {
        results: theirs.len(),
        difference: 0.0,
        same_top: 0,
    };
    if !ours.keys().eq(theirs.keys()) {
        bail!("there are other results than on the processor");
    }
    for (ours, theirs) in ours.values().zip(theirs.values()) {
        for (label, theirs) in theirs {
            let ours = ours.get(label).context("a label is missing")?;
            compared.difference = compared.difference.max((ours - theirs).abs());
        }
        let top = |scores: &BTreeMap<String, f32>| {
            scores
                .iter()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(label, _)| label.clone())
        };
        compared.same_top += usize::from(top(ours) == top(theirs));
    }
    Ok(compared)
}

/// The results of the whole clip.
fn tag(uri: &str, provider: Provider, precision: Precision, check: &Check) -> Result<Vec<Tags>> {
    static INITIALISED: Once = Once::new();
    let mut started = Ok(());
    INITIALISED.call_once(|| {
        started = gst::init()
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(gstinstruments::plugin_register_static()?));
    });
    started?;
    let on = format!(
        "execution-provider={} precision={} device={} engine-cache=\"{}\" threshold=0 max-tags=0",
        provider.as_str(),
        precision.as_str(),
        check.device,
        crate::Scratch::path("shared").display()
    );
    let pipeline = gst::parse::launch(&format!(
        "uridecodebin uri=\"{uri}\" name=d \
         d. ! queue ! frameclassify scheduling=sync model={} {on} ! fuse.video \
         d. ! queue ! melspec ! frameclassify scheduling=sync model={} {on} ! fuse.audio \
         avfuse name=fuse {on} ! fakesink sync=false",
        check.video_model, check.audio_model
    ))?;
    let bus = pipeline.bus().context("no bus")?;
    let mut tags = Vec::new();
    // A failure to start is reported on the bus like any other.
    let _ = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let message = bus
            .timed_pop(gst::ClockTime::NONE)
            .context("the bus ended")?;
        match message.view() {
            gst::MessageView::Eos(_) => break Ok(tags),
            gst::MessageView::Error(error) => break Err(anyhow::anyhow!("{}", error.error())),
            gst::MessageView::Element(_) => {
                if let Some((found, true)) = Tags::from_message(&message) {
                    tags.push(found);
                }
            }
            _ => {}
        }
    };
    pipeline.set_state(gst::State::Null)?;
    result
}
