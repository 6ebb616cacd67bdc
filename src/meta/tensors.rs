// SPDX-License-Identifier: MPL-2.0

//! Patches and embeddings as tensors, from GStreamer 1.26 on.

use gst::glib::Quark;
use gst_analytics::{Tensor, TensorDataType, TensorDimOrder, TensorMeta};

use super::{Features, Kind};

/// Adds `features` to the tensors of `buffer`: a mel patch as `[1, 1, bands, frames]`, an embedding as `[1, size]`, as
/// the models' graphs have them.
pub(super) fn attach(features: &[Features], buffer: &mut gst::BufferRef) {
    // GStreamer makes no tensor of values that do not fill its dimensions.
    let is_whole = |features: &&Features| {
        let size = features.dims.iter().map(|&length| length as usize);
        size.product::<usize>() == features.data.len()
    };
    let new: Vec<_> = features.iter().filter(is_whole).map(tensor).collect();
    if new.is_empty() {
        return;
    }
    let present = buffer.meta::<TensorMeta>();
    let mut tensors = present.map_or_else(Vec::new, |meta| meta.as_slice().to_vec());
    tensors.extend(new);
    if buffer.meta::<TensorMeta>().is_none() {
        TensorMeta::add(buffer);
    }
    let mut meta = buffer
        .meta_mut::<TensorMeta>()
        .expect("it was there or was added");
    meta.set(tensors.into());
}

fn tensor(features: &Features) -> Tensor {
    let batch: &[usize] = match features.kind {
        Kind::Mel => &[1, 1],
        Kind::Embedding => &[1],
    };
    let shape = features.dims.iter().map(|&length| length as usize);
    let dims: Vec<_> = batch.iter().copied().chain(shape).collect();
    Tensor::new_simple(
        Quark::from_str(&features.id),
        TensorDataType::Float32,
        features.bytes(),
        TensorDimOrder::RowMajor,
        &dims,
    )
}

/// The tensor `id` of `buffer` as an embedding for the buffer's time, if its values are floats.
pub(super) fn embedding(buffer: &gst::BufferRef, id: &str) -> Option<Features> {
    let id_quark = Quark::try_from_str(id)?;
    let mut metas = buffer.iter_meta::<TensorMeta>();
    metas.find_map(|meta| {
        let mut tensors = meta.as_slice().iter();
        let tensor = tensors.find(|tensor| {
            tensor.id() == id_quark && tensor.data_type() == TensorDataType::Float32
        })?;
        let data = super::features::floats(tensor.data())?;
        Some(Features {
            id: id.to_owned(),
            kind: Kind::Embedding,
            dims: vec![data.len() as u32],
            data,
            start: buffer.pts(),
            duration: buffer.duration(),
            media: 1.0,
            blank: false,
            still: false,
            front_end: Default::default(),
        })
    })
}
