// SPDX-License-Identifier: MPL-2.0

use std::sync::Arc;

use gst::prelude::*;

pub(super) const FIELD: &str = "features";

/// The content of a [`Features`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A mel patch, `[bands, frames]`.
    Mel,
    /// An embedding, `[size]`.
    Embedding,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Mel => "mel",
            Kind::Embedding => "embedding",
        }
    }
}

/// A mel patch or an embedding, with the time it describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The embedding space (the card's `instruments.embedding`), or `mel`.
    pub id: String,
    /// Mel patch or embedding.
    pub kind: Kind,
    /// The shape, row-major.
    pub dims: Vec<u32>,
    /// The values; their number is the product of `dims`.
    pub data: Arc<[f32]>,
    /// Start of the described time, in the time base of the buffers' timestamps.
    pub start: Option<gst::ClockTime>,
    /// Length of the described time.
    pub duration: Option<gst::ClockTime>,
    /// Share of the described time that had media, from 0 to 1; the rest was gaps.
    pub media: f32,
    /// Whether the signal is silence or a picture of one colour. Fusion treats such an embedding as missing.
    pub blank: bool,
    /// Whether it is a picture that equals the one analysed before it, or the first picture of a stream.
    pub still: bool,
    /// For a mel patch: the front end's parameters, under the names that the model card uses.
    pub front_end: Arc<[(String, String)]>,
}

impl Features {
    /// Attaches `features` to `buffer`, after those that it already carries; from GStreamer 1.26 on also as tensors.
    pub fn attach(features: &[Features], buffer: &mut gst::BufferRef) {
        #[cfg(feature = "v1_26")]
        super::tensors::attach(features, buffer);
        super::attach(
            buffer,
            super::FEATURES_META,
            FIELD,
            features.iter().map(Self::to_structure),
        );
    }

    /// All features on `buffer`.
    pub fn from_buffer(buffer: &gst::BufferRef) -> Vec<Features> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, super::FEATURES_META).ok();
        from_structure(meta.as_ref().map(|meta| meta.structure()))
    }

    /// The features of one kind on `buffer`; those of the other kind are not read.
    pub fn of_kind(buffer: &gst::BufferRef, kind: Kind) -> Vec<Features> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, super::FEATURES_META).ok();
        super::list(meta.as_ref().map(|meta| meta.structure()), FIELD)
            .filter(|structure| structure.get::<&str>("kind") == Ok(kind.name()))
            .filter_map(Features::from_structure)
            .collect()
    }

    /// The embedding `id` on `buffer` that another inference element attached as a tensor; its time is the buffer's.
    /// `None` before GStreamer 1.26.
    pub fn of_tensor(buffer: &gst::BufferRef, id: &str) -> Option<Features> {
        #[cfg(feature = "v1_26")]
        return super::tensors::embedding(buffer, id);
        #[cfg(not(feature = "v1_26"))]
        {
            let _ = (buffer, id);
            None
        }
    }

    /// The values as the memory of a buffer, without a copy.
    pub(super) fn bytes(&self) -> gst::Buffer {
        gst::Buffer::from_slice(Bytes(self.data.clone()))
    }

    /// The element message that announces these features.
    pub fn message(&self, element: &impl IsA<gst::Object>) -> gst::Message {
        let mut structure = self.to_structure();
        structure.set_name(super::FEATURES_MESSAGE);
        gst::message::Element::builder(structure)
            .src(element)
            .build()
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        let mut front_end = gst::Structure::new_empty("front-end");
        for (key, value) in self.front_end.iter() {
            front_end.set(key.as_str(), value);
        }
        gst::Structure::builder("features")
            .field("id", &self.id)
            .field("kind", self.kind.name())
            .field("dims", gst::Array::new(self.dims.iter().copied()))
            .field("data", self.bytes())
            .field("front-end", front_end)
            .field("media", f64::from(self.media))
            .field("blank", self.blank)
            .field("still", self.still)
            .field_if_some("start", self.start)
            .field_if_some("duration", self.duration)
            .build()
    }

    fn from_structure(structure: &gst::StructureRef) -> Option<Self> {
        let kind = match structure.get::<&str>("kind").ok()? {
            "mel" => Kind::Mel,
            "embedding" => Kind::Embedding,
            _ => return None,
        };
        Some(Features {
            id: structure.get("id").ok()?,
            kind,
            dims: structure
                .get::<gst::ArrayRef>("dims")
                .ok()?
                .iter()
                .filter_map(|value| value.get().ok())
                .collect(),
            data: floats(&*structure.get::<gst::Buffer>("data").ok()?)?,
            start: structure.get("start").ok(),
            duration: structure.get("duration").ok(),
            media: structure
                .get::<f64>("media")
                .map_or(1.0, |media| media as f32),
            blank: structure.get("blank").unwrap_or(false),
            still: structure.get("still").unwrap_or(false),
            front_end: structure
                .get::<&gst::StructureRef>("front-end")
                .map(|structure| {
                    structure
                        .iter()
                        .filter_map(|(key, value)| Some((key.to_string(), value.get().ok()?)))
                        .collect()
                })
                .unwrap_or_default(),
        })
    }
}

pub(super) fn from_structure(structure: Option<&gst::StructureRef>) -> Vec<Features> {
    super::list(structure, FIELD)
        .filter_map(Features::from_structure)
        .collect()
}

/// The float32 values in a buffer, in native byte order.
pub(super) fn floats(buffer: &gst::BufferRef) -> Option<Arc<[f32]>> {
    let data = buffer.map_readable().ok()?;
    let values = data.as_chunks().0.iter();
    Some(values.map(|&bytes| f32::from_ne_bytes(bytes)).collect())
}

/// Float32 values in native byte order, seen as the bytes of a buffer, without a copy.
struct Bytes(Arc<[f32]>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
