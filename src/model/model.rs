// SPDX-License-Identifier: MPL-2.0
//! An open model and its users. There is one [`Model`] in a process for the same files and options, loaded on the thread
//! that it then runs on.

use std::{
    collections::HashMap,
    fmt, fs, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant, SystemTime},
};

use ort::session::RunOptions;
use parking_lot::Mutex;

use super::{
    card::{self, Card},
    error::Error,
    find::{self, Files},
    item::{Input, Output},
    options::{Options, Progress},
    queue::{GRACE, Owner, Queue},
    runtime::{self, Runtime},
    session::{About, Load},
    stats::Stats,
};

/// An open model. Dropping the last handle cancels all requests, ends the model's thread and frees its session, within
/// a second even during a run.
pub struct Model {
    about: About,
    notes: Mutex<Vec<String>>,
    queue: Arc<Queue>,
    /// The thread that it runs on.
    thread: ThreadId,
    /// Of the requests that are no client's.
    owner: Arc<Owner>,
}

/// The requests of one user, for example of one element, to a [`Model`] that others may share: they are cancelled
/// together and counted apart. Dropping it cancels them.
#[derive(Debug)]
pub struct Client {
    model: Arc<Model>,
    owner: Arc<Owner>,
}

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

    /// A model whose queue this thread works through.
    fn new(mut about: About, queue: Arc<Queue>) -> Self {
        Self {
            notes: Mutex::new(mem::take(&mut about.notes)),
            owner: queue.owner(),
            thread: thread::current().id(),
            about,
            queue,
        }
    }

    /// The model's description of itself.
    pub fn card(&self) -> &Card {
        &self.about.card
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.about.path
    }

    /// Execution provider, GPU and precision in use, e.g. `cpu (fp32)` or `cuda (NVIDIA H200, fp16)`.
    pub fn active_provider(&self) -> &str {
        &self.about.active_provider
    }

    /// The maximum batch size.
    pub fn batch_size(&self) -> usize {
        self.about.batch_size
    }

    /// Warnings for the user, one sentence each; empty if they were taken already.
    pub fn take_notes(&self) -> Vec<String> {
        mem::take(&mut self.notes.lock())
    }

    /// [`Client::run`] for a user who never cancels.
    ///
    /// # Errors
    /// Those of [`Client::run`] except [`Error::Cancelled`].
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.queue.run_and_wait(&self.owner, input)
    }

    /// [`Client::submit`] for a user who never cancels.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// Counts and latencies since the model was opened, of all its users together.
    pub fn stats(&self) -> Stats {
        self.stats_of(None)
    }

    fn stats_of(&self, owner: Option<&Owner>) -> Stats {
        Stats {
            cpu_nodes: self.about.cpu_nodes,
            ..self.queue.stats(owner)
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let error = self.queue.cancelled();
        self.queue.close(&error);
        // A reply may hold the last handle to its own model: then this is the model's thread.
        if thread::current().id() != self.thread {
            self.queue.wait_for_the_end();
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("path", &self.about.path)
            .field("active_provider", &self.about.active_provider)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A user of `model` without requests.
    pub fn new(model: Arc<Model>) -> Self {
        let owner = model.queue.owner();
        Self { model, owner }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Runs the model on one input, together with others that are waiting, and returns at once. `reply` is called
    /// exactly once, on the model's thread or on that which cancels, without any lock of the model, and must return
    /// quickly.
    pub fn submit(&self, input: Input, reply: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        self.model.queue.submit(&self.owner, input, Box::new(reply));
    }

    /// [`submit`](Self::submit) where only the newest input counts: of this user's requests the model has or gets one, and at
    /// most one more waits, of which a newer one takes the place; that is answered with [`Error::Superseded`].
    pub fn submit_newest(
        &self,
        input: Input,
        reply: impl FnOnce(Result<Output, Error>) + Send + 'static,
    ) {
        let queue = &self.model.queue;
        queue.submit_newest(&self.owner, input, Box::new(reply));
    }

    /// Runs the model on one input and waits for the result. Must not be called from a reply of
    /// [`submit`](Self::submit), which would deadlock.
    ///
    /// # Errors
    /// [`Error::WrongInput`], [`Error::NotFinite`] or [`Error::Run`]; [`Error::Cancelled`] as soon as another thread
    /// calls [`cancel`](Self::cancel), and [`Error::TimedOut`] after the options' time limit.
    pub fn run(&self, input: Input) -> Result<Output, Error> {
        self.model.queue.run_and_wait(&self.owner, input)
    }

    /// Answers all requests with [`Error::Cancelled`] before it returns, and each later one at once, until
    /// [`resume`](Self::resume). The current run ends unless another element waits for it.
    pub fn cancel(&self) {
        self.model.queue.cancel(&self.owner);
    }

    /// Accepts requests again.
    pub fn resume(&self) {
        self.model.queue.resume(&self.owner);
    }

    /// Counts and latencies of this user's requests. A batch with any of them counts, with all of its items.
    pub fn stats(&self) -> Stats {
        self.model.stats_of(Some(&self.owner))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel();
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

/// What those who wait for a model hear.
enum Event {
    Progress(Progress),
    Done(Result<Arc<Model>, Error>),
}

/// A model that is being loaded, for those who wait for it.
struct Opening {
    waiting: Mutex<Vec<Sender<Event>>>,
    /// What the sessions are run with.
    run: Arc<RunOptions>,
    timed_out: AtomicBool,
}

impl Opening {
    fn new(run: RunOptions) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            run: Arc::new(run),
            timed_out: AtomicBool::new(false),
        })
    }

    fn join(&self) -> Receiver<Event> {
        let (sender, receiver) = mpsc::channel();
        self.waiting.lock().push(sender);
        receiver
    }

    fn stop(&self) {
        self.timed_out.store(true, Ordering::SeqCst);
        // ONNX Runtime cannot fail at setting a flag.
        let _ = self.run.terminate();
    }

    /// Tells everybody who waits what takes long.
    fn progress(&self, progress: Progress) {
        for waiting in self.waiting.lock().iter() {
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
    let runtime = runtime::get()?;
    let key = key(files, options);
    let mut models = MODELS.lock();
    models.retain(|_, slot| match slot {
        Slot::Open(model) => model.strong_count() > 0,
        Slot::Opening(_) => true,
    });
    let under_way = match models.get(&key) {
        Some(Slot::Opening(opening)) => Some(opening.clone()),
        Some(Slot::Open(model)) => match model.upgrade() {
            Some(model) => return Ok(model),
            None => None,
        },
        None => None,
    };
    let opening = match &under_way {
        Some(opening) => opening.clone(),
        None => {
            let run = RunOptions::new().map_err(|error| Error::Run {
                model: files.name().into(),
                cause: error.message().into(),
            })?;
            Opening::new(run)
        }
    };
    let events = opening.join();
    if under_way.is_none() {
        start(
            key.clone(),
            files.clone(),
            options.clone(),
            runtime,
            opening.clone(),
        )?;
        models.insert(key, Slot::Opening(opening.clone()));
    }
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
            .flat_map(|path| [path.to_owned(), card::sidecar(path)])
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
fn start(
    key: Key,
    files: Files,
    options: Options,
    runtime: Runtime,
    opening: Arc<Opening>,
) -> Result<(), Error> {
    let name = files.name().to_owned();
    // The kernel shows 15 characters; a NUL in the name would panic.
    let stem = Path::new(&name).file_stem().unwrap_or_default();
    let thread = format!("model:{}", stem.to_string_lossy().replace('\0', ""));
    let failed = |cause: String| Error::Run { model: name, cause };
    let model = failed.clone();
    let main = move || {
        let load = Load {
            files: &files,
            options: &options,
            runtime: &runtime,
            run: &opening.run,
            progress: &|progress| opening.progress(progress),
        };
        let loaded = catch_unwind(AssertUnwindSafe(|| load.load()))
            .unwrap_or_else(|_| Err(model("its thread panicked".into())));
        match loaded {
            Ok((runner, about)) => {
                let run = opening.run.clone();
                let queue = Queue::new(&about.card.name, options.timeout, run, about.batch_size);
                let model = Arc::new(Model::new(about, queue.clone()));
                publish(&key, &opening, Ok(model));
                queue.work(runner);
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

/// Says what became of it to all who wait.
fn publish(key: &Key, opening: &Opening, result: Result<Arc<Model>, Error>) {
    let waiting = {
        let mut models = MODELS.lock();
        match &result {
            Ok(model) => models.insert(key.clone(), Slot::Open(Arc::downgrade(model))),
            Err(_) => models.remove(key),
        };
        mem::take(&mut *opening.waiting.lock())
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
        crate::model::runtime::of_this_tree();
        let opening = Opening::new(RunOptions::new().unwrap());
        MODELS
            .lock()
            .insert(key.clone(), Slot::Opening(opening.clone()));
        let failed = Error::Cancelled {
            model: "audio".into(),
        };
        let until = |waiting: usize| {
            while opening.waiting.lock().len() < waiting {
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
