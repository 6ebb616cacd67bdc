// SPDX-License-Identifier: MPL-2.0

//! `instruments`: tags the musical instruments in audio and video files, on the command line.

mod archive;
mod args;
mod doctor;
mod extent;
mod failure;
mod formats;
mod inputs;
mod kind;
mod models;
mod pictures;
mod png;
mod programs;
mod progress;
mod report;
mod run;
mod segments;
mod shard;
mod source;
mod spectrogram;
mod streams;
mod tables;
mod tagger;
mod visible;
mod worker;

use std::io::{BufWriter, Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use args::{Args, Command, Merge, TableFormat};
use tables::{Csv, JsonLines, Parquet, Table};
use visible::visible;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", visible(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Tag(options) => {
            start()?;
            let is_shard = options.shard.is_some();
            let tagged = run::tag(*options);
            // Another start helps a shard only if it failed for lack of room.
            if let (Err(error), true) = (&tagged, is_shard) {
                eprintln!("error: {}", visible(&format!("{error:#}")));
                let full = run::is_full(error);
                return Ok(ExitCode::from(if full { run::AGAIN } else { run::USAGE }));
            }
            tagged
        }
        Command::Merge(options) => merge(&options),
        Command::Models { provider } => {
            start()?;
            doctor::models(&provider)
        }
        Command::Doctor => {
            start()?;
            doctor::doctor()
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "instruments", &mut stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            clap_mangen::Man::new(Args::command()).render(&mut stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `instruments merge`: what is missing, twice or damaged is said on standard error, and makes the exit code 1.
fn merge(options: &Merge) -> Result<ExitCode> {
    let fill = |out: &mut (dyn Write + Send)| {
        archive::merge(
            &options.folder,
            &mut *table(options.format, BufWriter::new(out))?,
        )
    };
    let merged = match &options.output {
        Some(path) => archive::write_with(path, |file| fill(file))?,
        None => fill(&mut stdout())?,
    };
    eprintln!("{} inputs tagged, {} failed", merged.tagged, merged.failed);
    for (what, names) in [
        ("shards are unfinished", &merged.missing_shards),
        (
            "inputs failed for a cause that may pass; run their shards again",
            &merged.passing,
        ),
        ("inputs have no record", &merged.missing),
        ("inputs have more than one record", &merged.twice),
        (
            "files have damaged lines, which were left out; run their shards again",
            &merged.damaged,
        ),
    ] {
        if names.count > 0 {
            let more = if names.count > names.first.len() as u64 {
                ", …"
            } else {
                ""
            };
            eprintln!(
                "{} {what}: {}{more}",
                names.count,
                visible(&names.first.join(", "))
            );
        }
    }
    if merged.unlisted > 0 {
        eprintln!(
            "{} records belong to inputs that are in no list",
            merged.unlisted
        );
    }
    if merged.superseded > 0 {
        eprintln!(
            "{} lists of earlier divisions into another number of shards were ignored",
            merged.superseded
        );
    }
    Ok(if merged.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A table of that form, which is written to `out`.
fn table<'a>(format: TableFormat, out: impl Write + Send + 'a) -> Result<Box<dyn Table + 'a>> {
    Ok(match format {
        TableFormat::Jsonl => Box::new(JsonLines(out)),
        TableFormat::Csv => Box::new(Csv::new(out)?),
        TableFormat::Parquet => Box::new(Parquet::new(out)?),
    })
}

/// Starts GStreamer with the elements, which are part of this program. Models and ONNX Runtime are found as the plugin
/// finds them, and in the folders of this program's source tree or installation.
fn start() -> Result<()> {
    let program =
        std::env::current_exe().context("the path of this program cannot be determined")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    gstinstruments::model::set_plugin_dir(folder);
    for (variable, paths) in [
        (
            "GST_INSTRUMENTS_MODEL_PATH",
            ["../share/gst-instruments/models", "../../models"],
        ),
        (
            "ORT_DYLIB_PATH",
            [
                "../lib/gst-instruments/libonnxruntime.so",
                "../../.runtime/libonnxruntime.so",
            ],
        ),
    ] {
        let found = paths
            .map(|path| folder.join(path))
            .into_iter()
            .find(|path| path.exists());
        if let Some(path) = found
            && std::env::var_os(variable).is_none()
        {
            // SAFETY: no other thread is running yet.
            unsafe { std::env::set_var(variable, path) };
        }
    }
    gst::init().context("GStreamer cannot be started")?;
    gstinstruments::plugin_register_static().context("the elements cannot be registered")
}
