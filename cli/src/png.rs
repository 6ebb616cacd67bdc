// SPDX-License-Identifier: MPL-2.0

//! PNG of a plot, by GStreamer's elements for SVG and PNG.

use anyhow::{Context, Result, bail};
use gst::prelude::*;

/// A plot that takes longer is given up.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Whether this GStreamer has the elements.
///
/// # Errors
/// Which one is missing, and its package.
pub fn check() -> Result<()> {
    for (element, package) in [("rsvgdec", "bad"), ("pngenc", "good")] {
        if gst::ElementFactory::find(element).is_none() {
            bail!(
                "--format png requires the element {element} (Debian package: gstreamer1.0-plugins-{package})"
            );
        }
    }
    Ok(())
}

/// The picture of a plot, as large as the plot says.
///
/// # Errors
/// What the elements say.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let pipeline = gst::parse::launch(
        "appsrc name=svg format=time caps=image/svg ! rsvgdec ! videoconvert ! pngenc snapshot=true ! appsink name=png sync=false",
    )?;
    let bin = pipeline.downcast_ref::<gst::Bin>();
    let element = |name| bin.and_then(|bin| bin.by_name(name));
    let source = element("svg").and_downcast::<gst_app::AppSrc>();
    let sink = element("png").and_downcast::<gst_app::AppSink>();
    let (source, sink) = source.zip(sink).context("appsrc or appsink is missing")?;
    let mut plot = gst::Buffer::from_slice(svg.to_owned());
    plot.make_mut().set_pts(gst::ClockTime::ZERO);
    let made = (|| {
        pipeline.set_state(gst::State::Playing)?;
        source.push_buffer(plot)?;
        source.end_of_stream()?;
        let sample = sink.try_pull_sample(PATIENCE);
        let Some(picture) = sample.as_ref().and_then(|sample| sample.buffer()) else {
            let error = pipeline
                .bus()
                .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => {
                    bail!("the plot cannot be drawn: {}", error.error())
                }
                _ => bail!("the plot cannot be drawn within {PATIENCE:.0}"),
            }
        };
        Ok(picture.map_readable()?.to_vec())
    })();
    pipeline.set_state(gst::State::Null)?;
    made
}
