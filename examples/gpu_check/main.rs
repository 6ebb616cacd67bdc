// SPDX-License-Identifier: MPL-2.0

//! Checks and measures the models on this machine's GPU, and writes docs/performance-gpu.md.
//!
//! `scripts/gpu-bundle` packs it with all that it needs; `scripts/gpu-check` runs it, there or in the source tree.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use gstinstruments::model::{Model, Options, Precision, Provider};

use report::{Cell, Report, Table};

mod bare;
mod clips;
mod load;
mod report;

/// Checks and measures the models on a GPU
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    check: Check,
}

/// What is measured in a process of its own
#[derive(Subcommand)]
enum Part {
    /// Runs a model with nothing but ONNX Runtime, and prints items a second
    Bare(bare::Args),
    /// Opens a model, and prints the seconds that took and the GPU memory in MiB that it holds
    Open {
        model: String,
        #[arg(value_parser = provider)]
        provider: Provider,
        #[arg(value_parser = precision)]
        precision: Precision,
        device: u32,
        cache: PathBuf,
    },
}

#[derive(clap::Args)]
struct Check {
    /// What to compare with the processor
    #[arg(long, value_delimiter = ',', value_parser = provider, default_value = "cuda,tensorrt")]
    providers: Vec<Provider>,
    /// Which GPU
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// The model for sound
    #[arg(long, default_value = "ced-yt8m13")]
    audio_model: String,
    /// The model for pictures
    #[arg(long, default_value = "efficientnet-lite-yt8m13")]
    video_model: String,
    /// The sizes of batches whose speed is measured
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    batches: Vec<usize>,
    /// Seconds for each measurement of speed
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Where the page goes
    #[arg(long, default_value = "performance-gpu.md")]
    output: PathBuf,
    /// Audio and video files whose tags are compared
    clips: Vec<PathBuf>,
}

fn provider(name: &str) -> Result<Provider, String> {
    let mut all = Provider::ALL.iter().copied();
    all.find(|provider| provider.as_str() == name)
        .ok_or_else(|| {
            let names: Vec<&str> = Provider::ALL.iter().map(|all| all.as_str()).collect();
            format!("use one of {}", names.join(", "))
        })
}

fn precision(name: &str) -> Result<Precision, String> {
    use Precision::{Auto, Fp16, Fp32, Int8};
    [Auto, Fp32, Fp16, Int8]
        .into_iter()
        .find(|precision| precision.as_str() == name)
        .ok_or_else(|| "use auto, fp32, fp16 or int8".into())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.part {
        Some(Part::Bare(args)) => bare::run(&args),
        Some(Part::Open {
            model,
            provider,
            precision,
            device,
            cache,
        }) => open(&model, provider, precision, device, cache),
        None => args.check.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn open(
    model: &str,
    provider: Provider,
    precision: Precision,
    device: u32,
    cache: PathBuf,
) -> Result<()> {
    let before = memory(device);
    let options = Options {
        provider,
        precision,
        device,
        engine_cache: Some(cache),
        ..Options::default()
    };
    let started = Instant::now();
    let _model = Model::open(model, &options)?;
    let seconds = started.elapsed().as_secs_f64();
    let held = memory(device).zip(before).map(|(now, before)| now - before);
    println!(
        "{seconds} {}",
        held.map_or("-".into(), |held| held.to_string())
    );
    Ok(())
}

/// MiB in use on the GPU, as nvidia-smi says; `None` where there is none.
fn memory(device: u32) -> Option<i64> {
    nvidia_smi(device, "memory.used")?.parse().ok()
}

/// One value that nvidia-smi knows of the GPU.
fn nvidia_smi(device: u32, what: &str) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(["--id", &device.to_string()])
        .args(["--query-gpu", what, "--format=csv,noheader,nounits"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// What this program prints as `part`, word by word.
fn part(arguments: &[String]) -> Result<Vec<String>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()
        .context("cannot be started again")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{}", error.strip_prefix("error: ").unwrap_or(&error));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

impl Check {
    fn run(&self) -> Result<()> {
        let _cleaner = Scratch::new()?;
        let mut report = Report::new(machine(self.device));
        let mut answers = clips::Answers::new(&self.clips)?;
        for &provider in &self.providers {
            for precision in [Precision::Fp32, Precision::Fp16] {
                let name = format!("{} {}", provider.as_str(), precision.as_str());
                eprintln!("gpu-check: {name}");
                let works = [&self.video_model, &self.audio_model].map(|model| {
                    let options = self.options(provider, precision, 1);
                    Model::open(model, &options).map(|model| model.active_provider().to_owned())
                });
                match &works[0] {
                    Ok(active) => eprintln!("gpu-check: runs on {active}"),
                    Err(error) => eprintln!("gpu-check: {error}"),
                }
                let [video, audio] = works.map(|works| works.map_err(|error| error.to_string()));
                let works = video.clone().and(audio.clone()).map(|_| ());
                self.answers(
                    &mut report.answers,
                    &mut answers,
                    provider,
                    precision,
                    &name,
                    &works,
                );
                for (model, works) in [(&self.video_model, &video), (&self.audio_model, &audio)] {
                    self.speed(&mut report.speed, model, provider, precision, &name, works);
                    self.start(&mut report.start, model, provider, precision, &name, works);
                }
                self.streams(&mut report.streams, provider, precision, &name, &works);
            }
        }
        std::fs::write(&self.output, report.to_string())
            .with_context(|| format!("{} cannot be written", self.output.display()))?;
        eprintln!("gpu-check: wrote {}", self.output.display());
        Ok(())
    }

    fn options(&self, provider: Provider, precision: Precision, batch_size: usize) -> Options {
        Options {
            provider,
            precision,
            device: self.device,
            batch_size,
            engine_cache: Some(Scratch::path("shared")),
            ..Options::default()
        }
    }

    /// The tags of every clip against the processor's.
    fn answers(
        &self,
        table: &mut Table,
        answers: &mut clips::Answers,
        provider: Provider,
        precision: Precision,
        name: &str,
        works: &Result<(), String>,
    ) {
        // As the page says.
        let allowed = if precision == Precision::Fp32 {
            1e-3
        } else {
            2e-2
        };
        let compared = works.clone().and_then(|()| {
            answers
                .compare(provider, precision, self)
                .map_err(|error| format!("{error:#}"))
        });
        table.row(
            name,
            compared.map(|compared| {
                vec![
                    compared.results.to_string(),
                    format!("{:.5}", compared.difference),
                    format!("{} of {}", compared.same_top, compared.results),
                    if compared.difference <= allowed && compared.same_top == compared.results {
                        "yes"
                    } else {
                        "**no**"
                    }
                    .to_owned(),
                ]
            }),
        );
    }

    /// Items a second at each batch size, beside ONNX Runtime alone.
    fn speed(
        &self,
        table: &mut Table,
        model: &str,
        provider: Provider,
        precision: Precision,
        name: &str,
        works: &Result<String, String>,
    ) {
        for &batch in &self.batches {
            let row = format!("{name}, `{model}`, batch {batch}");
            let measured = works.clone().and_then(|_| {
                let options = self.options(provider, precision, batch);
                let duration = Duration::from_secs_f64(self.seconds);
                let measure = || -> Result<Vec<String>> {
                    let model = Model::open(model, &options)?;
                    let ours = load::saturate(&model, batch, duration)?;
                    let bare = bare::Args {
                        model: model.path().into(),
                        provider,
                        half: precision == Precision::Fp16,
                        device: self.device,
                        batch,
                        seconds: self.seconds,
                    };
                    let bare: f64 = part(&bare.arguments())?
                        .first()
                        .context("no answer")?
                        .parse()?;
                    Ok(vec![
                        format!("{:.1}", ours.rate),
                        format!("{bare:.1}"),
                        format!("{:.2}", ours.rate / bare),
                        report::milliseconds(ours.p50),
                        report::milliseconds(ours.p99),
                    ])
                };
                measure().map_err(|error| format!("{error:#}"))
            });
            table.row(&row, measured);
        }
    }

    /// Seconds to the first answer with an empty and a full cache of engines, and memory.
    fn start(
        &self,
        table: &mut Table,
        model: &str,
        provider: Provider,
        precision: Precision,
        name: &str,
        works: &Result<String, String>,
    ) {
        let measured = works.clone().and_then(|_| {
            let cache = Scratch::path(&format!("{name}-{model}"));
            let arguments = [
                "open".to_owned(),
                model.to_owned(),
                provider.as_str().to_owned(),
                precision.as_str().to_owned(),
                self.device.to_string(),
                cache.display().to_string(),
            ];
            let measure = || -> Result<Vec<String>> {
                let (cold, warm) = (part(&arguments)?, part(&arguments)?);
                let [cold, _] = &cold[..] else {
                    bail!("no answer")
                };
                let [warm, memory] = &warm[..] else {
                    bail!("no answer")
                };
                let seconds = |text: &str| -> Cell {
                    text.parse::<f64>()
                        .map_or(text.into(), |value| format!("{value:.2} s"))
                };
                let memory = match memory.as_str() {
                    "-" => "not measured: no nvidia-smi".to_owned(),
                    memory => format!("{memory} MiB"),
                };
                Ok(vec![seconds(cold), seconds(warm), memory])
            };
            measure().map_err(|error| format!("{error:#}"))
        });
        table.row(&format!("{name}, `{model}`"), measured);
    }

    /// How many streams get all their tags within a second.
    fn streams(
        &self,
        table: &mut Table,
        provider: Provider,
        precision: Precision,
        name: &str,
        works: &Result<(), String>,
    ) {
        let measured = works.clone().and_then(|()| {
            let options = self.options(provider, precision, 128);
            let measure = || -> Result<Vec<String>> {
                let models = [
                    Model::open(&self.video_model, &options)?,
                    Model::open(&self.audio_model, &options)?,
                ];
                let most = load::streams(&models, Duration::from_secs_f64(self.seconds.max(3.0)))?;
                Ok(vec![
                    most.streams.to_string(),
                    report::milliseconds(most.p99),
                ])
            };
            measure().map_err(|error| format!("{error:#}"))
        });
        table.row(name, measured);
    }
}

/// What was measured on: GPU, driver, processor, versions.
fn machine(device: u32) -> Vec<(String, String)> {
    let ask = |what| nvidia_smi(device, what).unwrap_or_else(|| "none".into());
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name)
        .to_owned();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = std::env::var("ORT_DYLIB_PATH").unwrap_or_default();
    let runtime = PathBuf::from(runtime);
    let runtime = runtime.canonicalize().unwrap_or(runtime);
    let runtime = runtime.file_name().unwrap_or_default().to_string_lossy();
    vec![
        ("GPU".into(), ask("name")),
        ("driver".into(), ask("driver_version")),
        ("compute capability".into(), ask("compute_cap")),
        ("processor".into(), format!("{cpu}, {threads} threads")),
        ("ONNX Runtime".into(), runtime.into_owned()),
    ]
}

/// A folder for caches that is gone at the end.
struct Scratch;

impl Scratch {
    fn new() -> Result<Self> {
        std::fs::create_dir_all(Self::path(""))?;
        Ok(Self)
    }

    fn path(name: &str) -> PathBuf {
        let folder = format!("gpu-check-{}", std::process::id());
        std::env::temp_dir().join(folder).join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Self::path(""));
    }
}
