// SPDX-License-Identifier: MPL-2.0

//! `instruments tag`: several inputs at once, their results in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::archive::{Archive, End, Task, write};
use crate::args::{Format, Tag};
use crate::formats::{self, html, html::Entry, jsonl};
use crate::inputs::{self, Input, Lines, Listed, Unusable, hide, redact};
use crate::kind::Kind;
use crate::models::{self, for_command};
use crate::png;
use crate::progress::Progress;
use crate::report::Report;
use crate::segments::{Segment, Settings, segments};
use crate::tagger::{Tagger, Watch};
use crate::visible::visible;
use crate::worker::{self, Worker};

/// Set by SIGINT, SIGTERM and SIGHUP, or when nobody reads the output.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// The page that lists the others.
const INDEX: &str = "index.html";

/// What the shell gives for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// What a shard gives that is done except for inputs that cannot be tagged.
const FAILURES: u8 = 3;
/// What a shard gives that should be started again: `EX_TEMPFAIL` of sysexits.h.
pub const AGAIN: u8 = 75;
/// What the command line's parser gives, and a shard that no other start helps.
pub const USAGE: u8 = 2;

/// Before the second attempt to reach an input; before each further one, four times as long.
const PAUSE: Duration = Duration::from_secs(1);
/// Inputs in a row that fail for causes that may pass before a shard ends.
const ROW: usize = 10;

/// Tags everything; the exit code as documented in the command's help.
pub fn tag(mut options: Tag) -> Result<ExitCode> {
    if options.json {
        (options.format, options.windows) = (Format::Jsonl, true);
    }
    if options.follow || options.worker.is_some() {
        return follow(&mut options);
    }
    if options.format == Format::Png {
        png::check()?;
    }
    if let Some(out) = &options.out
        && out.to_str().is_some_and(|out| out.contains("://"))
    {
        bail!(
            "--out {} is not a folder: results are only written to local and mounted folders",
            redact(&out.to_string_lossy())
        );
    }
    let started = Instant::now();
    let inputs = inputs::expand(&options.inputs, stdin().lock(), options.shard)?;
    inputs.notes().iter().for_each(|note| say(note));
    let mut inputs = inputs.listed;
    let jobs = jobs(&options, inputs.len());
    // Of a single input, a model's threads may take all cores.
    let threads = if jobs > 1 { jobs.div_ceil(4) as u32 } else { 0 };
    let (models, note) = models::choose(&mut options, threads)?;
    note.iter().for_each(|note| say(note));
    // A shard's processes have their own.
    let _models = options.shard.is_none().then_some(models);
    let mut archive = None;
    if let (Some(shard), Some(folder)) = (options.shard, &options.out) {
        options.format = Format::Jsonl;
        let (opened, own) = Archive::open(folder, shard, options.retry_failed, inputs)?;
        (archive, inputs) = (Some(opened), own);
    }
    if inputs.len() > 1 && !options.format.joins() && options.out.is_none() {
        bail!("this format needs one output file per input: set a folder for the files with --out");
    }
    let outputs = match &options.out {
        Some(folder) if archive.is_none() => Some(outputs(folder, &inputs, options.format)?),
        _ => None,
    };
    interruptible()?;
    let run = Run {
        settings: settings(&options),
        progress: Progress::new(
            &inputs
                .iter()
                .map(|input| input.as_ref().ok().and_then(|input| input.bytes))
                .collect::<Vec<_>>(),
        ),
        threads,
        options,
        outputs,
        archive,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        later: Mutex::default(),
        row: AtomicUsize::new(0),
        printer: Mutex::default(),
        entries: Mutex::default(),
        inputs,
    };
    run.print_head();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| match &run.archive {
                Some(archive) => run.work_shard(archive),
                None => run.work(),
            });
        }
    });
    if let Some(archive) = &run.archive {
        run.work_alone(archive);
    }
    run.progress.finish();
    run.write_index()?;
    let closed = run
        .printer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .closed;
    Ok(if closed {
        ExitCode::SUCCESS
    } else if STOP.load(Ordering::Relaxed) {
        ExitCode::from(INTERRUPTED)
    } else if let Some(archive) = &run.archive {
        if run.failed.into_inner() {
            return Ok(ExitCode::from(AGAIN));
        }
        match archive.close(started.elapsed().as_secs_f64())? {
            End::Failures if !run.options.allow_failures => ExitCode::from(FAILURES),
            End::Done | End::Failures => ExitCode::SUCCESS,
            End::Again => ExitCode::from(AGAIN),
        }
    } else if run.failed.into_inner() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Tags each line of standard input as it comes, for programs that keep one process.
fn follow(options: &mut Tag) -> Result<ExitCode> {
    let threads = options.worker.unwrap_or(0);
    let (_models, note) = models::choose(options, threads)?;
    if options.worker.is_some() {
        worker::end_with_parent().context("the process cannot be tied to its parent")?;
    } else {
        note.iter().for_each(|note| say(note));
    }
    interruptible()?;
    let settings = settings(options);
    let mut tagger = Tagger::new(options, threads, &STOP);
    let mut stdin = BufReader::new(stdin().lock());
    let head = stdin.fill_buf().context(inputs::UNREADABLE)?;
    inputs::check_list(head)?;
    for line in Lines::new(stdin) {
        let inputs = inputs::expand_line(line.context(inputs::UNREADABLE)?);
        inputs.notes().iter().for_each(|note| say(note));
        for listed in inputs.listed {
            let text = match &listed {
                Ok(input) => match tag_one(&mut tagger, input, &Silent) {
                    Ok(report) => formats::render(Format::Jsonl, &report, &settings, false),
                    Err(error) => failure(&input.uri, &error),
                },
                Err(unusable) => failure(&unusable.uri, &unusable.cause),
            };
            let mut out = stdout().lock();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ExitCode::SUCCESS);
                }
                written => written.context("standard output")?,
            }
        }
        if STOP.load(Ordering::Relaxed) {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says something that the user should know.
fn say(note: &str) {
    eprintln!("note: {}", visible(note));
}

/// Tags an input that has not been looked at.
fn tag_one(tagger: &mut Tagger, input: &Input, watch: &dyn Watch) -> Result<Report> {
    input.check()?;
    tagger.tag(input, watch)
}

/// The record of an input that could not be tagged.
fn failure(uri: &str, cause: &anyhow::Error) -> String {
    jsonl::failure(&redact(uri), &sentence(uri, cause), Kind::of(uri, cause))
}

/// Why an input could not be tagged, without its secrets.
fn sentence(uri: &str, cause: &anyhow::Error) -> String {
    for_command(&hide(&format!("{cause:#}"), uri))
}

struct Silent;

impl Watch for Silent {
    fn progress(&self, _share: f64) {}
}

fn settings(options: &Tag) -> Settings {
    Settings {
        threshold: options.threshold,
        stride: options.stride as f64 / 1e9,
        window: options.window as f64 / 1e9,
    }
}

fn jobs(options: &Tag, inputs: usize) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.map_or_else(cores, |jobs| jobs as usize);
    jobs.min(inputs).max(1)
}

/// The first signal ends the inputs under way, the second the process.
fn interruptible() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("the signal handler cannot be installed")
}

/// Where each input's result is written; an empty path for what is none.
///
/// Of inputs with the same name, the second and later ones get a number. Names count as the same if only their case
/// differs, which not every file system tells apart, and none is that of the index of pages.
fn outputs(folder: &Path, inputs: &[Listed], format: Format) -> Result<Vec<PathBuf>> {
    let cannot = || format!("the folder {} cannot be used for files", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    tempfile::tempfile_in(folder).with_context(cannot)?;
    let longest = rustix::fs::statvfs(folder).map_or(255, |file_system| file_system.f_namemax);
    let name = |stem: &str, number: usize| {
        let number = if number > 1 {
            format!("-{number}")
        } else {
            String::new()
        };
        let end = format!("{number}.{}", format.extension());
        let room = (longest as usize).saturating_sub(end.len());
        format!("{}{end}", &stem[..stem.floor_char_boundary(room)])
    };
    let mut taken = HashSet::new();
    if format == Format::Html && inputs.len() > 1 {
        taken.insert(INDEX.to_owned());
    }
    let mut take = |name: &str| taken.insert(name.to_lowercase());
    let stems: Vec<_> = inputs
        .iter()
        .map(|input| {
            input
                .as_ref()
                .map_or(String::new(), |input| stem(&input.uri))
        })
        .collect();
    // First those that keep their names, so that no number makes another's name.
    let mut paths: Vec<_> = stems
        .iter()
        .map(|stem| Some(name(stem, 1)).filter(|name| stem.is_empty() || take(name)))
        .collect();
    let mut numbers = HashMap::<String, usize>::new();
    for (path, stem) in paths
        .iter_mut()
        .zip(&stems)
        .filter(|(path, _)| path.is_none())
    {
        let number = numbers.entry(stem.to_lowercase()).or_insert(1);
        *path = (*number + 1..)
            .map(|next| (next, name(stem, next)))
            .find_map(|(next, name)| {
                *number = next;
                take(&name).then_some(name)
            });
    }
    let full = |(path, stem): (Option<String>, &String)| match path {
        Some(path) if !stem.is_empty() => folder.join(path),
        _ => PathBuf::new(),
    };
    Ok(paths.into_iter().zip(&stems).map(full).collect())
}

/// The last part of a URI, as a file name.
fn stem(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    let last = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path);
    let plain =
        inputs::unescape(last).replace(|letter: char| letter == '/' || letter.is_control(), "_");
    match plain.trim_matches('.') {
        "" => "input".into(),
        _ => plain,
    }
}

/// How a page refers to a file: relative to itself, so that both can be moved together.
fn link(page: &Path, uri: &str) -> String {
    let relative = || {
        let file = inputs::path_of(uri)?;
        let folder = std::path::absolute(page).ok()?.parent()?.to_owned();
        let shared = folder
            .components()
            .zip(file.components())
            .take_while(|(a, b)| a == b)
            .count();
        let up = "../".repeat(folder.components().count() - shared);
        let down: PathBuf = file.components().skip(shared).collect();
        Some(format!("{up}{}", html::link(down.to_str()?)))
    };
    relative().unwrap_or_else(|| uri.into())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

struct Run {
    options: Tag,
    settings: Settings,
    inputs: Vec<Listed>,
    outputs: Option<Vec<PathBuf>>,
    archive: Option<Archive>,
    threads: u32,
    progress: Progress,
    /// The lines of the index of pages.
    entries: Mutex<BTreeMap<usize, Entry>>,
    /// The next input to take.
    next: AtomicUsize,
    failed: AtomicBool,
    /// Whether the shard ends early: no record can be written, or no input be reached.
    ended: AtomicBool,
    /// Inputs of the shard that are tagged last and alone.
    later: Mutex<Vec<usize>>,
    /// Inputs in a row that failed for causes that may pass.
    row: AtomicUsize,
    printer: Mutex<Printer>,
}

/// What an input came to: what standard output gets, or a sentence for standard error.
type Outcome<T = Vec<u8>> = Result<T, String>;

/// Prints outcomes in the order of their inputs.
#[derive(Default)]
struct Printer {
    next: usize,
    waiting: BTreeMap<usize, Outcome>,
    /// Whether standard output was closed.
    closed: bool,
}

struct Bar<'a>(&'a Progress, usize);

impl Watch for Bar<'_> {
    fn progress(&self, share: f64) {
        // Done is what is printed.
        self.0.set(self.1, share.min(0.999));
    }
}

impl Run {
    /// Tags inputs until there are no more, or the process is stopped.
    fn work(&self) {
        let mut tagger = Tagger::new(&self.options, self.threads, &STOP);
        while let Some((index, input)) = self.take() {
            let outcome = match input {
                Ok(input) => self
                    .tag(&mut tagger, index, input)
                    .map_err(|error| (&input.name, sentence(&input.uri, &error))),
                Err(Unusable { name, uri, cause }) => Err((name, sentence(uri, cause))),
            };
            if let Err((name, error)) = &outcome {
                self.enter(index, name, Err(error.clone()), 0.0, Vec::new());
            }
            self.print(
                index,
                outcome.map_err(|(name, error)| format!("error: {name}: {error}")),
            );
            self.progress.set(index, 1.0);
        }
    }

    /// The next input, unless the process is stopped.
    fn take(&self) -> Option<(usize, &Listed)> {
        if self.is_over() {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        Some((index, self.inputs.get(index)?))
    }

    fn is_over(&self) -> bool {
        STOP.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed)
    }

    /// Makes the records of a shard's inputs in a process of their own.
    fn work_shard(&self, archive: &Archive) {
        let mut worker = Worker::new(self.threads, &STOP);
        while let Some((index, input)) = self.take() {
            self.record(archive, &mut worker, index, input, false);
        }
    }

    /// Makes the records of the inputs that were under way when the shard was killed, one after the other.
    fn work_alone(&self, archive: &Archive) {
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        if !later.is_empty() {
            let count = later.len();
            say(&format!(
                "inputs that were under way when the shard was killed, tagged last and one by one: {count}"
            ));
        }
        let mut worker = Worker::new(self.threads, &STOP);
        for index in later {
            if self.is_over() {
                return;
            }
            self.record(archive, &mut worker, index, &self.inputs[index], true);
        }
    }

    /// Makes an input's record, unless it has one. An input that cannot be tagged has one, too: only what cannot be
    /// written is an error.
    fn record(
        &self,
        archive: &Archive,
        worker: &mut Worker,
        index: usize,
        listed: &Listed,
        alone: bool,
    ) {
        let (name, uri) = match listed {
            Ok(input) => (&input.name, &input.uri),
            Err(unusable) => (&unusable.name, &unusable.uri),
        };
        let mut record = || -> Result<()> {
            match archive.begin(uri, alone)? {
                Task::Skip => return Ok(()),
                Task::Later => {
                    let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
                    later.push(index);
                    return Ok(());
                }
                Task::Tag => {}
            }
            let answer = match listed {
                Ok(input) => self.try_often(worker, &input.uri),
                Err(unusable) => Some(failure(uri, &unusable.cause)),
            };
            let Some(text) = answer else {
                return archive.abandon(uri);
            };
            match archive.finish(uri, &text)?.filter(|kind| kind.passes()) {
                None => self.row.store(0, Ordering::Relaxed),
                // What other threads have under way adds nothing.
                Some(kind)
                    if self.row.fetch_add(1, Ordering::Relaxed) + 1 >= ROW
                        && !self.ended.swap(true, Ordering::Relaxed) =>
                {
                    bail!(
                        "{ROW} inputs in a row failed, the last for the cause `{}`; the shard ends: start it again later",
                        kind.name()
                    );
                }
                Some(_) => {}
            }
            Ok(())
        };
        let outcome = record().map_err(|error| {
            let end = if is_full(&error) {
                self.ended.store(true, Ordering::Relaxed);
                "; the shard ends: start it again when records can be written"
            } else {
                ""
            };
            format!("error: {name}: {error:#}{end}")
        });
        if let Err(error) = outcome {
            self.failed.store(true, Ordering::Relaxed);
            self.progress.suspend(|| eprintln!("{}", visible(&error)));
        }
        self.progress.set(index, 1.0);
    }

    /// The record of an input, which is tagged more than once if it crashes, makes no progress or cannot be reached.
    fn try_often(&self, worker: &mut Worker, uri: &str) -> Option<String> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let (text, kind) = worker.tag(uri)?;
            let Some(kind) = kind.filter(|kind| kind.is_retried()) else {
                return Some(text);
            };
            // The process may be the cause, or have a decoder that is stuck.
            worker.end();
            if attempt == self.options.attempts {
                return Some(text);
            }
            if kind.passes() {
                let until = Instant::now() + pause;
                while Instant::now() < until && !self.is_over() {
                    thread::sleep(Duration::from_millis(100));
                }
                pause *= 4;
            }
        }
        None
    }

    fn tag(&self, tagger: &mut Tagger, index: usize, input: &Input) -> Result<Vec<u8>> {
        let report = tag_one(tagger, input, &Bar(&self.progress, index))?;
        let (format, windows) = (self.options.format, self.options.windows);
        let render = |media: &str| -> Result<Vec<u8>> {
            let text = formats::render_with(format, &report, &self.settings, windows, media);
            Ok(match format {
                Format::Png => png::png(&text)?,
                _ => text.into_bytes(),
            })
        };
        let Some(outputs) = &self.outputs else {
            return render(&report.uri);
        };
        if report.interrupted {
            bail!("was interrupted; no output was written");
        }
        let text = render(&link(&outputs[index], &report.uri))?;
        let head = formats::head(format, windows).as_bytes();
        write(&outputs[index], &[head, &text].concat())?;
        if format == Format::Html {
            let page = Ok(file_name(&outputs[index]));
            self.enter(
                index,
                &report.name,
                page,
                report.duration,
                segments(&report, &self.settings),
            );
        }
        Ok(Vec::new())
    }

    fn enter(
        &self,
        index: usize,
        name: &str,
        page: Result<String, String>,
        duration: f64,
        segments: Vec<Segment>,
    ) {
        let entry = Entry {
            name: name.into(),
            page,
            duration,
            segments,
        };
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index, entry);
    }

    /// The page that lists the others, where there are several.
    fn write_index(&self) -> Result<()> {
        let entries =
            std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        match &self.options.out {
            Some(folder) if self.options.format == Format::Html && self.inputs.len() > 1 => {
                let entries: Vec<_> = entries.into_values().collect();
                write(&folder.join(INDEX), html::index(&entries).as_bytes())
            }
            _ => Ok(()),
        }
    }

    fn print_head(&self) {
        let head = formats::head(self.options.format, self.options.windows);
        if self.options.out.is_none() && !head.is_empty() {
            let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
            self.progress.suspend(|| printer.print(Ok(head.into())));
        }
    }

    fn print(&self, index: usize, outcome: Outcome) {
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        printer.waiting.insert(index, outcome);
        self.progress.suspend(|| printer.flush());
        if printer.closed {
            STOP.store(true, Ordering::Relaxed);
        }
    }
}

impl Printer {
    fn flush(&mut self) {
        while let Some(outcome) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.print(outcome);
        }
    }

    fn print(&mut self, outcome: Outcome) {
        if self.closed {
            return;
        }
        match outcome {
            Ok(text) => {
                let mut out = stdout().lock();
                match out.write_all(&text).and_then(|()| out.flush()) {
                    // Whoever read it has enough, as `head` does.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
                    Err(error) => {
                        eprintln!("error: standard output: {error}");
                        self.closed = true;
                    }
                    Ok(()) => {}
                }
            }
            Err(error) => eprintln!("{}", visible(&error)),
        }
    }
}

/// Whether nothing else can be written either.
pub fn is_full(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds
        .map(io::Error::kind)
        .any(|kind| matches!(kind, StorageFull | QuotaExceeded | ReadOnlyFilesystem))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the outputs of these URIs.
    fn names(uris: &[&str], format: Format) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let inputs: Vec<_> = uris
            .iter()
            .map(|uri| {
                let (name, uri) = (uri.to_string(), uri.to_string());
                Ok(Input {
                    name,
                    uri,
                    bytes: None,
                })
            })
            .collect();
        let paths = outputs(folder.path(), &inputs, format).unwrap();
        let names: Vec<_> = paths.iter().map(|path| file_name(path)).collect();
        // Each can be made, with what is written first.
        for path in &paths {
            assert!(!path.exists(), "{path:?} is taken");
            write(path, b"1").unwrap();
        }
        names
    }

    #[test]
    fn outputs_have_the_inputs_names_and_none_twice() {
        let uris = [
            "file:///a/one%20two.mp4",
            "http://host/b/?x=1",
            "file:///b/one%20two.mp4",
            "http://host/%2e%2e/",
            "http://host/a%00%1b%2fb",
        ];
        assert_eq!(
            names(&uris, Format::Csv),
            [
                "one two.mp4.csv",
                "b.csv",
                "one two.mp4-2.csv",
                "input.csv",
                "a___b.csv"
            ]
        );
        let uris = [
            "file:///a/a.mp4",
            "file:///b/a.mp4",
            "file:///a.mp4-2",
            "file:///c/A.mp4",
        ];
        assert_eq!(
            names(&uris, Format::Csv),
            ["a.mp4.csv", "a.mp4-3.csv", "a.mp4-2.csv", "A.mp4-4.csv"]
        );
        let uris = ["file:///index", "file:///Index", "file:///b"];
        assert_eq!(
            names(&uris, Format::Html),
            ["index-2.html", "Index-3.html", "b.html"]
        );
        assert_eq!(names(&uris[..1], Format::Html), ["index.html"]);
        assert_eq!(names(&uris[..1], Format::Csv), ["index.csv"]);
    }

    #[test]
    fn names_are_as_long_as_the_file_system_takes() {
        for letter in ["n", "%C3%BC", "%F0%9F%8E%BA", "%FF"] {
            for length in [60, 63, 125, 251, 255] {
                let uri = format!("file:///{}", letter.repeat(length));
                let names = names(&[&uri, &format!("{uri}b"), &uri], Format::Jsonl);
                assert!(names.iter().all(|name| name.len() <= 255), "{names:?}");
                assert!(
                    names.iter().all(|name| name.ends_with(".jsonl")),
                    "{names:?}"
                );
            }
        }
    }

    #[test]
    fn many_inputs_of_one_name_cost_little() {
        let started = Instant::now();
        let uris = vec!["file:///audio.wav"; 20_000];
        let folder = tempfile::tempdir().unwrap();
        let inputs: Vec<_> = uris
            .iter()
            .map(|uri| {
                Ok(Input {
                    name: uri.to_string(),
                    uri: uri.to_string(),
                    bytes: None,
                })
            })
            .collect();
        let paths = outputs(folder.path(), &inputs, Format::Csv).unwrap();
        assert_eq!(file_name(&paths[19_999]), "audio.wav-20000.csv");
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }

    #[test]
    fn a_page_refers_to_its_file_from_where_it_is() {
        let link = |page: &str, uri: &str| link(Path::new(page), uri);
        assert_eq!(
            link("/a/out/x.html", "file:///a/media/b%20c.mp4"),
            "../media/b%20c.mp4"
        );
        assert_eq!(link("/a/x.html", "file:///a/x.mp4"), "x.mp4");
        assert_eq!(link("/a/x.html", "http://host/x.mp4"), "http://host/x.mp4");
    }

    #[test]
    fn outcomes_are_printed_in_order() {
        let mut printer = Printer::default();
        printer.waiting.insert(1, Ok(Vec::new()));
        printer.flush();
        assert_eq!(printer.next, 0);
        printer.waiting.insert(0, Ok(Vec::new()));
        printer.flush();
        assert_eq!(printer.next, 2);
    }
}
