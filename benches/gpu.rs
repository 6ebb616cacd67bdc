// SPDX-License-Identifier: MPL-2.0

//! The models on this machine's GPU: whether their tags are the processor's, and how fast they are beside a loop of
//! nothing but ONNX Runtime:
//!
//! ```sh
//! scripts/gpu-check --provider cuda --output docs/performance-gpu.md examples/media/band.mp4
//! ```
//!
//! Writes a page of tables. `scripts/gpu-bundle` packs it with all that it needs for a bare machine.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use gst::{glib, prelude::*};
use gstinstruments::{
    meta::Tags,
    model::{Input, Modality, Model, Options, Precision, Provider},
};
use ort::{
    ep,
    memory::Allocator,
    session::{Session, SessionInputValue},
    value::{DynTensor, TensorElementType, ValueType},
};

/// Checks and measures the models on a GPU
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// What to compare with the processor
    #[arg(long, value_delimiter = ',', value_parser = provider, default_value = "cuda,tensorrt")]
    provider: Vec<Provider>,
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
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Audio and video files whose tags are compared
    clips: Vec<PathBuf>,
}

/// What is measured in a process of its own
#[derive(Subcommand)]
enum Part {
    /// Runs a model with nothing but ONNX Runtime, and prints items a second
    Bare {
        model: PathBuf,
        #[arg(value_parser = provider)]
        provider: Provider,
        half: String,
        device: i32,
        batch: usize,
        seconds: f64,
    },
    /// Opens a model, and prints the seconds that took and the GPU memory in MiB that it holds
    Open {
        model: String,
        #[arg(value_parser = provider)]
        provider: Provider,
        half: String,
        device: u32,
        cache: PathBuf,
    },
}

/// What a model is run on.
#[derive(Clone, Copy)]
struct On {
    provider: Provider,
    /// Fp32 or Fp16.
    precision: Precision,
}

/// The scores of all labels, by clip and by what they are of.
type Scores = BTreeMap<(usize, String), BTreeMap<String, f32>>;

type Cells = Result<Vec<String>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.part {
        Some(part) => part.run(),
        None => args.check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn provider(name: &str) -> Result<Provider, String> {
    let names = || Provider::ALL.iter().map(|provider| provider.as_str());
    let index = names().position(|known| known == name);
    index.map(|index| Provider::ALL[index]).ok_or_else(|| {
        let names: Vec<_> = names().collect();
        format!("use one of {}", names.join(", "))
    })
}

fn precision(half: &str) -> Precision {
    match half == Precision::Fp16.as_str() {
        true => Precision::Fp16,
        false => Precision::Fp32,
    }
}

impl Args {
    fn check(&self) -> Result<()> {
        gst::init()?;
        gstinstruments::plugin_register_static()?;
        let mut answers = Table::new(
            "Answers",
            "The clips' tags by sound, by pictures and by both, each against the processor's in fp32: the largest difference \
             of a probability (allowed: 0.001 in fp32, 0.02 in fp16) and how often the best tag is the same (it always must be).",
            &[
                "results",
                "largest difference",
                "same best tag",
                "as it must be",
            ],
        );
        let mut speed = Table::new(
            "Speed",
            "Pictures or mel patches a second with as many waiting as twice the batch size, beside a loop of nothing but ONNX \
             Runtime on the same provider and batch size right after it, and the time from a request to its answer.",
            &["a second", "ONNX Runtime alone", "ratio", "p50", "p99"],
        );
        let mut start = Table::new(
            "Start",
            "Opening the model in a new process until it has answered, with an empty and with a full cache of engines, and the \
             GPU memory that it holds then.",
            &["cold", "warm", "memory"],
        );
        let mut streams = Table::new(
            "Streams",
            "How many streams of one picture and one mel patch a second get every answer within a second, on one GPU, without \
             the decoding of the media.",
            &["streams", "p99"],
        );
        let mut reference = None;
        for &provider in &self.provider {
            for precision in [Precision::Fp32, Precision::Fp16] {
                let on = On {
                    provider,
                    precision,
                };
                let name = format!("{} {}", provider.as_str(), precision.as_str());
                eprintln!("gpu-check: {name}");
                answers.row(&name, self.answers(on, &mut reference));
                for model in [&self.video_model, &self.audio_model] {
                    for &batch in &self.batches {
                        let row = format!("{name}, `{model}`, batch {batch}");
                        speed.row(&row, self.speed(model, on, batch));
                    }
                    start.row(&format!("{name}, `{model}`"), self.start(model, on));
                }
                streams.row(&name, self.streams(on));
            }
        }
        let _ = fs::remove_dir_all(scratch(""));
        let tables = [answers, speed, start, streams].map(|table| table.text);
        let head =
            "# Performance on a GPU\n\nWritten by `scripts/gpu-check`.\n\n| | |\n| --- | --- |\n";
        let page = format!("{head}{}{}", machine(self.device), tables.concat());
        fs::write(&self.output, page)
            .with_context(|| format!("{} cannot be written", self.output.display()))?;
        eprintln!("gpu-check: wrote {}", self.output.display());
        Ok(())
    }

    fn open(&self, model: &str, on: On, batch_size: usize) -> Result<Arc<Model>> {
        let options = Options {
            provider: on.provider,
            precision: on.precision,
            device: self.device,
            batch_size,
            engine_cache: Some(scratch("shared")),
            ..Options::default()
        };
        Ok(Model::open(model, &options)?)
    }

    /// The tags of every clip against the processor's.
    fn answers(&self, on: On, reference: &mut Option<Scores>) -> Cells {
        ensure!(!self.clips.is_empty(), "no clips were given");
        let allowed = match on.precision {
            Precision::Fp32 => 1e-3,
            _ => 2e-2,
        };
        let ours = self.scores(on)?;
        if reference.is_none() {
            *reference = Some(self.scores(On {
                provider: Provider::Cpu,
                precision: Precision::Fp32,
            })?);
        }
        let theirs = reference.as_ref().context("no results of the processor")?;
        ensure!(
            ours.keys().eq(theirs.keys()),
            "there are other results than on the processor"
        );
        let (mut difference, mut same) = (0_f32, 0);
        for (ours, theirs) in ours.values().zip(theirs.values()) {
            for (label, theirs) in theirs {
                let ours = ours.get(label).context("a label is missing")?;
                difference = difference.max((ours - theirs).abs());
            }
            same += usize::from(best(ours) == best(theirs));
        }
        let right = difference <= allowed && same == theirs.len();
        Ok(vec![
            theirs.len().to_string(),
            format!("{difference:.5}"),
            format!("{same} of {}", theirs.len()),
            if right { "yes" } else { "**no**" }.to_owned(),
        ])
    }

    fn scores(&self, on: On) -> Result<Scores> {
        let mut scores = Scores::new();
        for (clip, path) in self.clips.iter().enumerate() {
            let tags = self
                .tag(path, on)
                .with_context(|| path.display().to_string())?;
            let named = |tags: Tags| {
                let of = format!("{:?}", tags.source);
                ((clip, of), tags.scores.into_iter().collect())
            };
            scores.extend(tags.into_iter().map(named));
        }
        Ok(scores)
    }

    /// The results of the whole clip.
    fn tag(&self, clip: &Path, on: On) -> Result<Vec<Tags>> {
        let uri = glib::filename_to_uri(clip.canonicalize()?, None)?;
        let Self {
            audio_model,
            video_model,
            device,
            ..
        } = self;
        let (provider, precision, cache) = (
            on.provider.as_str(),
            on.precision.as_str(),
            scratch("shared"),
        );
        let on = format!(
            "execution-provider={provider} precision={precision} device={device} engine-cache=\"{}\" threshold=0 max-tags=0",
            cache.display()
        );
        let pipeline = gst::parse::launch(&format!(
            "uridecodebin uri=\"{uri}\" name=d \
             d. ! queue ! frameclassify scheduling=sync model={video_model} {on} ! fuse.video \
             d. ! queue ! melspec ! frameclassify scheduling=sync model={audio_model} {on} ! fuse.audio \
             avfuse name=fuse {on} ! fakesink sync=false",
        ))?;
        let bus = pipeline.bus().context("no bus")?;
        let mut tags = Vec::new();
        // A failure to start is reported on the bus like any other.
        let _ = pipeline.set_state(gst::State::Playing);
        let result = loop {
            let message = bus
                .timed_pop(gst::ClockTime::NONE)
                .context("the bus ended")?;
            match message.view() {
                gst::MessageView::Eos(_) => break Ok(tags),
                gst::MessageView::Error(error) => break Err(anyhow::anyhow!("{}", error.error())),
                gst::MessageView::Element(_) => {
                    let clip = Tags::from_message(&message).filter(|(_, clip)| *clip);
                    tags.extend(clip.map(|(tags, _)| tags));
                }
                _ => {}
            }
        };
        pipeline.set_state(gst::State::Null)?;
        result
    }

    /// Items a second, beside ONNX Runtime alone.
    fn speed(&self, model: &str, on: On, batch: usize) -> Cells {
        let model = self.open(model, on, batch)?;
        let (rate, latencies) = saturate(&model, batch, Duration::from_secs_f64(self.seconds))?;
        let path = model.path().display().to_string();
        let (batch, seconds) = (batch.to_string(), self.seconds.to_string());
        let bare: f64 = self.part("bare", &path, on, &[&batch, &seconds])?[0].parse()?;
        Ok(vec![
            format!("{rate:.1}"),
            format!("{bare:.1}"),
            format!("{:.2}", rate / bare),
            milliseconds(percentile(&latencies, 50)),
            milliseconds(percentile(&latencies, 99)),
        ])
    }

    /// Seconds to the first answer with an empty and a full cache of engines, and memory.
    fn start(&self, model: &str, on: On) -> Cells {
        let cache = scratch(&format!(
            "{}-{}-{model}",
            on.provider.as_str(),
            on.precision.as_str()
        ));
        let cache = cache.display().to_string();
        let [cold, warm] = [(), ()].map(|()| self.part("open", model, on, &[&cache]));
        let (cold, warm) = (cold?, warm?);
        Ok(vec![
            cold[0].clone() + " s",
            warm[0].clone() + " s",
            warm[1].clone() + " MiB",
        ])
    }

    /// The most streams of one picture and one mel patch a second whose answers all come within a second: doubled until one
    /// is late, then halved in between to a twentieth.
    fn streams(&self, on: On) -> Cells {
        let models = [
            self.open(&self.video_model, on, 128)?,
            self.open(&self.audio_model, on, 128)?,
        ];
        let duration = Duration::from_secs_f64(self.seconds.max(3.0));
        let (mut best, mut p99) = (0, Duration::ZERO);
        let (mut streams, mut late) = (1, None);
        loop {
            match carried(&models, streams, duration)? {
                Some(latency) => (best, p99) = (streams, latency),
                None => late = Some(streams),
            }
            streams = match late {
                None => 2 * best,
                Some(late) if late - best <= (best / 20).max(1) => break,
                Some(late) => best.midpoint(late),
            };
        }
        Ok(vec![best.to_string(), milliseconds(p99)])
    }

    /// What this program prints as that part, word by word; at least one.
    fn part(&self, part: &str, model: &str, on: On, more: &[&str]) -> Result<Vec<String>> {
        let (provider, precision) = (on.provider.as_str(), on.precision.as_str());
        let device = self.device.to_string();
        let output = Command::new(env::current_exe()?)
            .args([part, model, provider, precision, &device])
            .args(more)
            .output()
            .context("cannot be started again")?;
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            output.status.success(),
            "{}",
            error.trim_start_matches("error: ")
        );
        let text = String::from_utf8(output.stdout)?;
        ensure!(!text.is_empty(), "no answer");
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }
}

impl Part {
    fn run(&self) -> Result<()> {
        match self {
            Self::Bare {
                model,
                provider,
                half,
                device,
                batch,
                seconds,
            } => {
                let fp16 = precision(half) == Precision::Fp16;
                let cuda = ep::CUDA::default().with_device_id(*device).build();
                let tensorrt = ep::TensorRT::default()
                    .with_device_id(*device)
                    .with_fp16(fp16)
                    .build();
                let providers = match provider {
                    Provider::Cuda => vec![cuda.error_on_failure()],
                    Provider::TensorRt => vec![tensorrt.error_on_failure(), cuda],
                    _ => vec![],
                };
                let runtime = env::var_os("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH is not set")?;
                gstinstruments::model::disable_telemetry();
                let environment = ort::init_from(&runtime)?.build()?;
                let open = || -> ort::Result<Session> {
                    let builder = Session::builder(&environment)?;
                    builder
                        .with_execution_providers(providers)?
                        .commit_from_file(model)
                };
                let mut session = open()?;
                println!("{}", bare(&mut session, *batch, *seconds)?);
            }
            Self::Open {
                model,
                provider,
                half,
                device,
                cache,
            } => {
                let used = || nvidia_smi(*device, "memory.used")?.parse::<i64>().ok();
                let before = used();
                let options = Options {
                    provider: *provider,
                    precision: precision(half),
                    device: *device,
                    engine_cache: Some(cache.clone()),
                    ..Options::default()
                };
                let started = Instant::now();
                let _model = Model::open(model, &options)?;
                let seconds = started.elapsed().as_secs_f64();
                let held = used()
                    .zip(before)
                    .map_or("unknown".into(), |(now, before)| (now - before).to_string());
                println!("{seconds:.2} {held}");
            }
        }
        Ok(())
    }
}

/// Items a second of a session that is run again and again on the same values.
fn bare(session: &mut Session, batch: usize, seconds: f64) -> Result<f64> {
    let mut inputs: Vec<(String, DynTensor)> = Vec::new();
    for input in session.inputs() {
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
            bail!("the input {} is no tensor", input.name());
        };
        let length = |length: &i64| if *length < 0 { batch as i64 } else { *length };
        let shape: Vec<i64> = shape.iter().map(length).collect();
        let mut tensor = DynTensor::new(&Allocator::default(), *ty, shape)?;
        // What the values are makes no difference to the speed.
        match ty {
            TensorElementType::Uint8 => tensor.try_extract_tensor_mut::<u8>()?.1.fill(7),
            _ => tensor.try_extract_tensor_mut::<f32>()?.1.fill(7.0),
        }
        inputs.push((input.name().to_owned(), tensor));
    }
    let mut run = || -> ort::Result<()> {
        let named = inputs
            .iter()
            .map(|(name, tensor)| (name.into(), tensor.into()));
        session.run(named.collect::<Vec<(Cow<str>, SessionInputValue)>>())?;
        Ok(())
    };
    for _ in 0..3 {
        run()?;
    }
    let (started, mut runs) = (Instant::now(), 0);
    while started.elapsed().as_secs_f64() < seconds {
        run()?;
        runs += 1;
    }
    Ok((runs * batch) as f64 / started.elapsed().as_secs_f64())
}

/// What one stream brings: values that are not all the same.
fn input(model: &Model) -> Result<Input> {
    let value = |index: usize| (index * 61 % 97) as f32;
    Ok(match &model.card().modality {
        Modality::Audio { front_end, .. } => {
            let count = front_end.bands * front_end.patch_frames;
            Input::Mel((0..count).map(value).collect())
        }
        &Modality::Video { width, height, .. } => {
            let count = width as usize * height as usize * 3;
            Input::Frame((0..count).map(|index| value(index) as u8).collect())
        }
        Modality::Fusion { .. } => bail!("a fusion model is not measured here"),
    })
}

/// Items a second with twice `batch` requests waiting for so long, and the sorted times from a request to its answer.
fn saturate(model: &Arc<Model>, batch: usize, duration: Duration) -> Result<(f64, Vec<Duration>)> {
    let input = input(model)?;
    let (answer, answers) = mpsc::channel();
    let submit = || {
        let (answer, since) = (answer.clone(), Instant::now());
        model.submit(input.clone(), move |result| {
            // The receiver lives as long as this function, which may end before the last answers.
            let _ = answer.send(result.map(|_| since.elapsed()));
        });
    };
    for _ in 0..2 * batch {
        submit();
    }
    // The first round is not counted.
    for _ in 0..2 * batch {
        answers.recv()??;
        submit();
    }
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < duration {
        latencies.push(answers.recv()??);
        submit();
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok((rate, latencies))
}

/// The 99th percentile of the latencies with so many streams, or `None` when an answer took more than a second.
fn carried(models: &[Arc<Model>], streams: usize, duration: Duration) -> Result<Option<Duration>> {
    let inputs: Vec<Input> = models
        .iter()
        .map(|model| input(model))
        .collect::<Result<_>>()?;
    let (answer, answers) = mpsc::channel();
    let pause = Duration::from_secs(1).div_f64(streams as f64);
    let started = Instant::now();
    let mut due = Duration::ZERO;
    // Streams begin spread over a second, and each then comes once a second.
    while due < duration {
        thread::sleep(due.saturating_sub(started.elapsed()));
        for (model, input) in models.iter().zip(&inputs) {
            let (answer, since) = (answer.clone(), started + due);
            model.submit(input.clone(), move |result| {
                let _ = answer.send(result.map(|_| since.elapsed()));
            });
        }
        due += pause;
    }
    drop(answer);
    let mut latencies: Vec<Duration> = answers.iter().collect::<Result<_, _>>()?;
    latencies.sort_unstable();
    let last = latencies
        .last()
        .is_some_and(|last| *last <= Duration::from_secs(1));
    Ok(last.then(|| percentile(&latencies, 99)))
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

fn best(scores: &BTreeMap<String, f32>) -> Option<&String> {
    let best = scores.iter().max_by(|a, b| a.1.total_cmp(b.1));
    best.map(|(label, _)| label)
}

/// A table with a name for each row; rows that could not be measured say why.
struct Table {
    columns: usize,
    text: String,
}

impl Table {
    fn new(title: &str, about: &str, columns: &[&str]) -> Self {
        let rule = "| --- ".repeat(columns.len());
        let head = columns.join(" | ");
        Self {
            columns: columns.len(),
            text: format!("\n## {title}\n\n{about}\n\n| | {head} |\n| --- {rule}|\n"),
        }
    }

    fn row(&mut self, name: &str, cells: Cells) {
        let cells = cells.unwrap_or_else(|reason| {
            let mut cells = vec!["–".to_owned(); self.columns];
            cells[0] = format!("not measured: {reason:#}").replace('\n', " ");
            cells
        });
        self.text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
}

/// What was measured on, as rows.
fn machine(device: u32) -> String {
    let ask = |what| nvidia_smi(device, what).unwrap_or_else(|| "none".into());
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut cpu = cpu
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.next().map_or("unknown", |(_, name)| name);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let runtime = PathBuf::from(env::var_os("ORT_DYLIB_PATH").unwrap_or_default());
    let runtime = runtime.canonicalize().unwrap_or(runtime);
    [
        ("GPU", ask("name")),
        ("driver", ask("driver_version")),
        ("compute capability", ask("compute_cap")),
        ("processor", format!("{cpu}, {threads} threads")),
        (
            "ONNX Runtime",
            runtime
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
        ),
    ]
    .map(|(name, value)| format!("| {name} | {value} |\n"))
    .concat()
}

/// One value that nvidia-smi knows of the GPU; `None` where there is none.
fn nvidia_smi(device: u32, what: &str) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(["--id", &device.to_string()])
        .args(["--query-gpu", what, "--format=csv,noheader,nounits"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A folder for caches that is gone at the end.
fn scratch(name: &str) -> PathBuf {
    let folder = format!("gpu-check-{}", std::process::id());
    env::temp_dir().join(folder).join(name)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
