// SPDX-License-Identifier: MPL-2.0
//! One [`Model`] in a process for the same files and options, loaded on the thread that it then runs on.

use std::{
    collections::HashMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use ort::session::RunOptions;

use super::{
    error::Error,
    handle::Model,
    load::{
        Load, Loaded,
        find::{self, Files},
        sidecar,
    },
    options::{Options, Progress},
    run::{queue::GRACE, worker},
    runtime,
};

impl Model {
    /// Finds the model, loads it, checks its card against the graph and runs it once; or returns the one that is
    /// open already with the same file and options. `name_or_path` is a path if it has a `/` or ends with `.onnx`,
    /// otherwise a name that is searched for in `GST_INSTRUMENTS_MODEL_PATH` and beside the plugin; the provider and the
    /// precision determine which of its files is opened.
    ///
    /// # Errors
    /// Any [`Error`] except those of single inputs; a later call tries again.
    pub fn open(name_or_path: &str, options: &Options) -> Result<Arc<Self>, Error> {
        Self::open_with(name_or_path, options, &mut |_| ())
    }

    /// [`open`](Self::open) with reports of slow steps. `progress` is called on this thread, with no lock held.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        name_or_path: &str,
        options: &Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, Error> {
        options.check()?;
        open(&find::model(name_or_path)?, options, progress)
    }
}

/// A file's length and time of change, `None` if there is no such file: a replaced file is another model.
type Stamp = Option<(u64, Option<SystemTime>)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    options: Options,
    /// Every file that counts.
    stamps: Vec<(PathBuf, Stamp)>,
}

/// The stack of a model's thread in bytes: a program's first thread has as much, which ONNX Runtime and TensorRT's
/// builder are made for.
const STACK: usize = 8 << 20;

enum Slot {
    Open(Weak<Model>),
    Opening(Arc<Opening>),
}

/// Locked for no longer than it takes to look at it: while a model loads, others open theirs, and what is called to
/// tell of the progress may open the same one.
static MODELS: LazyLock<Mutex<HashMap<Key, Slot>>> = LazyLock::new(Default::default);

fn models() -> MutexGuard<'static, HashMap<Key, Slot>> {
    MODELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What those who wait for a model hear.
enum Event {
    Progress(Progress),
    Done(Result<Arc<Model>, Error>),
}

/// A model that is being loaded, for those who wait for it.
#[derive(Default)]
struct Opening {
    waiting: Mutex<Vec<Sender<Event>>>,
    /// What the sessions are run with, once there is an ONNX Runtime.
    run: OnceLock<Arc<RunOptions>>,
    timed_out: AtomicBool,
}

impl Opening {
    fn waiting(&self) -> MutexGuard<'_, Vec<Sender<Event>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self) -> Receiver<Event> {
        let (sender, receiver) = mpsc::channel();
        self.waiting().push(sender);
        receiver
    }

    /// Has `run` end the sessions' runs when the time for opening is over.
    fn stoppable(&self, run: Arc<RunOptions>) {
        let run = self.run.get_or_init(|| run);
        if self.timed_out.load(Ordering::SeqCst) {
            // ONNX Runtime cannot fail at setting a flag.
            let _ = run.terminate();
        }
    }

    fn stop(&self) {
        self.timed_out.store(true, Ordering::SeqCst);
        if let Some(run) = self.run.get() {
            let _ = run.terminate();
        }
    }

    /// Tells everybody who waits what takes long.
    fn progress(&self, progress: Progress) {
        for waiting in self.waiting().iter() {
            // Who has given up does not need to know.
            let _ = waiting.send(Event::Progress(progress.clone()));
        }
    }
}

/// The model that is open with these files and options, or else loads it. Engines that are built take the time that
/// they take; everything else must be done within the options' time limit.
///
/// # Errors
/// Those of [`Load::load`], and [`Error::TimedOut`].
fn open(
    files: &Files,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Arc<Model>, Error> {
    let key = key(files, options);
    let mut models = models();
    models.retain(|_, slot| match slot {
        Slot::Open(model) => model.strong_count() > 0,
        Slot::Opening(_) => true,
    });
    let opening = match models.get(&key) {
        Some(Slot::Opening(opening)) => Some(opening.clone()),
        Some(Slot::Open(model)) => match model.upgrade() {
            Some(model) => return Ok(model),
            None => None,
        },
        None => None,
    };
    let (opening, events) = match opening {
        Some(opening) => {
            let events = opening.join();
            (opening, events)
        }
        None => {
            let opening = Arc::new(Opening::default());
            let events = opening.join();
            start(key.clone(), files.clone(), options.clone(), opening.clone())?;
            models.insert(key, Slot::Opening(opening.clone()));
            (opening, events)
        }
    };
    drop(models);
    wait(&opening, &events, options.timeout, progress).unwrap_or_else(|| {
        Err(Error::TimedOut {
            model: files.name().into(),
            limit: options.timeout,
        })
    })
}

fn key(files: &Files, options: &Options) -> Key {
    Key {
        options: options.clone(),
        stamps: files
            .paths()
            .flat_map(|path| [path.to_owned(), sidecar(path)])
            .chain(options.labels_file.clone())
            .map(|path| (path.canonicalize().unwrap_or(path.clone()), stamp(&path)))
            .collect(),
    }
}

/// Waits for a model that is being loaded; `None` when that takes longer than `limit` (zero: however long).
fn wait(
    opening: &Opening,
    events: &Receiver<Event>,
    limit: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Option<Result<Arc<Model>, Error>> {
    let after = |time: Duration| Instant::now().checked_add(time);
    let limited = || Some(limit).filter(|limit| !limit.is_zero()).and_then(after);
    let (mut deadline, mut stopped) = (limited(), false);
    loop {
        let event = match deadline {
            Some(deadline) => {
                events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Event::Done(result)) => return Some(result),
            Ok(Event::Progress(step)) => {
                let building = matches!(step, Progress::Started(_));
                if !stopped {
                    deadline = if building { None } else { limited() };
                }
                progress(step);
            }
            Err(RecvTimeoutError::Timeout) if !stopped => {
                opening.stop();
                stopped = true;
                deadline = after(GRACE);
            }
            // A run that ONNX Runtime does not end continues on its thread, and its result is dropped.
            Err(_) => return None,
        }
    }
}

/// Starts the model's thread.
fn start(key: Key, files: Files, options: Options, opening: Arc<Opening>) -> Result<(), Error> {
    let name = files.name().to_owned();
    // The kernel shows 15 characters; a NUL in the name would panic.
    let stem = Path::new(&name).file_stem().unwrap_or_default();
    let thread = format!("model:{}", stem.to_string_lossy().replace('\0', ""));
    let failed = |cause: String| Error::Run { model: name, cause };
    let model = failed.clone();
    let main = move || {
        let load = || load(&files, &options, &opening);
        let loaded = catch_unwind(AssertUnwindSafe(load))
            .unwrap_or_else(|_| Err(model("its thread panicked".into())));
        match loaded {
            Ok(loaded) => {
                let Loaded {
                    runner,
                    queue,
                    about,
                } = loaded;
                let batch_size = about.batch_size;
                publish(
                    &key,
                    &opening,
                    Ok(Arc::new(Model::new(about, queue.clone()))),
                );
                worker::work(runner, batch_size, &queue);
            }
            Err(_) if opening.timed_out.load(Ordering::SeqCst) => {
                let limit = options.timeout;
                let model = files.name().into();
                publish(&key, &opening, Err(Error::TimedOut { model, limit }));
            }
            Err(error) => publish(&key, &opening, Err(error)),
        }
    };
    let builder = thread::Builder::new().name(thread).stack_size(STACK);
    let spawned = builder.spawn(main);
    spawned
        .map(|_| ())
        .map_err(|error| failed(format!("no thread could be started for it: {error}")))
}

fn load(files: &Files, options: &Options, opening: &Opening) -> Result<Loaded, Error> {
    let runtime = runtime::get()?;
    let run = RunOptions::new().map_err(|error| Error::Run {
        model: files.name().into(),
        cause: error.message().into(),
    })?;
    let run = Arc::new(run);
    opening.stoppable(run.clone());
    let load = Load {
        files,
        options,
        runtime: &runtime,
        run,
        progress: &|progress| opening.progress(progress),
    };
    load.load()
}

/// Says what became of it to all who wait.
fn publish(key: &Key, opening: &Opening, result: Result<Arc<Model>, Error>) {
    let waiting = {
        let mut models = models();
        match &result {
            Ok(model) => models.insert(key.clone(), Slot::Open(Arc::downgrade(model))),
            Err(_) => models.remove(key),
        };
        std::mem::take(&mut *opening.waiting())
    };
    let mut waiting = waiting.into_iter();
    let last = waiting.next_back();
    // Who has given up does not need to know.
    for waiting in waiting {
        let _ = waiting.send(Event::Done(result.clone()));
    }
    if let Some(last) = last {
        // No handle stays here: the last one's user may drop it at once, and counts on that to close the model.
        let _ = last.send(Event::Done(result));
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears_of_the_progress_may_open_the_same_model() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models/audio.onnx");
        let files = find::model(path).unwrap();
        let options = Options::default();
        let key = key(&files, &options);
        let opening = Arc::new(Opening::default());
        models().insert(key.clone(), Slot::Opening(opening.clone()));
        let failed = Error::Cancelled {
            model: "audio".into(),
        };
        let until = |waiting: usize| {
            while opening.waiting().len() < waiting {
                thread::sleep(Duration::from_millis(1));
            }
        };
        thread::scope(|scope| {
            let open = scope.spawn(|| {
                let mut inner = None;
                let outer = open(&files, &options, &mut |_| {
                    inner = Some(open(&files, &options, &mut |_| ()).unwrap_err());
                });
                (outer.unwrap_err(), inner)
            });
            until(1);
            opening.progress(Progress::Started("building".into()));
            until(2);
            publish(&key, &opening, Err(failed.clone()));
            assert_eq!(open.join().unwrap(), (failed.clone(), Some(failed)));
        });
    }
}
