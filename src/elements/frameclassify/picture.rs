// SPDX-License-Identifier: MPL-2.0

use gst_video::prelude::*;
use gst_video::{
    VideoBufferFlags, VideoConverter, VideoConverterConfig, VideoFormat, VideoFormatFlags,
    VideoFrameFlags, VideoFrameRef, VideoInfo, VideoInterlaceMode, VideoMeta,
    VideoOrientationMethod as Orientation,
};

use crate::model::Fit;

/// Brings video frames of any raw format, size and interlace mode into a model's input: packed RGB
/// of a fixed size.
///
/// Of an interlaced frame only the top field is used: both fields together are two moments, which
/// scaling would blend into a double image, and a field of standard definition has already about
/// as many lines as a model's input.
pub struct Picture {
    from: VideoInfo,
    /// Width and height of the model's input.
    size: (u32, u32),
    fit: Fit,
    fraction: f64,
    scaler: Scaler,
}

/// The lines of a buffer that make the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// All of a progressive frame.
    All,
    /// The top field of an interlaced frame: every second line.
    EverySecond,
    /// All of a field that is stored by itself.
    Field,
}

struct Scaler {
    lines: Lines,
    from: VideoInfo,
    to: VideoInfo,
    converter: VideoConverter,
    target: gst::Buffer,
}

impl Picture {
    /// Pictures of `size` (width, height) from frames described by `from`: all of the frame for
    /// [`Fit::Stretch`], its largest central part of the same aspect ratio for [`Fit::Crop`], and
    /// of that the central `fraction` of each side.
    ///
    /// # Errors
    /// A sentence for the user when GStreamer cannot convert such frames.
    pub fn new(
        from: &VideoInfo,
        size: (u32, u32),
        fit: Fit,
        fraction: f64,
    ) -> Result<Self, String> {
        let lines = lines(from, VideoBufferFlags::INTERLACED);
        Ok(Self {
            from: from.clone(),
            size,
            fit,
            fraction,
            scaler: Scaler::new(from, lines, size, fit, fraction)?,
        })
    }

    /// Pixels in a row of the pictures.
    pub fn width(&self) -> usize {
        self.size.0 as usize
    }

    /// The picture in `buffer` the right way up, which takes a turn by `orientation`:
    /// `[height, width, 3]`, row-major, without padding.
    ///
    /// # Errors
    /// A sentence for the user when the buffer is not what its caps describe.
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
        let lines = lines(&self.from, buffer.video_flags());
        let to = &self.scaler.to;
        if (self.scaler.lines, to.width(), to.height()) != (lines, width, height) {
            self.scaler = Scaler::new(&self.from, lines, (width, height), self.fit, self.fraction)?;
        }
        let picture = match lines {
            Lines::All if !self.from.is_interlaced() => self.scaler.scale(buffer)?,
            // The planes of a progressive frame in an interlaced stream lie as the stream's do.
            _ => {
                let field = self.field(lines, buffer)?;
                self.scaler.scale(&field)?
            }
        };
        if orientation == Orientation::Identity {
            return Ok(picture);
        }
        Ok(turn(
            &picture,
            (width as usize, height as usize),
            orientation,
        ))
    }

    /// The `lines` of `buffer` as a progressive frame; the memory is shared.
    fn field(&self, lines: Lines, buffer: &gst::BufferRef) -> Result<gst::Buffer, String> {
        let unusable = || "The video buffer cannot be read as its caps describe it".to_owned();
        // With interlace-mode=fields each field has its own meta.
        let meta = buffer.iter_meta::<VideoMeta>().min_by_key(|meta| meta.id());
        let (offsets, strides) = match &meta {
            Some(meta) => (meta.offset(), meta.stride()),
            None if buffer.size() < self.from.size() => return Err(unusable()),
            None => (self.from.offset(), self.from.stride()),
        };
        let step = if lines == Lines::EverySecond { 2 } else { 1 };
        let strides: Vec<i32> = strides.iter().map(|stride| stride * step).collect();
        let mut field = gst::Buffer::new();
        let writable = field.make_mut();
        buffer
            .copy_into(writable, gst::BufferCopyFlags::MEMORY, ..)
            .map_err(|_| unusable())?;
        let of = &self.scaler.from;
        VideoMeta::add_full(
            writable,
            VideoFrameFlags::empty(),
            of.format(),
            of.width(),
            of.height(),
            offsets,
            &strides,
        )
        .map_err(|_| unusable())?;
        Ok(field)
    }
}

/// The lines to take of a buffer with `flags` in a stream described by `info`.
fn lines(info: &VideoInfo, flags: VideoBufferFlags) -> Lines {
    // The lines of a tile cannot be told apart by strides.
    let tiled = info.format_info().flags().contains(VideoFormatFlags::TILED);
    match info.interlace_mode() {
        VideoInterlaceMode::Alternate | VideoInterlaceMode::Fields => Lines::Field,
        VideoInterlaceMode::Interleaved if !tiled => Lines::EverySecond,
        VideoInterlaceMode::Mixed if !tiled && flags.contains(VideoBufferFlags::INTERLACED) => {
            Lines::EverySecond
        }
        _ => Lines::All,
    }
}

impl Scaler {
    fn new(
        from: &VideoInfo,
        lines: Lines,
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
        let par = from.par();
        let par = f64::from(par.numer()) / f64::from(par.denom());
        let (rows, par) = match lines {
            Lines::All => (from.height(), par),
            // Each line stands for two.
            _ => (from.height().div_ceil(2), par / 2.0),
        };
        // GstVideoConverter does not deinterlace, so both sides are progressive to it.
        let source = VideoInfo::builder(from.format(), from.width(), rows)
            .fps(from.fps())
            .colorimetry(&from.colorimetry())
            .chroma_site(from.chroma_site())
            .build()
            .map_err(unusable)?;
        let to = VideoInfo::builder(VideoFormat::Rgb, width, height)
            .fps(from.fps())
            .build()
            .map_err(unusable)?;
        let aspect = f64::from(width) / f64::from(height);
        let (x, y, w, h) = match fit {
            Fit::Stretch => region(from.width(), rows, None, fraction),
            Fit::Crop => region(from.width(), rows, Some(aspect / par), fraction),
        };
        // The converter of GStreamer 1.22 writes outside of its memory for parts of such frames.
        let whole = from.format() == VideoFormat::Iyu1
            || from
                .format_info()
                .flags()
                .intersects(VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED);
        let (x, y, w, h) = if whole {
            (0, 0, from.width() as i32, rows as i32)
        } else {
            (x, y, w, h)
        };
        let mut config = VideoConverterConfig::new();
        config.set_src_x(x);
        config.set_src_y(y);
        config.set_src_width(Some(w));
        config.set_src_height(Some(h));
        Ok(Self {
            lines,
            converter: VideoConverter::new(&source, &to, Some(config)).map_err(unusable)?,
            target: gst::Buffer::with_size(to.size()).map_err(unusable)?,
            from: source,
            to,
        })
    }

    fn scale(&mut self, buffer: &gst::BufferRef) -> Result<Vec<u8>, String> {
        let source = VideoFrameRef::from_buffer_ref_readable(buffer, &self.from)
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

/// The part of a frame of `columns` x `rows` pixels that becomes the picture: x, y, width, height
/// in pixels. `shape` is its width / height in pixels as they are stored; `None`: that of the frame.
fn region(columns: u32, rows: u32, shape: Option<f64>, fraction: f64) -> (i32, i32, i32, i32) {
    let (width, height) = (f64::from(columns), f64::from(rows));
    let (w, h) = match shape {
        None => (width, height),
        Some(shape) => (width.min(height * shape), height.min(width / shape)),
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
        assert_eq!(region(640, 360, None, 1.0), (0, 0, 640, 360));
        assert_eq!(region(640, 360, Some(1.0), 1.0), (140, 0, 360, 360));
        assert_eq!(region(360, 640, Some(1.0), 0.5), (90, 230, 180, 180));
        assert_eq!(region(640, 360, Some(4.0 / 3.0), 1.0), (80, 0, 480, 360));
        // The smallest frame still has a pixel.
        assert_eq!(region(1, 1, Some(4.0 / 3.0), 0.1), (0, 0, 1, 1));
    }

    /// The first column and the first row of the pixels that [`Fit::Crop`] keeps of a frame.
    fn cropped(from: &VideoInfo, size: (u32, u32)) -> (i32, i32, i32, i32) {
        let lines = lines(from, VideoBufferFlags::empty());
        let scaler = Scaler::new(from, lines, size, Fit::Crop, 1.0).unwrap();
        let config = scaler.converter.config();
        (
            config.src_x(),
            config.src_y(),
            config.src_width().unwrap(),
            config.src_height().unwrap(),
        )
    }

    #[test]
    fn a_crop_has_the_shape_of_the_input_as_it_is_shown() {
        assert_eq!(cropped(&info(640, 360), (260, 260)), (140, 0, 360, 360));
        assert_eq!(cropped(&info(640, 360), (160, 120)), (80, 0, 480, 360));
        assert_eq!(cropped(&info(640, 360), (64, 36)), (0, 0, 640, 360));
        let wide = |mode| {
            VideoInfo::builder(VideoFormat::Gray8, 720, 576)
                .par(gst::Fraction::new(64, 45))
                .interlace_mode(mode)
                .build()
                .unwrap()
        };
        // 16:9 as shown: the square is 576 lines high and 576 * 45 / 64 = 405 pixels wide.
        let progressive = wide(VideoInterlaceMode::Progressive);
        assert_eq!(cropped(&progressive, (260, 260)), (157, 0, 405, 576));
        // A field has half of the lines.
        let interlaced = wide(VideoInterlaceMode::Interleaved);
        assert_eq!(cropped(&interlaced, (260, 260)), (157, 0, 405, 288));
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

    /// RGB pixels of 64 x 48 that change in both directions; of every second line if `fields`,
    /// with `bottom` in place of the others.
    fn pixels(fields: bool, bottom: u8) -> Vec<u8> {
        let line = |y: usize| (0..64).flat_map(move |x| [(x * 4) as u8, (y * 5) as u8, 60]);
        (0..48)
            .flat_map(|y| -> Vec<u8> {
                if fields && y % 2 == 1 {
                    vec![bottom; 64 * 3]
                } else {
                    line(y).collect()
                }
            })
            .collect()
    }

    fn rgb(mode: VideoInterlaceMode, buffer: gst::Buffer) -> Vec<u8> {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::Rgb, 64, 48);
        let info = info.interlace_mode(mode).build().unwrap();
        let mut picture = Picture::new(&info, (20, 20), Fit::Crop, 1.0).unwrap();
        picture.scale(&buffer, Orientation::Identity).unwrap()
    }

    fn flagged(pixels: Vec<u8>, flags: VideoBufferFlags) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(pixels);
        buffer.get_mut().unwrap().set_video_flags(flags);
        buffer
    }

    #[track_caller]
    fn assert_alike(ours: &[u8], theirs: &[u8], tolerance: u8) {
        assert_eq!(ours.len(), theirs.len());
        let difference = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(difference.unwrap() <= tolerance, "{difference:?}");
    }

    #[test]
    fn a_field_is_the_picture_of_an_interlaced_frame() {
        use VideoInterlaceMode::{Alternate, Fields, Interleaved, Mixed, Progressive};
        let none = VideoBufferFlags::empty();
        let frame = rgb(Progressive, flagged(pixels(false, 0), none));
        // A field lies half a line above its frame: 5 / 2 in green.
        let field = rgb(Interleaved, flagged(pixels(false, 0), none));
        assert_alike(&field, &frame, 4);
        // What is in the other field makes no difference.
        let moved = |flags| flagged(pixels(true, 255), flags);
        assert_eq!(rgb(Interleaved, moved(none)), field);
        assert_eq!(rgb(Mixed, moved(VideoBufferFlags::INTERLACED)), field);
        // Of mixed frames only those with the flag are interlaced.
        assert_eq!(rgb(Mixed, flagged(pixels(false, 0), none)), frame);
        // Fields by themselves: one a buffer, and two with a meta each.
        let lines = |bytes: Vec<u8>| -> Vec<u8> {
            bytes
                .chunks(2 * 64 * 3)
                .flat_map(|two| &two[..64 * 3])
                .copied()
                .collect()
        };
        let top = lines(pixels(false, 0));
        assert_eq!(
            rgb(Alternate, flagged(top.clone(), VideoBufferFlags::TOP_FIELD)),
            field
        );
        let both = [vec![255; top.len()], top.clone()].concat();
        let mut buffer = flagged(both, none);
        for (id, offset) in [(1, 0), (0, top.len())] {
            let mut meta = VideoMeta::add_full(
                buffer.get_mut().unwrap(),
                VideoFrameFlags::empty(),
                VideoFormat::Rgb,
                64,
                24,
                &[offset],
                &[64 * 3],
            )
            .unwrap();
            set_id(&mut meta, id);
        }
        assert_eq!(rgb(Fields, buffer), field);
    }

    #[allow(unsafe_code)]
    fn set_id(meta: &mut VideoMeta, id: i32) {
        // SAFETY: the meta was just made and nobody else sees it.
        unsafe { (*(std::ptr::from_mut(meta).cast::<gst_video::ffi::GstVideoMeta>())).id = id };
    }

    #[test]
    fn every_format_has_fields() {
        gst::init().unwrap();
        for format in VideoFormat::iter_raw() {
            // An odd number of lines, whose last is of the top field.
            let info = VideoInfo::builder(format, 50, 37);
            let info = info
                .interlace_mode(VideoInterlaceMode::Interleaved)
                .build()
                .unwrap();
            let mut picture = Picture::new(&info, (10, 8), Fit::Stretch, 1.0).unwrap();
            let whole = gst::Buffer::from_slice(vec![0x40; info.size()]);
            let rgb = picture.scale(&whole, Orientation::Identity);
            assert_eq!(rgb.map(|rgb| rgb.len()), Ok(240), "{format}");
            let short = gst::Buffer::from_slice(vec![0x40; info.size() / 2]);
            assert!(
                picture.scale(&short, Orientation::Identity).is_err(),
                "{format}"
            );
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
