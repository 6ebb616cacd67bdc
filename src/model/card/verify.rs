// SPDX-License-Identifier: MPL-2.0
//! A card against its graph.

use std::{collections::BTreeSet, path::Path};

use super::{
    Activation, Card, Fit, MAX_VALUES, Modality, Space,
    fields::{Fields, PREFIX, labels},
    graph::{Element, Graph, Port},
    layout::{Arrangement, Layout, MEL_LAYOUTS},
};
use crate::mel::{FrontEnd, FrontEndError};
use crate::model::{error::Error, find, provider::Precision};

/// The key of the shortest patch's frames, where their number may vary.
const MIN_FRAMES: &str = "mel.min-frames";

/// Reads the card and finds in the graph what it describes.
///
/// # Errors
/// [`Error::Card`], [`Error::CardContradictsGraph`], [`Error::Labels`] or [`Error::Unreadable`].
pub fn verify(
    fields: &Fields,
    graph: &Graph,
    labels_file: Option<&Path>,
) -> Result<(Card, Layout), Error> {
    let check = Check { fields, graph };
    check.tensors()?;
    let (modality, inputs, arrangement) = match fields.text("modality")? {
        "audio" => check.audio()?,
        "video" => check.video()?,
        "fusion" => check.fusion()?,
        other => {
            return Err(fields.problem(format!(
                "`instruments.modality` is `{other}`; use one of audio, video, fusion"
            )));
        }
    };
    let tags = check.output("tags")?;
    let (labels, source_name) = labels(fields, labels_file)?;
    check.matches("the output", tags, Element::Float32, &[None, None])?;
    if let Some(count) = tags.shape[1].filter(|count| *count != labels.len()) {
        return Err(Error::Labels {
            path: fields.path().into(),
            source_name,
            labels: labels.len(),
            tags: count,
        });
    }
    let embedding = match fields.optional("embedding") {
        Some(id) => Some(check.embedding(id)?),
        None => None,
    };
    let (embedding, embedding_port) = embedding.unzip();
    let card = Card {
        name: fields.text("name")?.to_owned(),
        modality,
        labels,
        activation: fields.choice(
            "activation",
            &[
                ("none", Activation::None),
                ("softmax", Activation::Softmax),
                ("sigmoid", Activation::Sigmoid),
            ],
        )?,
        embedding,
        precision: match fields.optional("variant") {
            Some(_) => {
                let all: Vec<_> = Precision::ALL.iter().map(|p| (p.as_str(), *p)).collect();
                fields.choice("variant", &all)?
            }
            None => find::precision(fields.path()),
        },
        licence: fields.optional("licence").unwrap_or_default().to_owned(),
        provenance: fields.optional("provenance").unwrap_or_default().to_owned(),
        metrics: fields.optional("metrics").unwrap_or_default().to_owned(),
    };
    let layout = Layout {
        arrangement,
        batches: inputs.iter().all(|port| port.shape[0].is_none()),
        batch_symbols: inputs
            .iter()
            .map(|port| port.symbol.clone())
            .collect::<Option<BTreeSet<_>>>()
            .map(|symbols| symbols.into_iter().collect())
            .unwrap_or_default(),
        inputs: inputs.iter().map(|port| port.name.clone()).collect(),
        tags: tags.name.clone(),
        embedding: embedding_port.map(|port| port.name.clone()),
    };
    Ok((card, layout))
}

/// The ranges of an input that takes bytes.
const BYTES: &str = "0.0,255.0";

/// What a model takes, by which inputs, and how these take one item.
type Input<'a> = (Modality, Vec<&'a Port>, Arrangement);

struct Check<'a> {
    fields: &'a Fields,
    graph: &'a Graph,
}

impl<'a> Check<'a> {
    /// The tensors that the sidecar describes must exist.
    fn tensors(&self) -> Result<(), Error> {
        let Graph { inputs, outputs } = self.graph;
        let there = |name: &str| inputs.iter().chain(outputs).any(|port| port.name == name);
        match self.fields.tensors().find(|name| !there(name)) {
            None => Ok(()),
            Some(name) => Err(self.contradiction(
                format!("its sidecar describes a tensor `{name}`"),
                format!(
                    "its inputs are {}, its outputs {}",
                    names(inputs),
                    names(outputs)
                ),
            )),
        }
    }

    fn audio(&self) -> Result<Input<'a>, Error> {
        let front_end = self.front_end()?;
        let (bands, frames) = (front_end.bands, front_end.patch_frames);
        let min_frames = match self.fields.optional(MIN_FRAMES) {
            Some(_) => self.fields.count(MIN_FRAMES, frames)?,
            None => frames,
        };
        let mel = self.input("mel", 1)?;
        let shape = |layout: &str| -> Vec<Option<usize>> {
            let arrangement = Arrangement::mel(layout, bands, frames);
            [None]
                .into_iter()
                .chain(arrangement.shape.into_iter().map(Some))
                .collect()
        };
        let fits = |layout: &&str| mel.takes(&Element::Float32, &shape(layout));
        let layout = match self.fields.optional("mel.layout") {
            Some(_) => {
                let allowed = MEL_LAYOUTS.map(|layout| (layout, layout));
                self.fields.choice("mel.layout", &allowed)?
            }
            None => MEL_LAYOUTS.into_iter().find(fits).unwrap_or(MEL_LAYOUTS[0]),
        };
        self.matches("the input", mel, Element::Float32, &shape(layout))?;
        let arrangement = Arrangement::mel(layout, bands, frames);
        let fixed = arrangement.frames_axis().and_then(|axis| mel.shape[axis]);
        if let Some(fixed) = fixed.filter(|_| min_frames < frames) {
            return Err(self.contradiction(
                format!("it takes patches of {min_frames} to {frames} frames"),
                format!("its input {mel} takes {fixed}"),
            ));
        }
        let modality = Modality::Audio {
            front_end,
            min_frames,
        };
        Ok((modality, vec![mel], arrangement))
    }

    /// The front end, which must be one that can be computed.
    fn front_end(&self) -> Result<FrontEnd, Error> {
        match FrontEnd::from_fields(self.fields.group("frontend.")) {
            Ok(front_end) => Ok(front_end),
            Err(FrontEndError::Value { name, must, .. }) => {
                let key = format!("frontend.{name}");
                let value = self.fields.text(&key)?;
                let problem = format!("`{PREFIX}{key}` is `{value}`, but {must}");
                Err(self.fields.problem(problem))
            }
            Err(FrontEndError::Missing { name }) => {
                Err(self.fields.missing(&format!("frontend.{name}")))
            }
            Err(error) => Err(self.fields.problem(error.to_string())),
        }
    }

    fn video(&self) -> Result<Input<'a>, Error> {
        let frame = self.input("frame", 1)?;
        let planar = matches!(frame.shape[..], [_, Some(3), _, last] if last != Some(3));
        let (shape, axes) = if planar {
            ([None, Some(3), None, None], [2, 3])
        } else {
            ([None, None, None, Some(3)], [1, 2])
        };
        // Bytes that stay as they are: GStreamer's own elements want to be told.
        let is_bytes = |ranges: &&str| *ranges == BYTES && frame.takes(&Element::Uint8, &shape);
        let ranges = self.fields.ranges(&frame.name);
        let ranges = ranges.filter(|ranges| !is_bytes(ranges));
        if frame.takes(&Element::Float32, &shape) && ranges.is_none() {
            return Err(self.fields.problem(format!(
                "its input {frame} takes floats, but nothing says which: add what bytes become to the section [{}] of \
                 its sidecar, for example ranges=0.0,1.0",
                frame.name
            )));
        }
        let element = match ranges {
            Some(_) => Element::Float32,
            None => Element::Uint8,
        };
        self.matches("the input", frame, element, &shape)?;
        let [Some(height), Some(width)] = axes.map(|axis| frame.shape[axis]) else {
            return Err(self.contradiction(
                "a video model takes pictures of one size".into(),
                format!("its input is {frame}"),
            ));
        };
        self.item(frame, &[height, width, 3])?;
        let arrangement = Arrangement::picture(height, width, planar, ranges);
        let arrangement = arrangement.ok_or_else(|| {
            self.fields.problem(format!(
                "the ranges of its input `{}` are `{}`; give min,max, or one such pair per channel, separated by `;`",
                frame.name,
                ranges.unwrap_or_default()
            ))
        })?;
        let crop_fraction = match self.fields.optional("frame.crop-fraction") {
            Some(_) => self.fields.number("frame.crop-fraction")?,
            None => 1.0,
        };
        if !(crop_fraction > 0.0 && crop_fraction <= 1.0) {
            return Err(self.fields.problem(format!(
                "`instruments.frame.crop-fraction` is {crop_fraction}; use a number above 0, at most 1"
            )));
        }
        let fit = self.fields.choice(
            "frame.fit",
            &[("stretch", Fit::Stretch), ("crop", Fit::Crop)],
        )?;
        let modality = Modality::Video {
            width: width as u32,
            height: height as u32,
            fit,
            crop_fraction,
        };
        Ok((modality, vec![frame], arrangement))
    }

    fn fusion(&self) -> Result<Input<'a>, Error> {
        let frames = match self.fields.optional("fusion.frames") {
            None | Some("any") => None,
            Some(_) => Some(self.fields.count("fusion.frames", MAX_VALUES)?),
        };
        let (video, audio, present) = (
            self.input("video", 3)?,
            self.input("audio", 3)?,
            self.input("present", 3)?,
        );
        self.matches("the input", video, Element::Float32, &[None, frames, None])?;
        self.matches("the input", audio, Element::Float32, &[None, None])?;
        self.matches("the input", present, Element::Float32, &[None, Some(2)])?;
        if let (None, Some(fixed)) = (frames, video.shape[1]) {
            return Err(self.contradiction(
                "`instruments.fusion.frames` is any".into(),
                format!("its input {video} takes {fixed}"),
            ));
        }
        self.item(video, &[frames.unwrap_or(1), self.size(video)?])?;
        self.item(audio, &[self.size(audio)?])?;
        let space = |key, port: &Port| {
            Ok(Space {
                id: self.fields.text(key)?.to_owned(),
                size: self.size(port)?,
            })
        };
        let modality = Modality::Fusion {
            video: space("fusion.video", video)?,
            audio: space("fusion.audio", audio)?,
            frames,
        };
        let inputs = vec![video, audio, present];
        Ok((modality, inputs, Arrangement::default()))
    }

    fn embedding(&self, id: &str) -> Result<(Space, &'a Port), Error> {
        let name = self.fields.tensor("embedding").unwrap_or("embedding");
        let Some(port) = self.graph.outputs.iter().find(|port| port.name == name) else {
            return Err(self.contradiction(
                format!("`instruments.embedding` is {id}"),
                format!(
                    "it has no output `embedding`, only {}",
                    names(&self.graph.outputs)
                ),
            ));
        };
        self.matches("the output", port, Element::Float32, &[None, None])?;
        let space = Space {
            id: id.to_owned(),
            size: self.size(port)?,
        };
        Ok((space, port))
    }

    /// The input of that name or id, or the only one, whatever its name, where one is wanted.
    fn input(&self, name: &str, wanted: usize) -> Result<&'a Port, Error> {
        let inputs = &self.graph.inputs;
        let name = self.fields.tensor(name).unwrap_or(name);
        let named = inputs.iter().find(|port| port.name == name);
        let only = inputs.first().filter(|_| wanted == 1);
        match named.or(only).filter(|_| inputs.len() == wanted) {
            Some(port) => Ok(port),
            None => Err(self.contradiction(
                format!("its modality calls for {wanted} input(s), among them `{name}`"),
                format!("its inputs are {}", names(inputs)),
            )),
        }
    }

    /// The output of that name or id, or the only one, whatever its name.
    fn output(&self, name: &str) -> Result<&'a Port, Error> {
        let outputs = &self.graph.outputs;
        let name = self.fields.tensor(name).unwrap_or(name);
        let named = outputs.iter().find(|port| port.name == name);
        let only = outputs.first().filter(|_| outputs.len() == 1);
        named.or(only).ok_or_else(|| {
            self.contradiction(
                format!("every model has an output `{name}`"),
                format!(
                    "its outputs are {}, and its sidecar calls none of them `{name}`",
                    names(outputs)
                ),
            )
        })
    }

    /// A port must be as the card says, its axis 0 of any length or 1.
    fn matches(
        &self,
        what: &str,
        port: &Port,
        element: Element,
        shape: &[Option<usize>],
    ) -> Result<(), Error> {
        let batch = port.shape.first().copied().flatten().unwrap_or(1);
        if port.takes(&element, shape) && batch == 1 {
            return Ok(());
        }
        let expected = Port {
            name: port.name.clone(),
            element,
            shape: shape.to_vec(),
            symbol: None,
        };
        Err(self.contradiction(
            format!("it calls for {what} {expected}, the first axis any or 1"),
            format!("the graph has {port}"),
        ))
    }

    /// One item of an input must have values, and not too many.
    fn item(&self, port: &Port, lengths: &[usize]) -> Result<(), Error> {
        let values = lengths
            .iter()
            .try_fold(1_usize, |values, length| values.checked_mul(*length));
        if values.is_some_and(|values| (1..=MAX_VALUES).contains(&values)) {
            return Ok(());
        }
        Err(self.fields.problem(format!(
            "one item of its input {port} must have 1 to {} values",
            MAX_VALUES
        )))
    }

    /// The length of a port's last axis.
    fn size(&self, port: &Port) -> Result<usize, Error> {
        port.shape.last().copied().flatten().ok_or_else(|| {
            self.contradiction(
                "embeddings have a fixed size".into(),
                format!("the last axis of {port} is dynamic"),
            )
        })
    }

    fn contradiction(&self, card: String, graph: String) -> Error {
        Error::CardContradictsGraph {
            path: self.fields.path().into(),
            card,
            graph,
        }
    }
}

fn names(ports: &[Port]) -> String {
    let all: Vec<String> = ports
        .iter()
        .map(|port| format!("`{}`", port.name))
        .collect();
    all.join(", ")
}
