// SPDX-License-Identifier: MPL-2.0

//! `instruments models` and `instruments doctor`: what there is on this machine, and what is missing.

use std::collections::BTreeSet;
use std::env;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use gst::prelude::*;
use gstinstruments::model::{Error, Modality, Model, Options, Provider};

/// The folders of models: those of the environment variable, which [`crate::start`] sets where it is not.
pub fn folders() -> Vec<PathBuf> {
    let variable = env::var_os("GST_INSTRUMENTS_MODEL_PATH").unwrap_or_default();
    env::split_paths(&variable)
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect()
}

/// The names of the models in the folders; `NAME.int8.onnx` is a variant of `NAME`.
pub fn names(folders: &[PathBuf]) -> BTreeSet<String> {
    let files = folders
        .iter()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .flatten();
    files
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".onnx")?;
            let plain = name
                .strip_suffix(".int8")
                .or(name.strip_suffix(".fp16"))
                .unwrap_or(name);
            Some(plain.to_owned())
        })
        .collect()
}

/// Lists the models with what they take, where they run and what they know.
pub fn models(provider: &str) -> Result<ExitCode> {
    let options = Options {
        provider: self::provider(provider),
        ..Options::default()
    };
    let names = names(&folders());
    let mut text = String::new();
    let mut failed = names.is_empty();
    if names.is_empty() {
        text += "no models found: set GST_INSTRUMENTS_MODEL_PATH to their folder\n";
    }
    for name in names {
        match Model::open(&name, &options) {
            Ok(model) => text += &describe(&name, &model),
            Err(error) => {
                failed = true;
                text += &format!("{name}\n  error: {error}\n");
            }
        }
    }
    print(&text)?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn provider(name: &str) -> Provider {
    let mut all = Provider::ALL.iter().copied();
    all.find(|provider| provider.as_str() == name)
        .unwrap_or(Provider::Auto)
}

fn describe(name: &str, model: &Arc<Model>) -> String {
    let card = model.card();
    let takes = match &card.modality {
        Modality::Audio { front_end, .. } => format!(
            "sound, mel patches of {} bands × {} frames",
            front_end.bands, front_end.patch_frames
        ),
        Modality::Video { width, height, .. } => format!("pictures of {width} × {height}"),
        Modality::Fusion { video, audio, .. } => {
            format!("embeddings of {} and {}", video.id, audio.id)
        }
    };
    format!(
        "{name}\n  input: {takes}\n  provider: {}\n  {} labels: {}\n",
        model.active_provider(),
        card.labels.len(),
        some(&card.labels)
    )
}

/// The labels, or the first of very many.
fn some(labels: &[String]) -> String {
    const SHOWN: usize = 24;
    let mut text = labels
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if labels.len() > SHOWN {
        text += ", …";
    }
    text
}

/// What a check found: a line, and the command that mends it where something is missing.
#[derive(Clone)]
struct Finding {
    what: &'static str,
    state: Result<String, (String, String)>,
    /// Whether nothing can be tagged without it.
    needed: bool,
}

/// Says in one screen what is missing, and how to get it.
pub fn doctor() -> Result<ExitCode> {
    let findings = [
        gstreamer(),
        decoders(),
        runtime(),
        models_found(),
        taggers(),
        gpu(),
    ]
    .concat();
    print(&screen(&findings))?;
    let failed = findings
        .iter()
        .any(|finding| finding.needed && finding.state.is_err());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn screen(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        what,
        state,
        needed,
    } in findings
    {
        text += &match state {
            Ok(found) => format!("ok       {what:<14} {found}\n"),
            Err((problem, fix)) => {
                let kind = if *needed { "MISSING" } else { "note" };
                format!("{kind:<8} {what:<14} {problem}\n{:24}{fix}\n", "")
            }
        };
    }
    let missing = findings
        .iter()
        .filter(|finding| finding.needed && finding.state.is_err())
        .count();
    text += &match missing {
        0 => "\nAll required components are installed.\n".to_owned(),
        1 => "\n1 required component is missing.\n".to_owned(),
        count => format!("\n{count} required components are missing.\n"),
    };
    text
}

fn gstreamer() -> Vec<Finding> {
    vec![Finding {
        what: "GStreamer",
        state: Ok(gst::version_string().replace("GStreamer ", "")),
        needed: true,
    }]
}

/// A kind of media.
struct Media {
    what: &'static str,
    /// Elements of which any one reads it; of the basics, all are needed.
    elements: &'static [&'static str],
    /// The Debian package that has one.
    package: &'static str,
    /// Names of its caps.
    caps: &'static [&'static str],
}

#[rustfmt::skip]
const MEDIA: &[Media] = &[
    Media { what: "basics", elements: &["decodebin", "urisourcebin", "multiqueue", "audioconvert"], package: BASE, caps: &[] },
    Media { what: "HTTP", elements: &["souphttpsrc", "curlhttpsrc"], package: GOOD, caps: &[] },
    Media { what: "HLS", elements: &["hlsdemux2", "hlsdemux"], package: BAD, caps: &["application/x-hls"] },
    Media { what: "DASH", elements: &["dashdemux2", "dashdemux"], package: BAD, caps: &["application/dash+xml"] },
    Media { what: "RTSP", elements: &["rtspsrc"], package: GOOD, caps: &[] },
    Media { what: "MP4", elements: &["qtdemux"], package: GOOD, caps: &["video/quicktime"] },
    Media { what: "Matroska", elements: &["matroskademux"], package: GOOD, caps: &["video/x-matroska", "video/webm", "audio/webm"] },
    Media { what: "AVI", elements: &["avidemux"], package: GOOD, caps: &["video/x-msvideo"] },
    Media { what: "FLV", elements: &["flvdemux"], package: GOOD, caps: &["video/x-flv"] },
    Media { what: "MPEG-TS", elements: &["tsdemux"], package: BAD, caps: &["video/mpegts"] },
    Media { what: "MPEG-PS", elements: &["mpegpsdemux"], package: BAD, caps: &["video/mpeg"] },
    Media { what: "MXF", elements: &["mxfdemux"], package: BAD, caps: &["application/mxf"] },
    Media { what: "Ogg", elements: &["oggdemux"], package: BASE, caps: &["application/ogg", "audio/ogg", "video/ogg"] },
    Media { what: "ASF (WMA, WMV)", elements: &["asfdemux"], package: UGLY, caps: &["video/x-ms-asf"] },
    Media { what: "RealMedia", elements: &["rmdemux"], package: UGLY, caps: &["application/vnd.rn-realmedia"] },
    Media { what: "ID3 tags", elements: &["id3demux"], package: GOOD, caps: &["application/x-id3"] },
    Media { what: "WAV", elements: &["wavparse"], package: GOOD, caps: &["audio/x-wav"] },
    Media { what: "AIFF", elements: &["aiffparse"], package: BAD, caps: &["audio/x-aiff"] },
    Media { what: "FLAC", elements: &["flacdec", "avdec_flac"], package: GOOD, caps: &["audio/x-flac"] },
    Media { what: "MP3", elements: &["mpg123audiodec", "avdec_mp3"], package: GOOD, caps: &["audio/mpeg"] },
    Media { what: "AAC", elements: &["avdec_aac", "faad", "fdkaacdec"], package: LIBAV, caps: &["audio/mpeg"] },
    Media { what: "AC-3", elements: &["avdec_ac3", "a52dec"], package: LIBAV, caps: &["audio/x-ac3", "audio/x-eac3"] },
    Media { what: "DTS", elements: &["avdec_dca", "dtsdec"], package: LIBAV, caps: &["audio/x-dts"] },
    Media { what: "Opus", elements: &["opusdec", "avdec_opus"], package: BASE, caps: &["audio/x-opus"] },
    Media { what: "Vorbis", elements: &["vorbisdec"], package: BASE, caps: &["audio/x-vorbis"] },
    Media { what: "ALAC", elements: &["avdec_alac"], package: LIBAV, caps: &["audio/x-alac"] },
    Media { what: "AMR", elements: &["avdec_amrnb", "amrnbdec"], package: LIBAV, caps: &["audio/AMR", "audio/AMR-WB"] },
    Media { what: "WavPack", elements: &["wavpackdec"], package: GOOD, caps: &["audio/x-wavpack"] },
    Media { what: "Musepack", elements: &["musepackdec", "avdec_mpc7"], package: BAD, caps: &["audio/x-musepack"] },
    Media { what: "Monkey's Audio", elements: &["avdec_ape"], package: LIBAV, caps: &["application/x-ape", "audio/x-ffmpeg-parsed-ape"] },
    Media { what: "WMA sound", elements: &["avdec_wmav2"], package: LIBAV, caps: &["audio/x-wma"] },
    Media { what: "H.264", elements: &["avdec_h264", "openh264dec", "vah264dec", "nvh264dec", "v4l2h264dec"], package: LIBAV, caps: &["video/x-h264"] },
    Media { what: "H.265", elements: &["avdec_h265", "vah265dec", "nvh265dec", "v4l2h265dec"], package: LIBAV, caps: &["video/x-h265"] },
    Media { what: "VP9", elements: &["vp9dec", "avdec_vp9", "vavp9dec", "nvvp9dec"], package: GOOD, caps: &["video/x-vp9"] },
    Media { what: "AV1", elements: &["av1dec", "dav1ddec", "avdec_av1", "vaav1dec"], package: BAD, caps: &["video/x-av1"] },
    Media { what: "MPEG-2 video", elements: &["avdec_mpeg2video", "mpeg2dec", "vampeg2dec"], package: LIBAV, caps: &["video/mpeg"] },
    Media { what: "ProRes", elements: &["avdec_prores"], package: LIBAV, caps: &["video/x-prores"] },
    Media { what: "DV", elements: &["dvdemux", "avdec_dvvideo"], package: GOOD, caps: &["video/x-dv"] },
];

const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

/// The Debian package that reads media whose caps have this name, if it is known and not installed.
pub fn package(caps: &str) -> Option<&'static str> {
    let missing = |media: &&Media| {
        let there = |name: &&str| gst::ElementFactory::find(name).is_some();
        media.caps.contains(&caps) && !media.elements.iter().any(there)
    };
    if let Some(media) = MEDIA.iter().find(missing) {
        return Some(media.package);
    }
    // It decodes hundreds of formats.
    let is_known = MEDIA.iter().any(|media| media.caps.contains(&caps));
    let has_libav = gst::Registry::get().find_plugin("libav").is_some();
    (!is_known && !has_libav).then_some(LIBAV)
}

/// The basics, what is missing for other media, and a line of the media that GStreamer reads.
fn decoders() -> Vec<Finding> {
    let there = |name: &&str| gst::ElementFactory::find(name).is_some();
    let mut findings = Vec::new();
    let mut read = Vec::new();
    for &Media {
        what,
        elements,
        package,
        ..
    } in MEDIA
    {
        let needed = what == "basics";
        let lacking: Vec<_> = elements
            .iter()
            .filter(|name| !there(name))
            .copied()
            .collect();
        let enough = match needed {
            true => lacking.is_empty(),
            false => lacking.len() < elements.len(),
        };
        if enough && !needed {
            read.push(what);
            continue;
        }
        let state = if enough {
            Ok(elements.join(", "))
        } else {
            let and = if needed { " and " } else { " or " };
            Err((
                format!("GStreamer lacks {}", lacking.join(and)),
                format!("apt-get install {package}"),
            ))
        };
        findings.push(Finding {
            what,
            state,
            needed,
        });
    }
    findings.push(Finding {
        what: "media",
        state: Ok(read.join(", ")),
        needed: false,
    });
    findings
}

fn runtime() -> Vec<Finding> {
    // It is loaded when the first model is opened.
    let opened = names(&folders())
        .first()
        .map(|name| Model::open(name, &Options::default()));
    let state = match opened {
        Some(Err(error @ (Error::RuntimeMissing { .. } | Error::RuntimeTooOld { .. }))) => Err((
            error.to_string(),
            "pip install onnxruntime, and set ORT_DYLIB_PATH to its libonnxruntime.so".into(),
        )),
        _ => Ok(()),
    };
    let named = env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let place = match named {
        Some(path) if path.exists() => Ok(canonical(&path).display().to_string()),
        Some(path) => Err((
            format!(
                "ORT_DYLIB_PATH is set to {}, which does not exist",
                path.display()
            ),
            "pip install onnxruntime, and set ORT_DYLIB_PATH to its libonnxruntime.so".into(),
        )),
        None => Ok("from the system's library search path".into()),
    };
    vec![Finding {
        what: "ONNX Runtime",
        state: state.and(place),
        needed: true,
    }]
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

fn models_found() -> Vec<Finding> {
    let folders = folders();
    let names = names(&folders);
    let places: Vec<_> = folders
        .iter()
        .map(|folder| canonical(folder).display().to_string())
        .collect();
    vec![Finding {
        what: "models",
        state: match names.len() {
            0 => Err((
                format!(
                    "none in {}",
                    if places.is_empty() {
                        "any folder".into()
                    } else {
                        places.join(", ")
                    }
                ),
                "set GST_INSTRUMENTS_MODEL_PATH to the folder of the models".into(),
            )),
            count => Ok(format!("{count} in {}", places.join(", "))),
        },
        needed: true,
    }]
}

/// The elements as `instruments tag` uses them, with the default models.
fn taggers() -> Vec<Finding> {
    let state = run_defaults();
    vec![Finding {
        what: "tagging",
        state: state.map_err(|cause| {
            (
                cause,
                "run `instruments models` to see each model's error".into(),
            )
        }),
        needed: true,
    }]
}

/// Runs a second of silence and of black pictures through the default models.
fn run_defaults() -> Result<String, String> {
    let pipeline = "audiotestsrc wave=silence num-buffers=10 samplesperbuffer=1600 ! audio/x-raw,rate=16000,channels=1 ! melspec partial=repeat ! frameclassify name=a ! fuse.audio
        videotestsrc pattern=black num-buffers=1 ! frameclassify name=v ! fuse.video avfuse name=fuse ! fakesink sync=false";
    let pipeline = gst::parse::launch(pipeline).map_err(|error| error.to_string())?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().ok_or("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let place = |(name, what): (&str, &str)| {
        let element = pipeline.by_name(name)?;
        let provider = element.property::<Option<String>>("active-provider")?;
        Some(format!("{what} on {provider}"))
    };
    let result = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string()),
        Some(_) => Ok([("a", "sound"), ("v", "pictures"), ("fuse", "fusion")]
            .into_iter()
            .filter_map(place)
            .collect::<Vec<_>>()),
        None => Err("the models gave no result within 60 s".into()),
    };
    let _ = pipeline.set_state(gst::State::Null);
    result.map(|places| places.join(", "))
}

fn gpu() -> Vec<Finding> {
    if !Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/dxg").exists() {
        return vec![Finding {
            what: "GPU",
            state: Ok("none; the models run on the CPU".into()),
            needed: false,
        }];
    }
    let check = |provider: Provider| {
        let options = Options {
            provider,
            ..Options::default()
        };
        let name = names(&folders()).into_iter().next()?;
        Some(match Model::open(&name, &options) {
            Ok(model) => Ok(model.active_provider().to_owned()),
            Err(error) => Err((
                error.to_string(),
                "pip install onnxruntime-gpu, and set ORT_DYLIB_PATH to its libonnxruntime.so"
                    .into(),
            )),
        })
    };
    let providers = [("CUDA", Provider::Cuda), ("TensorRT", Provider::TensorRt)];
    providers
        .into_iter()
        .filter_map(|(what, provider)| {
            Some(Finding {
                what,
                state: check(provider)?,
                needed: false,
            })
        })
        .collect()
}

fn print(text: &str) -> Result<()> {
    match stdout().lock().write_all(text.as_bytes()) {
        // Whoever read it has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_thing_comes_with_its_command() {
        let finding = |what, state, needed| Finding {
            what,
            state,
            needed,
        };
        let lacking = || {
            Err((
                "GStreamer lacks tsdemux".to_owned(),
                "apt-get install x".to_owned(),
            ))
        };
        let text = screen(&[
            finding("GStreamer", Ok("1.22.0".into()), true),
            finding("MPEG-TS", lacking(), false),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ok       GStreamer      1.22.0");
        assert_eq!(lines[1], "note     MPEG-TS        GStreamer lacks tsdemux");
        assert_eq!(lines[2].trim(), "apt-get install x");
        assert!(text.ends_with("All required components are installed.\n"));
        let text = screen(&[finding("basics", lacking(), true)]);
        assert!(
            text.starts_with("MISSING  basics")
                && text.ends_with("1 required component is missing.\n"),
            "{text}"
        );
    }

    #[test]
    fn each_package_has_what_is_said_of_it() {
        // Where Debian's packages can be asked what they are for.
        for package in [BASE, GOOD, BAD, UGLY, LIBAV] {
            let output = std::process::Command::new("apt-cache")
                .args(["show", package])
                .output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            let Some(line) = text
                .unwrap_or_default()
                .lines()
                .find_map(|line| line.strip_prefix("Gstreamer-Elements: ").map(str::to_owned))
            else {
                eprintln!("skipped: no package lists of Debian have {package}");
                continue;
            };
            let elements: Vec<_> = line.split(", ").collect();
            for Media {
                what,
                elements: any,
                ..
            } in MEDIA.iter().filter(|media| media.package == package)
            {
                // It loads its library when it is used, which keeps it out of the list.
                if any.contains(&"souphttpsrc") {
                    continue;
                }
                assert!(
                    any.iter().any(|name| elements.contains(name)),
                    "{package} lacks {what}"
                );
            }
        }
    }

    #[test]
    fn variants_are_one_model() {
        let folder = env::temp_dir().join(format!("instruments-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["a.onnx", "a.int8.onnx", "b.fp16.onnx", "README.md"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        assert_eq!(
            names(std::slice::from_ref(&folder)),
            ["a", "b"].map(String::from).into()
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
