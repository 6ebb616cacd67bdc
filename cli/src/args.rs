// SPDX-License-Identifier: MPL-2.0

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use gstinstruments::elements::frameclassify::MAX_FRAMES;
use gstinstruments::model::Provider;

use crate::shard::Shard;

/// Tags the musical instruments in audio and video files: which are heard, which are seen, and when
#[derive(Parser)]
#[command(name = "instruments", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

pub const EXIT_CODES: &str = "Exit codes:
  0    everything succeeded
  1    an input could not be tagged, or something is missing
  2    the command line is invalid; with --shard also: a model or the folder cannot be used
  3    with --shard: done, but inputs could not be tagged, for causes that do not pass
  75   with --shard: start it again; a server, storage, memory or the disk was the cause
  130  interrupted (SIGINT, SIGTERM or SIGHUP); the results so far are printed";

#[derive(Subcommand)]
pub enum Command {
    /// Tag files, folders or URIs
    #[command(after_help = EXIT_CODES)]
    Tag(Box<Tag>),
    /// Merge the records of all shards into one table, and report missing and duplicate inputs
    #[command(after_help = EXIT_CODES)]
    Merge(Merge),
    /// List the models: input, execution provider, labels
    Models {
        /// Execution provider
        #[arg(long, default_value = "auto", value_parser = providers())]
        provider: String,
    },
    /// Check the installation, and print how to install what is missing
    #[command(after_help = EXIT_CODES)]
    Doctor,
    /// Print a shell completion script
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Nanoseconds.
const MIN_WINDOW: u64 = 100_000_000;

/// The execution providers by name.
fn providers() -> PossibleValuesParser {
    let all = [Provider::Auto].iter().chain(Provider::ALL);
    all.map(|provider| provider.as_str())
        .collect::<Vec<_>>()
        .into()
}

#[derive(Parser)]
pub struct Merge {
    /// The folder that `instruments tag --shard` wrote into
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Table format
    #[arg(short, long, value_enum, default_value = "jsonl")]
    pub format: TableFormat,
    /// Write the table to this file instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Formats of the table of an archive.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum TableFormat {
    /// JSON lines: the records
    Jsonl,
    /// Comma-separated values, one line per segment
    Csv,
    /// Apache Parquet, one row per segment and one per input
    Parquet,
}

#[derive(Parser, Clone)]
pub struct Tag {
    /// Files, folders (the audio and video files in them, by their content; not hidden ones), URIs, or - for a list on
    /// standard input, one input per line
    #[arg(value_name = "FILE|FOLDER|URI|-", required_unless_present = "follow")]
    pub inputs: Vec<OsString>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: Format,
    /// Write one file per input into this folder instead of printing
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Tag part I of N (I from 0) of the inputs and write one record of JSON lines per input to --out; inputs that already have a record are skipped
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with_all = ["format", "windows", "json"])]
    pub shard: Option<Shard>,
    /// Read inputs from standard input, one per line, and print the JSON lines of each before reading the next; the last
    /// line of each input has the type "file"
    #[arg(long, conflicts_with_all = ["inputs", "out", "shard", "format", "windows", "json", "jobs"])]
    pub follow: bool,
    /// With --shard: retry inputs that failed in an earlier run
    #[arg(long, requires = "shard")]
    pub retry_failed: bool,
    /// With --shard: attempts to tag an input that crashes, makes no progress or cannot be reached
    #[arg(long, value_name = "N", requires = "shard", default_value = "3", value_parser = clap::value_parser!(u64).range(1..))]
    pub attempts: u64,
    /// With --shard: exit with code 0 instead of 3, for schedulers that take every other code for a failure
    #[arg(long, requires = "shard")]
    pub allow_failures: bool,
    /// What a shard starts its processes with: the threads of each
    #[arg(long, hide = true, value_name = "THREADS")]
    pub worker: Option<u32>,
    /// Number of inputs to tag in parallel [default: one per CPU core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Write the model's results for each window instead of segments (table, jsonl and csv)
    #[arg(long)]
    pub windows: bool,
    /// The same as --format jsonl --windows
    #[arg(long, conflicts_with_all = ["format", "windows"])]
    pub json: bool,
    /// Minimum score at which a segment starts; it ends when the score falls below 60 % of this
    #[arg(long, value_name = "SCORE", default_value = "0.4", value_parser = score)]
    pub threshold: f32,
    /// Pictures to decode; auto: key frames, and all pictures between key frames that are more than half a window apart
    #[arg(long, value_enum, default_value = "auto")]
    pub decode: Decode,
    /// Seconds without progress after which an input fails
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: u64,
    #[command(flatten)]
    pub models: Models,
    /// Ignore the sound (audio) or the pictures (video)
    #[arg(long, value_enum)]
    pub without: Option<Modality>,
    /// Audio track to tag: its number from 1, its language, or its title [default: the container's default]
    #[arg(long, value_name = "TRACK")]
    pub audio_track: Option<String>,
    /// Video track to tag: its number from 1, its language, or its title [default: the container's default]
    #[arg(long, value_name = "TRACK")]
    pub video_track: Option<String>,
    /// Program of an MPEG transport stream to tag: its number in the stream [default: the first]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub program: Option<u16>,
    /// Length in seconds of the audio and video that each result is based on
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = window)]
    pub window: u64,
    /// Seconds between results
    #[arg(long, value_name = "SECONDS", default_value = "2.5", value_parser = seconds)]
    pub stride: u64,
    /// Seconds between analysed pictures
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: u64,
    /// Parts of the sound to analyse: sliding windows, or one or ten patches of the model's length from the whole file
    #[arg(long, default_value = "sliding", value_parser = ["sliding", "central", "uniform", "ten"])]
    pub segmentation: String,
    /// How to pad sound that is too short for the model
    #[arg(long, default_value = "repeat", value_parser = ["repeat", "zero", "drop"])]
    pub partial: String,
    /// Number of pictures, spread evenly over the file, for the result for the whole file [default: all; 20 with fusion]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FRAMES)))]
    pub frames: Option<u32>,
}

/// Which models run, and how.
#[derive(clap::Args, Clone)]
pub struct Models {
    /// Execution provider
    #[arg(long, default_value = "auto", value_parser = providers())]
    pub provider: String,
    /// Number format that the models compute in
    #[arg(long, default_value = "auto", value_parser = ["auto", "fp32", "fp16", "int8"])]
    pub precision: String,
    /// Sound model, instead of the default
    #[arg(long, value_name = "NAME|PATH")]
    pub audio_model: Option<String>,
    /// Picture model, instead of the default
    #[arg(long, value_name = "NAME|PATH")]
    pub video_model: Option<String>,
    /// Fusion model [default: the one made for the sound and picture models]; none: separate audio and video results
    #[arg(long, value_name = "NAME|PATH|none")]
    pub fusion_model: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Format {
    /// Readable table of segments
    Table,
    /// JSON lines
    Jsonl,
    /// Comma-separated values
    Csv,
    /// WebVTT subtitles
    Vtt,
    /// SubRip subtitles
    Srt,
    /// OpenTimelineIO: a clip with a marker for each segment
    Otio,
    /// A plot of the timeline
    Svg,
    /// The same as a picture
    Png,
    /// A page with a timeline, pictures, a spectrogram and a player
    Html,
}

impl Format {
    /// Whether several inputs fit into one output.
    pub fn joins(self) -> bool {
        matches!(self, Format::Table | Format::Jsonl | Format::Csv)
    }

    /// The file name extension.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Table => "txt",
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Vtt => "vtt",
            Format::Srt => "srt",
            Format::Otio => "otio",
            Format::Svg => "svg",
            Format::Png => "png",
            Format::Html => "html",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Decode {
    Auto,
    Keyframes,
    All,
}

impl Decode {
    pub fn name(self) -> &'static str {
        match self {
            Decode::Auto => "auto",
            Decode::Keyframes => "keyframes",
            Decode::All => "all",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Debug)]
pub enum Modality {
    Audio,
    Video,
}

impl Modality {
    pub fn name(self) -> &'static str {
        match self {
            Modality::Audio => "audio",
            Modality::Video => "video",
        }
    }
}

/// Positive decimal seconds as nanoseconds, the elements' unit of time.
fn seconds(text: &str) -> Result<u64> {
    let seconds: f64 = text.parse()?;
    if !(0.001..=86_400.0).contains(&seconds) {
        bail!("the time must be from 0.001 to 86400 seconds");
    }
    Ok((seconds * 1e9) as u64)
}

/// [`seconds`] that hold a few hops of every model's sound.
fn window(text: &str) -> Result<u64> {
    let window = seconds(text)?;
    if window < MIN_WINDOW {
        bail!("the window must be from 0.1 to 86400 seconds");
    }
    Ok(window)
}

fn score(text: &str) -> Result<f32> {
    let score: f32 = text.parse()?;
    if !(0.0..=1.0).contains(&score) || score == 0.0 {
        bail!("the score must be above 0 and at most 1");
    }
    Ok(score)
}
