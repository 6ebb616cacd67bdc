// SPDX-License-Identifier: MPL-2.0

//! Whether data are media, by GStreamer's own type finders, which look at the first bytes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;

use gst::TypeFindProbability as Probability;
use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use gst_base::functions::type_find_helper_for_data_with_extension;

/// Bytes that tell the type of nearly every file.
const HEAD: u64 = 4 << 10;
/// Bytes that tell the type of streams without a header, by what repeats in them.
pub const LONG_HEAD: u64 = 64 << 10;

/// Types that are not named `audio/` or `video/` and hold sound or pictures that move.
const CONTAINERS: &[&str] = &[
    "application/mxf",
    "application/ogg",
    "application/vnd.rn-realmedia",
    "application/x-3gp",
    "application/x-apetag",
    "application/x-ape",
    "application/x-id3",
    "application/x-pn-realaudio",
    "application/x-yuv4mpeg",
];

/// Streams without a header: their type finders take any file in which a start code or two look right for "possible".
const WITHOUT_HEADER: &[&str] = &[
    "audio/mpeg",
    "video/mpeg",
    "video/x-h263",
    "video/x-h264",
    "video/x-h265",
];

/// Whether a file holds sound or moving pictures.
pub fn is_media(path: &Path) -> io::Result<bool> {
    // Only which type finder is asked first depends on it.
    let extension = path.extension().and_then(OsStr::to_str);
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    if is_text(&head) && !head.contains(&0) {
        return Ok(false);
    }
    if let Some(found) = find(&head, extension).filter(Found::is_sure) {
        return Ok(found.is_media());
    }
    file.take(LONG_HEAD - HEAD).read_to_end(&mut head)?;
    Ok(find(&head, extension).is_some_and(|found| found.is_media()))
}

/// The type of data that are no list of names.
pub fn not_a_list(head: &[u8]) -> Option<String> {
    if is_text(head) {
        return None;
    }
    let found = find(head, None)?;
    if found.is_media() {
        return Some(format!("media ({})", found.name));
    }
    (found.is_sure() && !found.name.starts_with("text/")).then_some(found.name)
}

/// What a type finder says.
struct Found {
    name: String,
    /// As GStreamer has it, from 0 to 100.
    probability: i32,
}

impl Found {
    fn is_sure(&self) -> bool {
        self.probability >= Probability::Likely.into_glib()
    }

    fn is_media(&self) -> bool {
        let name = self.name.as_str();
        let of_media = name.starts_with("audio/")
            || name.starts_with("video/")
            // Demuxers of FFmpeg.
            || name.starts_with("application/x-gst-av-")
            || CONTAINERS.contains(&name);
        let possible = Probability::Possible.into_glib();
        let enough = self.probability > possible
            || self.probability == possible && !WITHOUT_HEADER.contains(&name);
        // The second half of a WavPack file, which is nothing alone.
        of_media && enough && name != "audio/x-wavpack-correction"
    }
}

fn find(head: &[u8], extension: Option<&str>) -> Option<Found> {
    let (caps, probability) =
        type_find_helper_for_data_with_extension(None::<&gst::Object>, head, extension).ok()?;
    Some(Found {
        name: caps.structure(0)?.name().to_string(),
        probability: probability.into_glib(),
    })
}

/// Whether these first bytes are text in UTF-8, where NUL may end a name; type finders see media even in text.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A letter that is cut.
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.contains(|letter: char| letter.is_ascii_control() && !"\0\t\n\r\x0c\x1b".contains(letter))
}

/// Whether a path ends as files of a known type do, so that it is no folder.
pub fn has_files_ending(path: &Path) -> bool {
    static ENDINGS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let factories = gst::Registry::get().features(gst::TypeFindFactory::static_type());
        let factories = factories
            .into_iter()
            .filter_map(|feature| feature.downcast::<gst::TypeFindFactory>().ok());
        let endings = factories.flat_map(|factory| factory.extensions());
        endings.map(|ending| ending.to_ascii_lowercase()).collect()
    });
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `filesrc ! …` would make of a second of test sound or pictures.
    fn encoded(encoder: &str) -> Vec<u8> {
        let text = format!("{encoder} ! appsink name=sink sync=false");
        let pipeline = gst::parse::launch(&text)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let sink = pipeline
            .by_name("sink")
            .unwrap()
            .downcast::<gst_app::AppSink>()
            .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut data = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            data.extend_from_slice(&sample.buffer().unwrap().map_readable().unwrap());
        }
        pipeline.set_state(gst::State::Null).unwrap();
        assert!(!data.is_empty(), "{encoder} made nothing");
        data
    }

    #[test]
    fn media_are_known_by_their_content_whatever_their_names() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let is_media = |name: &str, data: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, data).unwrap();
            super::is_media(&path).unwrap()
        };
        const SOUND: &str =
            "audiotestsrc num-buffers=40 ! audio/x-raw,rate=44100,channels=1 ! audioconvert";
        const PICTURES: &str = "videotestsrc pattern=snow num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1";
        for (encoder, own) in [
            ("wavenc", "wav"),
            ("flacenc", "flac"),
            ("vorbisenc ! oggmux", "ogg"),
            ("opusenc ! oggmux", "opus"),
            ("wavpackenc", "wv"),
            (
                "avenc_aac ! aacparse ! audio/mpeg,stream-format=adts",
                "aac",
            ),
            ("lamemp3enc", "mp3"),
            ("avenc_ac3", "ac3"),
            ("vorbisenc ! matroskamux", "mka"),
            (
                "audioconvert ! audio/x-raw,format=S16BE ! avmux_aiff",
                "aif",
            ),
        ] {
            let data = encoded(&format!("{SOUND} ! audioresample ! {encoder}"));
            for name in [
                format!("a.{own}"),
                "a".into(),
                "a.txt".into(),
                "a.b.JPG".into(),
            ] {
                assert!(is_media(&name, &data), "{encoder} as {name}");
            }
        }
        for encoder in [
            "jpegenc ! avimux",
            "openh264enc ! h264parse ! mp4mux",
            "openh264enc ! h264parse ! mpegtsmux",
            "openh264enc ! video/x-h264,stream-format=byte-stream",
            "y4menc",
        ] {
            let data = encoded(&format!("{PICTURES} ! {encoder}"));
            assert!(is_media("b", &data), "{encoder}");
        }
        let image = encoded(&format!("{PICTURES} ! jpegenc snapshot=true"));
        for (what, data) in [
            ("nothing", &b""[..]),
            (
                "words",
                "These are words, and no music.\n".repeat(900).as_bytes(),
            ),
            ("words", "Größe, 日本, ".repeat(900).as_bytes()),
            // Type finders take the first for MPEG-TS and the second for MP4.
            ("words", "G".repeat(9000).as_bytes()),
            ("words", b"    moov    mdat and so on"),
            (
                "subtitles",
                "1\n00:00:00,000 --> 00:00:01,000\nWords\n\n".as_bytes(),
            ),
            ("a playlist", b"#EXTM3U\n#EXTINF:10,\na.mp3\n"),
            ("a picture", &image),
            ("an archive", b"PK\x03\x04\x14\0\0\0\x08\0 and so on"),
            (
                "a program",
                &std::fs::read(std::env::current_exe().unwrap()).unwrap(),
            ),
            // A start code of H.263.
            ("bytes", b"\xcb\x0d\x0d\x0a\0\0\0\0\0\0\x80\x02\xe3\0\0\0\0"),
        ] {
            for name in ["c", "c.mp3", "c.ts", "c.mp4"] {
                assert!(!is_media(name, data), "{what} as {name}");
            }
        }
    }

    #[test]
    fn lists_are_told_from_media() {
        gst::init().unwrap();
        let wav = encoded("audiotestsrc num-buffers=1 ! wavenc");
        assert_eq!(not_a_list(&wav).as_deref(), Some("media (audio/x-wav)"));
        let zip = b"PK\x03\x04\x14\0\0\0\x08\0\xff\xff and so on";
        assert_eq!(not_a_list(zip).as_deref(), Some("application/zip"));
        for list in [
            &b""[..],
            b"/a/b.mp3\n/c\n",
            b"/a/b.mp3\0/c\0",
            b"gr\xfcn.wav\n\x1b\x01.wav\n",
            b"\xff",
        ] {
            assert_eq!(not_a_list(list), None, "{list:?}");
        }
    }
}
