// SPDX-License-Identifier: MPL-2.0

use arbitrary::{Result, Unstructured};
use gst_video::prelude::*;
use gst_video::{
    VideoBufferFlags, VideoFormat, VideoInfo, VideoInterlaceMode,
    VideoOrientationMethod as Orientation,
};
use gstinstruments::elements::frameclassify::internals::Picture;
use gstinstruments::model::Fit;

/// A frame of any raw caps and a model's input of any size: a complete frame becomes a picture of that size, and a
/// buffer that is too small an error.
pub fn picture(data: &[u8]) {
    gst::init().expect("GStreamer starts");
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let Some(info) = info(u)? else { return Ok(()) };
    let size = (u.int_in_range(1..=40)?, u.int_in_range(1..=40)?);
    let fit = *u.choose(&[Fit::Stretch, Fit::Crop])?;
    let fraction = match u.int_in_range(0..=3)? {
        0 => f64::from(u.int_in_range(1..=1000u32)?) / 1000.0,
        1 => f64::MIN_POSITIVE,
        _ => 1.0,
    };
    let orientation = *u.choose(&[
        Orientation::Identity,
        Orientation::_90r,
        Orientation::_180,
        Orientation::_90l,
        Orientation::Horiz,
        Orientation::Vert,
        Orientation::UlLr,
        Orientation::UrLl,
    ])?;
    let mut picture = match Picture::new(&info, size, fit, fraction) {
        Ok(picture) => picture,
        Err(error) => panic!("{:?} is refused: {error}", info.to_caps()),
    };
    let missing = match u.int_in_range(0..=5)? {
        0 => u.int_in_range(1..=info.size())?,
        _ => 0,
    };
    let mut bytes = vec![u.arbitrary::<u8>()?; info.size() - missing];
    let some = bytes.len().min(u.len());
    u.fill_buffer(&mut bytes[..some])?;
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    // Which of its fields a frame has is said with each.
    let flags = VideoBufferFlags::from_bits_truncate(u.arbitrary()?);
    buffer.make_mut().set_video_flags(flags);
    match picture.scale(&buffer, orientation) {
        Ok(rgb) => {
            assert_eq!(missing, 0, "a buffer that lacks {missing} bytes was read");
            assert_eq!(rgb.len(), size.0 as usize * size.1 as usize * 3);
        }
        Err(error) => assert!(missing > 0, "{:?}: {error}", info.to_caps()),
    }
    Ok(())
}

fn info(u: &mut Unstructured) -> Result<Option<VideoInfo>> {
    let formats: Vec<VideoFormat> = VideoFormat::iter_raw().collect();
    let format = *u.choose(&formats)?;
    let side = |u: &mut Unstructured| match u.int_in_range(0..=9)? {
        0 => u.int_in_range(1..=2000u32),
        _ => u.int_in_range(1..=64),
    };
    let (width, mut height) = (side(u)?, side(u)?);
    if width * height > 100_000 {
        height = 1;
    }
    let mode = *u.choose(&[
        VideoInterlaceMode::Progressive,
        VideoInterlaceMode::Interleaved,
        VideoInterlaceMode::Mixed,
        VideoInterlaceMode::Fields,
        VideoInterlaceMode::Alternate,
    ])?;
    let number = |u: &mut Unstructured| {
        let most = *u.choose(&[4, 100, i32::MAX])?;
        u.int_in_range(1..=most)
    };
    let par = gst::Fraction::new(number(u)?, number(u)?);
    let fps = gst::Fraction::new(u.int_in_range(0..=60)?, number(u)?);
    Ok(VideoInfo::builder(format, width, height)
        .interlace_mode(mode)
        .par(par)
        .fps(fps)
        .build()
        .ok())
}
