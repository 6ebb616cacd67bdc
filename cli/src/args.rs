// SPDX-License-Identifier: MPL-2.0

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use crate::archive::Shard;

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
  2    the command line is wrong
  130  interrupted (SIGINT, SIGTERM or SIGHUP); what was done until then is printed";

#[derive(Subcommand)]
pub enum Command {
    /// Tag files, folders or URIs
    #[command(after_help = EXIT_CODES)]
    Tag(Box<Tag>),
    /// Make one table of the records of all shards, and say what is missing or twice
    #[command(after_help = EXIT_CODES)]
    Merge(Merge),
    /// List the models: what they take, where they run, what they know
    Models {
        /// What the models run on
        #[arg(long, default_value = "auto", value_parser = PROVIDERS)]
        provider: String,
    },
    /// Check what is installed, and say how to get what is missing
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

/// What models may be told to run on.
const PROVIDERS: [&str; 5] = ["auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx"];

#[derive(Parser)]
pub struct Merge {
    /// The folder that `instruments tag --shard` wrote into
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The form of the table
    #[arg(short, long, value_enum, default_value = "jsonl")]
    pub format: TableFormat,
    /// Write the table into this file instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Forms of the table of an archive.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum TableFormat {
    /// JSON lines: the records
    Jsonl,
    /// Comma-separated values, a line a segment
    Csv,
    /// Apache Parquet, a row a segment and a row an input
    Parquet,
}

#[derive(Parser, Clone)]
pub struct Tag {
    /// Files, folders (all audio and video files in them), URIs, or - for a list on standard input, one input a line
    #[arg(value_name = "FILE|FOLDER|URI|-", required_unless_present = "follow")]
    pub inputs: Vec<OsString>,
    /// What is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: Format,
    /// Write one file per input into this folder instead of printing
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Tag part I of N (I from 0) of the inputs, one record of JSON lines each in --out; inputs with a record are skipped
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with_all = ["format", "windows", "json"])]
    pub shard: Option<Shard>,
    /// Read inputs from standard input, one a line, and print the JSON lines of each before the next is read; the last line
    /// of each has the type "file"
    #[arg(long, conflicts_with_all = ["inputs", "out", "shard", "format", "windows", "json", "jobs"])]
    pub follow: bool,
    /// With --shard: tag inputs that failed once more
    #[arg(long, requires = "shard")]
    pub retry_failed: bool,
    /// With --shard: how often an input is begun when the process ends each time; then it is recorded as failed
    #[arg(long, value_name = "N", requires = "shard", default_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    pub attempts: u64,
    /// Inputs that are tagged at the same time [default: one for each CPU core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Give the model's results for each window instead of segments (table, jsonl and csv)
    #[arg(long)]
    pub windows: bool,
    /// The same as --format jsonl --windows
    #[arg(long, conflicts_with_all = ["format", "windows"])]
    pub json: bool,
    /// Score at which a segment begins; it ends below 60 % of that
    #[arg(long, value_name = "SCORE", default_value = "0.4", value_parser = score)]
    pub threshold: f32,
    /// Which pictures are decoded; auto: key frames, and everything between key frames that are more than half a window apart
    #[arg(long, value_enum, default_value = "auto")]
    pub decode: Decode,
    /// Seconds without any progress after which an input is given up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: u64,
    #[command(flatten)]
    pub models: Models,
    /// Leave out what is heard or what is seen
    #[arg(long, value_enum)]
    pub without: Option<Modality>,
    /// Seconds of audio and video behind each result
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub window: u64,
    /// Seconds between results
    #[arg(long, value_name = "SECONDS", default_value = "2.5", value_parser = seconds)]
    pub stride: u64,
    /// Seconds between the pictures that are analysed
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: u64,
    /// Which sound is analysed: windows, or one or ten of the model's own length in the whole file
    #[arg(long, default_value = "sliding", value_parser = ["sliding", "central", "uniform", "ten"])]
    pub segmentation: String,
    /// How sound that is too short for the model is padded
    #[arg(long, default_value = "repeat", value_parser = ["repeat", "zero", "drop"])]
    pub partial: String,
    /// Pictures, spread evenly over the whole file, behind the result for all of it [default: all, and 20 where fused]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: Option<u32>,
}

/// Which models run, and how.
#[derive(clap::Args, Clone)]
pub struct Models {
    /// What the models run on
    #[arg(long, default_value = "auto", value_parser = PROVIDERS)]
    pub provider: String,
    /// What the models compute in
    #[arg(long, default_value = "auto", value_parser = ["auto", "fp32", "fp16", "int8"])]
    pub precision: String,
    /// Sound model, in place of the default
    #[arg(long, value_name = "NAME|PATH")]
    pub audio_model: Option<String>,
    /// Picture model, in place of the default
    #[arg(long, value_name = "NAME|PATH")]
    pub video_model: Option<String>,
    /// Fusion model, in place of the default; none: audio and video results alone
    #[arg(long, value_name = "NAME|PATH|none")]
    pub fusion_model: Option<String>,
}

impl Models {
    /// Whether audio and video results stay apart.
    pub fn unfused(&self) -> bool {
        self.fusion_model.as_deref() == Some("none")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Format {
    /// Segments for people
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
    /// A page with a timeline, pictures, a spectrogram and a player
    Html,
}

impl Format {
    /// Whether several inputs fit into one output.
    pub fn joins(self) -> bool {
        matches!(self, Format::Table | Format::Jsonl | Format::Csv)
    }

    /// The ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Table => "txt",
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Vtt => "vtt",
            Format::Srt => "srt",
            Format::Otio => "otio",
            Format::Svg => "svg",
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
        bail!("give a time from 0.001 to 86400 seconds");
    }
    Ok((seconds * 1e9) as u64)
}

fn score(text: &str) -> Result<f32> {
    let score: f32 = text.parse()?;
    if !(0.0..=1.0).contains(&score) || score == 0.0 {
        bail!("give a score above 0 and up to 1");
    }
    Ok(score)
}
