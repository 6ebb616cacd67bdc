// SPDX-License-Identifier: MPL-2.0

use gst_video::prelude::*;
use gst_video::{
    VideoConverter, VideoConverterConfig, VideoFormat, VideoFrameRef, VideoInfo,
    VideoOrientationMethod as Orientation,
};

use crate::model::Fit;

/// Brings video frames of any raw format and size into a model's input: packed RGB of a fixed size.
pub struct Picture {
    from: VideoInfo,
    /// Width and height of the model's input.
    size: (u32, u32),
    fit: Fit,
    fraction: f64,
    scaler: Scaler,
}

struct Scaler {
    to: VideoInfo,
    converter: VideoConverter,
    target: gst::Buffer,
}

impl Picture {
    /// Pictures of `size` (width, height) from frames described by `from`: all of the frame for
    /// [`Fit::Stretch`], its largest central square for [`Fit::Crop`], and of that the central
    /// `fraction` of each side.
    pub fn new(
        from: &VideoInfo,
        size: (u32, u32),
        fit: Fit,
        fraction: f64,
    ) -> Result<Self, String> {
        Ok(Self {
            from: from.clone(),
            size,
            fit,
            fraction,
            scaler: Scaler::new(from, size, fit, fraction)?,
        })
    }

    /// The picture in `buffer` the right way up, which takes a turn by `orientation`:
    /// `[height, width, 3]`, row-major, without padding.
    pub fn scale(
        &mut self,
        buffer: &gst::BufferRef,
        orientation: Orientation,
    ) -> Result<Vec<u8>, String> {
        let (width, height) = self.size;
        let lies = matches!(
            orientation,
            Orientation::_90r | Orientation::_90l | Orientation::UlLr | Orientation::UrLl
        );
        let (width, height) = if lies {
            (height, width)
        } else {
            (width, height)
        };
        if (self.scaler.to.width(), self.scaler.to.height()) != (width, height) {
            self.scaler = Scaler::new(&self.from, (width, height), self.fit, self.fraction)?;
        }
        let picture = self.scaler.scale(&self.from, buffer)?;
        if orientation == Orientation::Identity {
            return Ok(picture);
        }
        Ok(turn(
            &picture,
            (width as usize, height as usize),
            orientation,
        ))
    }
}

impl Scaler {
    fn new(
        from: &VideoInfo,
        (width, height): (u32, u32),
        fit: Fit,
        fraction: f64,
    ) -> Result<Self, String> {
        let unusable = |err: gst::glib::BoolError| {
            format!(
                "Video of {} x {} pixels in {} cannot be scaled to {width} x {height} pixels in RGB: {err}",
                from.width(),
                from.height(),
                from.format(),
            )
        };
        let to = VideoInfo::builder(VideoFormat::Rgb, width, height)
            .fps(from.fps())
            .build()
            .map_err(unusable)?;
        let (x, y, w, h) = region(from, fit, fraction);
        let mut config = VideoConverterConfig::new();
        config.set_src_x(x);
        config.set_src_y(y);
        config.set_src_width(Some(w));
        config.set_src_height(Some(h));
        Ok(Self {
            converter: VideoConverter::new(from, &to, Some(config)).map_err(unusable)?,
            target: gst::Buffer::with_size(to.size()).map_err(unusable)?,
            to,
        })
    }

    fn scale(&mut self, from: &VideoInfo, buffer: &gst::BufferRef) -> Result<Vec<u8>, String> {
        let source = VideoFrameRef::from_buffer_ref_readable(buffer, from)
            .map_err(|_| "The video buffer cannot be read as its caps describe it".to_owned())?;
        let target = self.target.make_mut();
        let mut target = VideoFrameRef::from_buffer_ref_writable(target, &self.to)
            .map_err(|_| "The scaled picture cannot be written".to_owned())?;
        self.converter.frame_ref(&source, &mut target);
        let row = self.to.width() as usize * 3;
        let stride = target.plane_stride()[0] as usize;
        let data = target.plane_data(0).map_err(|err| err.to_string())?;
        Ok(data
            .chunks(stride)
            .take(self.to.height() as usize)
            .flat_map(|line| &line[..row])
            .copied()
            .collect())
    }
}

/// Turns RGB pixels of `width` x `height` as `orientation` says, e.g. clockwise by 90 degrees.
fn turn(pixels: &[u8], (width, height): (usize, usize), orientation: Orientation) -> Vec<u8> {
    let (right, bottom) = (width - 1, height - 1);
    let source = |x: usize, y: usize| match orientation {
        Orientation::_90r => (y, bottom - x),
        Orientation::_180 => (right - x, bottom - y),
        Orientation::_90l => (right - y, x),
        Orientation::Horiz => (right - x, y),
        Orientation::Vert => (x, bottom - y),
        Orientation::UlLr => (y, x),
        Orientation::UrLl => (right - y, bottom - x),
        _ => (x, y),
    };
    let (columns, rows) = match orientation {
        Orientation::_90r | Orientation::_90l | Orientation::UlLr | Orientation::UrLl => {
            (height, width)
        }
        _ => (width, height),
    };
    (0..rows)
        .flat_map(|y| (0..columns).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            let (x, y) = source(x, y);
            let start = (y * width + x) * 3;
            &pixels[start..start + 3]
        })
        .copied()
        .collect()
}

/// The part of a frame that becomes the picture: x, y, width, height in pixels.
fn region(info: &VideoInfo, fit: Fit, fraction: f64) -> (i32, i32, i32, i32) {
    let (width, height) = (f64::from(info.width()), f64::from(info.height()));
    let (w, h) = match fit {
        Fit::Stretch => (width, height),
        Fit::Crop => {
            // Square as it is shown, not as it is stored.
            let par = info.par();
            let aspect = f64::from(par.numer()) / f64::from(par.denom());
            (width.min(height / aspect), height.min(width * aspect))
        }
    };
    let (w, h) = (
        (w * fraction).round().max(1.0),
        (h * fraction).round().max(1.0),
    );
    (
        ((width - w) / 2.0) as i32,
        ((height - h) / 2.0) as i32,
        w as i32,
        h as i32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(width: u32, height: u32) -> VideoInfo {
        gst::init().unwrap();
        VideoInfo::builder(VideoFormat::Gray8, width, height)
            .build()
            .unwrap()
    }

    #[test]
    fn regions() {
        assert_eq!(region(&info(640, 360), Fit::Stretch, 1.0), (0, 0, 640, 360));
        assert_eq!(region(&info(640, 360), Fit::Crop, 1.0), (140, 0, 360, 360));
        assert_eq!(region(&info(360, 640), Fit::Crop, 0.5), (90, 230, 180, 180));
        let wide = VideoInfo::builder(VideoFormat::Gray8, 720, 576)
            .par(gst::Fraction::new(64, 45))
            .build()
            .unwrap();
        // 16:9 as shown: the square is 576 lines high and 576 * 45 / 64 = 405 pixels wide.
        assert_eq!(region(&wide, Fit::Crop, 1.0), (157, 0, 405, 576));
    }

    #[test]
    fn rows_are_packed_whatever_the_stride() {
        // Width 5: GStreamer pads the rows of 15 bytes to 16. Left half black, right half white.
        let from = info(10, 2);
        let mut picture = Picture::new(&from, (5, 2), Fit::Stretch, 1.0).unwrap();
        let mut data = vec![0u8; from.size()];
        for line in data.chunks_mut(from.stride()[0] as usize) {
            line[6..10].fill(255);
        }
        let rgb = picture
            .scale(&gst::Buffer::from_slice(data), Orientation::Identity)
            .unwrap();
        assert_eq!(rgb.len(), 2 * 5 * 3);
        for line in rgb.chunks(15) {
            assert!(line[..3].iter().all(|&v| v < 32), "{line:?}");
            assert!(line[12..].iter().all(|&v| v > 224), "{line:?}");
        }
    }

    #[test]
    fn turns() {
        // Two rows of three pixels, told apart by their first byte.
        let pixels: Vec<u8> = (1..=6).flat_map(|n| [n, 0, 0]).collect();
        let turned = |orientation| -> Vec<u8> {
            turn(&pixels, (3, 2), orientation)
                .chunks(3)
                .map(|pixel| pixel[0])
                .collect()
        };
        assert_eq!(turned(Orientation::_90r), [4, 1, 5, 2, 6, 3]);
        assert_eq!(turned(Orientation::_180), [6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(Orientation::_90l), [3, 6, 2, 5, 1, 4]);
        assert_eq!(turned(Orientation::Horiz), [3, 2, 1, 6, 5, 4]);
        assert_eq!(turned(Orientation::Vert), [4, 5, 6, 1, 2, 3]);
        assert_eq!(turned(Orientation::UlLr), [1, 4, 2, 5, 3, 6]);
        assert_eq!(turned(Orientation::UrLl), [6, 3, 5, 2, 4, 1]);
    }

    #[test]
    fn a_lying_frame_stands_up_in_a_picture_that_is_no_square() {
        // Black above white, to be turned clockwise: white left of black.
        let from = info(8, 8);
        let mut picture = Picture::new(&from, (4, 2), Fit::Stretch, 1.0).unwrap();
        let mut data = vec![0u8; from.size()];
        data[from.size() / 2..].fill(255);
        let rgb = picture
            .scale(&gst::Buffer::from_slice(data), Orientation::_90r)
            .unwrap();
        assert_eq!(rgb.len(), 4 * 2 * 3);
        for line in rgb.chunks(12) {
            assert!(line[0] > 224 && line[11] < 32, "{line:?}");
        }
    }
}
