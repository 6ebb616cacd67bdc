// SPDX-License-Identifier: MPL-2.0

//! Patches and embeddings as tensors, and those of GStreamer's own inference element, from GStreamer 1.26 on.

#![cfg(feature = "v1_26")]

mod common;

use common::{Bench, buffer, embedding, launch, mel_patch, ms, play};
use gst::glib::Quark;
use gst::prelude::*;
use gst_analytics::{Tensor, TensorDataType, TensorDimOrder, TensorMeta};
use gstinstruments::meta::{Features, Source};

/// A tensor as another element would attach it.
fn tensor(id: &str, values: &[f32]) -> Tensor {
    Tensor::new_simple(
        Quark::from_str(id),
        TensorDataType::Float32,
        gst::Buffer::from_slice(
            values
                .iter()
                .flat_map(|value| value.to_ne_bytes())
                .collect::<Vec<u8>>(),
        ),
        TensorDimOrder::RowMajor,
        &[1, values.len()],
    )
}

/// Id, shape and values of each tensor on `buffer`.
fn tensors(buffer: &gst::BufferRef) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let read = |tensor: &Tensor| {
        assert_eq!(tensor.data_type(), TensorDataType::Float32);
        assert_eq!(tensor.dims_order(), TensorDimOrder::RowMajor);
        let data = tensor.data().map_readable().unwrap();
        let values = data.as_chunks().0.iter();
        (
            tensor.id().as_str().to_string(),
            tensor.dims().to_vec(),
            values.map(|&bytes| f32::from_ne_bytes(bytes)).collect(),
        )
    };
    let metas = buffer.iter_meta::<TensorMeta>();
    metas
        .flat_map(|meta| meta.as_slice().iter().map(read).collect::<Vec<_>>())
        .collect()
}

#[test]
fn patches_and_embeddings_are_tensors_beside_those_of_others() {
    common::init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.make_mut();
    TensorMeta::add(buffer).set([tensor("other", &[7.0])].into());
    let patch = mel_patch([1.0, 2.0, 3.0, 4.0], ms(0));
    Features::attach(std::slice::from_ref(&patch), buffer);
    Features::attach(
        &[embedding("space/1", &[0.5, -1.0], ms(0), ms(1000))],
        buffer,
    );
    let expected = [
        ("other".into(), vec![1, 1], vec![7.0]),
        ("mel".into(), vec![1, 1, 4, 8], patch.data.to_vec()),
        ("space/1".into(), vec![1, 2], vec![0.5, -1.0]),
    ];
    assert_eq!(tensors(buffer), expected);
    assert_eq!(buffer.iter_meta::<TensorMeta>().count(), 1);
}

#[test]
fn melspec_and_frameclassify_attach_them() {
    let mut bench = Bench::new(
        "melspec ! frameclassify model=audio",
        "audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved",
    );
    let noise = (0..8000_u32).flat_map(|n| ((n * 7919 % 1000) as f32 / 1000.0).to_ne_bytes());
    let buffer = bench.pass(buffer(noise.collect(), ms(0), ms(1000)));
    let features = Features::from_buffer(&buffer);
    assert!(features.len() >= 2, "{features:?}");
    let found = tensors(&buffer);
    assert_eq!(found.len(), features.len());
    for (features, (id, _, values)) in features.iter().zip(&found) {
        assert_eq!((&features.id, &features.data[..]), (id, &values[..]));
    }
}

/// avfuse takes embeddings that are only tensors, by their id.
#[test]
fn avfuse_takes_the_embeddings_of_others() {
    let pipeline = launch(
        "appsrc name=source format=time caps=video/x-raw,format=GRAY8,width=4,height=4,framerate=2/1
            ! avfuse name=fuse model=fusion window=1000000000 stride=1000000000 threshold=0 ! fakesink",
    );
    let source = pipeline.by_name("source").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    for n in 0..4 {
        let mut picture = buffer(vec![0; 16], ms(n * 500), ms(500));
        let tensors = [
            tensor("tags", &[9.0, 9.0, 9.0]),
            tensor("test-video/1", &[0.5, 0.25, 0.125]),
        ];
        TensorMeta::add(picture.make_mut()).set(tensors.into());
        source.push_buffer(picture).unwrap();
    }
    source.end_of_stream().unwrap();
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    let expected = [("Guitar", 0.5), ("Piano", 0.25), ("Drums", 0.125)];
    for tags in outcome
        .windows("fuse")
        .into_iter()
        .chain(outcome.clip("fuse"))
    {
        assert_eq!(common::rounded(tags), expected);
        assert_eq!(tags.sources, [Source::Video]);
    }
    assert_eq!(outcome.windows("fuse").len(), 2);
}

/// The model of the zoo in GStreamer's own inference element, by its sidecar, and the fusion behind that.
#[cfg(feature = "v1_28")]
#[test]
fn onnxinference_runs_our_models_for_avfuse() {
    let model = common::root().join("models/efficientnet-lite-yt8m13.onnx");
    let clip = common::root().join("examples/media/band.mp4");
    let pipeline = launch(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! avdec_h264 ! videorate ! video/x-raw,framerate=1/1
            ! videoconvertscale ! onnxinference model-file={} ! avfuse name=fuse
            ! fakesink name=sink",
        clip.display(),
        model.display()
    ));
    let record = common::Record::of(&pipeline, "sink");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    let first = &record.buffers()[0];
    let shapes: Vec<_> = tensors(first)
        .into_iter()
        .map(|(id, dims, _)| (id, dims))
        .collect();
    let expected = [
        ("classification-generic-softmaxed-out".into(), vec![1, 13]),
        ("efficientnet-lite-yt8m13/2".into(), vec![1, 1280]),
    ];
    assert_eq!(shapes, expected);
    let windows = outcome.windows("fuse");
    let mut best: Vec<_> = windows.iter().map(|tags| &tags.scores[0].0).collect();
    best.dedup();
    assert_eq!(best, ["Guitar", "Trumpet", "Drums"]);
}
