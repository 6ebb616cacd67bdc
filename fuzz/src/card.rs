// SPDX-License-Identifier: MPL-2.0

use std::collections::BTreeMap;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use gstinstruments::mel::{FrontEnd, Preset};
use gstinstruments::model::Modality;
use gstinstruments::model::internals::{Element, Fields, Graph, Port, verify};

use super::assert_names;

/// Bytes of one input that no model exceeds: more would be taken from memory for a single picture or patch.
const MOST_BYTES: u128 = 1 << 30;

/// A card and a graph, right but for a few changes: what is accepted is consistent and of bounded size.
pub fn card(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let path = Path::new("/nowhere/model.onnx");
    let (mut card, mut graph) = match u.int_in_range(0..=2)? {
        0 => audio(),
        1 => video(),
        _ => fusion(),
    };
    for _ in 0..u.int_in_range(0..=4)? {
        change(u, &mut card)?;
    }
    for _ in 0..u.int_in_range(0..=3)? {
        distort(u, &mut graph)?;
    }
    let metadata = card
        .iter()
        .map(|(key, value)| (format!("instruments.{key}"), value.clone()));
    let checked = Fields::read(path, metadata).and_then(|fields| verify(&fields, &graph, None));
    let (card, layout) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            assert_names(&error, path);
            return Ok(());
        }
    };
    let input = |name: &str| graph.inputs.iter().find(|port| port.name == name);
    let output = |name: &str| graph.outputs.iter().find(|port| port.name == name);
    for name in &layout.inputs {
        assert!(input(name).is_some(), "the graph has no input {name}");
    }
    for name in [&layout.tags].into_iter().chain(&layout.embedding) {
        assert!(output(name).is_some(), "the graph has no output {name}");
    }
    if let Some(count) = output(&layout.tags).and_then(|port| port.shape[1]) {
        assert_eq!(card.labels.len(), count);
    }
    let bytes = match &card.modality {
        Modality::Audio {
            front_end,
            min_frames,
        } => {
            front_end
                .validate()
                .expect("a front end that can be computed");
            assert!((1..=front_end.patch_frames).contains(min_frames));
            4 * front_end.bands as u128 * front_end.patch_frames as u128
        }
        Modality::Video {
            width,
            height,
            crop_fraction,
            ..
        } => {
            assert!(*crop_fraction > 0.0 && *crop_fraction <= 1.0);
            12 * u128::from(*width) * u128::from(*height)
        }
        Modality::Fusion {
            video,
            audio,
            frames,
        } => 4 * (frames.unwrap_or(1) as u128 * video.size as u128 + audio.size as u128),
    };
    assert!(
        bytes <= MOST_BYTES,
        "one input of {:?} takes {bytes} bytes",
        card.modality
    );
    Ok(())
}

type Card = BTreeMap<String, String>;

/// Changes a key of the card, removes one, or adds one.
fn change(u: &mut Unstructured, card: &mut Card) -> Result<()> {
    let keys: Vec<String> = card.keys().cloned().collect();
    let key = match u.int_in_range(0..=7)? {
        0 => u.arbitrary::<&str>()?.to_owned(),
        1 => "mel.layout".to_owned(),
        2 => "frame.ranges".to_owned(),
        3 => "variant".to_owned(),
        _ if keys.is_empty() => return Ok(()),
        _ => u.choose(&keys)?.clone(),
    };
    let values = [
        "",
        "0",
        "1",
        "-1",
        "4294967296",
        "18446744073709551615",
        "68719476736",
        "1e400",
        "NaN",
        "inf",
        " 8 ",
        "none",
        "any",
        "audio",
        "video",
        "fusion",
        "crop",
        "stretch",
        "softmax",
        "int8",
        "auto",
        "frames,bands",
        "1,bands,frames",
        "0.0,1.0",
        "0,1;0,1;0,1",
        "0,1;0",
        "inf,NaN",
    ];
    match u.int_in_range(0..=5)? {
        0 => drop(card.remove(&key)),
        1 => drop(card.insert(key, u.arbitrary::<&str>()?.to_owned())),
        2 => drop(card.insert(key, u.arbitrary::<i64>()?.to_string())),
        _ => drop(card.insert(key, (*u.choose(&values)?).to_owned())),
    }
    Ok(())
}

/// Changes, adds or removes an input, an output or an axis.
fn distort(u: &mut Unstructured, graph: &mut Graph) -> Result<()> {
    let ports = match u.arbitrary()? {
        true => &mut graph.inputs,
        false => &mut graph.outputs,
    };
    let index = u.int_in_range(0..=ports.len())?;
    if index == ports.len() {
        let name = *u.choose(&[
            "tags",
            "embedding",
            "mel",
            "frame",
            "video",
            "audio",
            "present",
            "x",
        ])?;
        ports.push(port(name, Element::Float32, &[None]));
        return Ok(());
    }
    let axis = match u.int_in_range(0..=4)? {
        0 => None,
        1 => Some(usize::MAX),
        2 => Some(60_000),
        3 => Some(u.arbitrary()?),
        _ => Some(u.int_in_range(0..=9)?),
    };
    match u.int_in_range(0..=7)? {
        0 => drop(ports.remove(index)),
        1 => ports[index].name = u.arbitrary::<&str>()?.to_owned(),
        2 => ports[index].element = Element::Uint8,
        3 => ports[index].element = Element::Other("int64".into()),
        4 => drop(ports[index].shape.pop()),
        5 => ports[index].shape.push(axis),
        _ => {
            if let Ok(place) = u.choose_iter(ports[index].shape.iter_mut()) {
                *place = axis;
            }
        }
    }
    Ok(())
}

fn port(name: &str, element: Element, shape: &[Option<usize>]) -> Port {
    Port {
        name: name.into(),
        element,
        shape: shape.into(),
        symbol: shape
            .first()
            .is_some_and(Option::is_none)
            .then(|| "N".into()),
    }
}

fn common(modality: &str, fields: &[(&str, &str)]) -> Card {
    [
        ("version", "1"),
        ("name", "model"),
        ("labels", "Guitar\nPiano\nDrums"),
        ("modality", modality),
    ]
    .iter()
    .chain(fields)
    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
    .collect()
}

fn outputs() -> Vec<Port> {
    vec![
        port("tags", Element::Float32, &[None, Some(3)]),
        port("embedding", Element::Float32, &[None, Some(4)]),
    ]
}

fn audio() -> (Card, Graph) {
    let front_end = FrontEnd::preset(Preset::Yamnet);
    let mut card = common("audio", &[("embedding", "sound/1")]);
    let fields = front_end.fields().into_iter();
    card.extend(fields.map(|(key, value)| (format!("frontend.{key}"), value)));
    let inputs = vec![port(
        "mel",
        Element::Float32,
        &[None, Some(1), Some(64), Some(front_end.patch_frames)],
    )];
    (
        card,
        Graph {
            inputs,
            outputs: outputs(),
        },
    )
}

fn video() -> (Card, Graph) {
    let card = common(
        "video",
        &[
            ("embedding", "picture/1"),
            ("frame.fit", "crop"),
            ("frame.crop-fraction", "0.875"),
        ],
    );
    let inputs = vec![port(
        "frame",
        Element::Uint8,
        &[None, Some(6), Some(8), Some(3)],
    )];
    (
        card,
        Graph {
            inputs,
            outputs: outputs(),
        },
    )
}

fn fusion() -> (Card, Graph) {
    let card = common(
        "fusion",
        &[
            ("fusion.video", "picture/1"),
            ("fusion.audio", "sound/1"),
            ("fusion.frames", "any"),
        ],
    );
    let inputs = vec![
        port("video", Element::Float32, &[None, None, Some(3)]),
        port("audio", Element::Float32, &[None, Some(4)]),
        port("present", Element::Float32, &[None, Some(2)]),
    ];
    let outputs = vec![port("tags", Element::Float32, &[None, Some(3)])];
    (card, Graph { inputs, outputs })
}
