// SPDX-License-Identifier: MPL-2.0

//! `docs/plugins/gst_plugins_cache.json` describes the elements to hotdoc, the tool of GStreamer's documentation. This
//! writes it again with `UPDATE=1 cargo test --test doc_cache`.

mod common;

use gst::glib;
use gst::prelude::*;
use serde_json::{Map, Value, json};

const PLUGIN: &str = "instruments";

/// The file is current, but for the formats of raw media, to which each version of GStreamer adds.
#[test]
fn the_cache_is_current() {
    common::init();
    let path = common::root().join("docs/plugins/gst_plugins_cache.json");
    let now = cache();
    if std::env::var_os("UPDATE").is_some() {
        let text = serde_json::to_string_pretty(&now).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        without_caps(kept),
        without_caps(now),
        "UPDATE=1 cargo test --test doc_cache makes {} current",
        path.display()
    );
}

fn without_caps(mut cache: Value) -> Value {
    let elements = cache[PLUGIN]["elements"].as_object_mut().unwrap();
    for element in elements.values_mut() {
        for pad in element["pad-templates"]
            .as_object_mut()
            .unwrap()
            .values_mut()
        {
            assert!(pad.as_object_mut().unwrap().remove("caps").is_some());
        }
    }
    cache
}

fn cache() -> Value {
    let registry = gst::Registry::get();
    let plugin = registry.find_plugin(PLUGIN).unwrap();
    let factories = registry.features_by_plugin(PLUGIN).into_iter();
    let factories = factories.filter_map(|feature| feature.downcast::<gst::ElementFactory>().ok());
    let (mut elements, mut types) = (Map::new(), Map::new());
    for factory in factories {
        let (name, element) = (
            factory.name().to_string(),
            factory.create().build().unwrap(),
        );
        let own = own_properties(&element);
        let enums = own
            .iter()
            .filter_map(|spec| glib::EnumClass::with_type(spec.value_type()));
        types.extend(enums.map(|class| (class.type_().name().to_owned(), values(&class))));
        let properties = own
            .iter()
            .map(|spec| (spec.name().to_owned(), property(spec)));
        let described = json!({
            "author": factory.metadata("author"),
            "description": factory.metadata("description"),
            "hierarchy": hierarchy(element.type_()),
            "interfaces": element.type_().interfaces().iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "klass": factory.metadata("klass"),
            "long-name": factory.metadata("long-name"),
            "pad-templates": pads(&factory),
            "properties": properties.collect::<Map<_, _>>(),
            "rank": if factory.rank() == gst::Rank::NONE { "none".into() } else { i32::from(factory.rank()).to_string() },
        });
        elements.insert(name, described);
    }
    json!({ PLUGIN: {
        "description": plugin.description().as_str(),
        "elements": elements,
        "filename": "gstinstruments",
        "license": plugin.license().as_str(),
        "other-types": types,
        "package": plugin.package().as_str(),
        "source": plugin.source().as_str(),
        "tracers": {},
        "url": plugin.origin().as_str(),
    }})
}

/// What the element adds to its base class.
fn own_properties(element: &gst::Element) -> Vec<glib::ParamSpec> {
    let all = element.list_properties().to_vec().into_iter();
    all.filter(|spec| spec.owner_type() == element.type_())
        .collect()
}

fn hierarchy(kind: glib::Type) -> Vec<String> {
    std::iter::successors(Some(kind), |kind| kind.parent())
        .map(|kind| kind.name().to_owned())
        .collect()
}

fn values(class: &glib::EnumClass) -> Value {
    let value = |value: &glib::EnumValue| json!({"desc": value.name(), "name": value.nick(), "value": value.value().to_string()});
    json!({"kind": "enum", "values": class.values().iter().map(value).collect::<Vec<_>>()})
}

fn property(spec: &glib::ParamSpec) -> Value {
    let has = |flag| spec.flags().contains(flag);
    let mutable = [
        (gst::PARAM_FLAG_MUTABLE_PLAYING, "playing"),
        (gst::PARAM_FLAG_MUTABLE_PAUSED, "paused"),
        (gst::PARAM_FLAG_MUTABLE_READY, "ready"),
    ];
    let mutable = mutable.iter().find(|(flag, _)| has(*flag));
    let mut property = json!({
        "blurb": spec.blurb().map(ToString::to_string),
        "conditionally-available": has(gst::PARAM_FLAG_CONDITIONALLY_AVAILABLE),
        "construct": has(glib::ParamFlags::CONSTRUCT),
        "construct-only": has(glib::ParamFlags::CONSTRUCT_ONLY),
        "controllable": has(gst::PARAM_FLAG_CONTROLLABLE),
        "mutable": mutable.map_or("null", |(_, name)| name),
        "readable": has(glib::ParamFlags::READABLE),
        "type": spec.value_type().name(),
        "writable": has(glib::ParamFlags::WRITABLE),
    });
    if let Some(default) = default(spec.default_value()) {
        property["default"] = default.into();
    }
    if let Some((least, most)) = range(spec) {
        (property["min"], property["max"]) = (least.into(), most.into());
    }
    property
}

/// `None` for a boxed value or an object.
fn default(value: &glib::Value) -> Option<String> {
    if let Some((_, value)) = glib::EnumValue::from_value(value) {
        return Some(format!("{} ({})", value.nick(), value.value()));
    }
    if let Ok(text) = value.get::<Option<String>>() {
        return Some(text.unwrap_or_else(|| "NULL".into()));
    }
    let number = value.get::<u32>().map(|n| n.to_string());
    number
        .or_else(|_| value.get::<u64>().map(|n| n.to_string()))
        .or_else(|_| value.get::<f32>().map(|n| n.to_string()))
        .or_else(|_| value.get::<f64>().map(|n| n.to_string()))
        .or_else(|_| value.get::<bool>().map(|n| n.to_string()))
        .ok()
}

fn range(spec: &glib::ParamSpec) -> Option<(String, String)> {
    macro_rules! range {
        ($($kind:ident)+) => {
            $(if let Some(spec) = spec.downcast_ref::<glib::$kind>() {
                return Some((format!("{:?}", spec.minimum()), format!("{:?}", spec.maximum())));
            })+
        };
    }
    range!(ParamSpecUInt ParamSpecUInt64 ParamSpecFloat ParamSpecDouble);
    None
}

fn pads(factory: &gst::ElementFactory) -> Map<String, Value> {
    let pads = factory.static_pad_templates();
    let pads = pads.iter().map(|template| {
        let direction = match template.direction() {
            gst::PadDirection::Sink => "sink",
            _ => "src",
        };
        let presence = match template.presence() {
            gst::PadPresence::Always => "always",
            gst::PadPresence::Sometimes => "sometimes",
            _ => "request",
        };
        let pad =
            json!({"caps": caps(&template.caps()), "direction": direction, "presence": presence});
        (template.name_template().to_owned(), pad)
    });
    pads.collect()
}

/// A line for each structure, and one for each of its fields.
fn caps(caps: &gst::Caps) -> String {
    if caps.is_any() {
        return "ANY".into();
    }
    let mut text = String::new();
    for (structure, features) in caps.iter_with_features() {
        let features = if features.is_equal(&gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY) {
            String::new()
        } else {
            format!("({features})")
        };
        text += &format!("{}{features}:\n", structure.name());
        for (name, value) in structure.iter() {
            let value = value.serialize().unwrap();
            // Without the types that GStreamer writes before the values of a list.
            text += &format!("{:>15}: {}\n", name.as_str(), value.replace("(string)", ""));
        }
    }
    text
}
