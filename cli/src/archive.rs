// SPDX-License-Identifier: MPL-2.0

//! `instruments tag --shard I/N --out FOLDER` and `instruments merge FOLDER`: long lists of inputs, divided among
//! processes that share a folder and nothing else. Knows no GStreamer.
//!
//! A folder holds
//! - `records/HH/NAME-HASH.jsonl`: what an input came to, JSON lines of which the last is about the whole input or says
//!   why it could not be tagged. It is written under another name and renamed, so it is whole or absent.
//! - `records/HH/NAME-HASH.running`: a byte for each time that the input was begun, until its record is written. One
//!   that is found was left by a process that was killed, with the machine or for its memory perhaps by this input.
//! - `shards/I-of-N.list`: when a shard was begun and its inputs, `shards/I-of-N.json`: its summary, written at its end.
//!
//! The path of a record depends only on the input's URI without secrets: lists may grow and be divided differently, and
//! URIs be signed again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::inputs::{Listed, redact};
use crate::kind::Kind;
use crate::shard::{Shard, hash};
use crate::tables::Table;

/// Bytes of a file's name that its temporary file has as well: all of a record's, and few enough for any file system.
const PART_STEM: usize = 120;

/// What to do with an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Its record is whole.
    Skip,
    /// It was being tagged when a process was killed: after all others, and alone.
    Later,
    Tag,
}

/// What a run of a shard came to.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All inputs are tagged.
    Done,
    /// All are tagged but those that cannot be.
    Failures,
    /// Inputs failed for causes that may pass.
    Again,
}

/// The records of a shard.
pub struct Archive {
    folder: PathBuf,
    shard: Shard,
    /// Whether inputs that failed are tagged again.
    retry: bool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Counts {
    inputs: usize,
    tagged: usize,
    /// For causes that do not pass.
    failed: usize,
    /// For causes that may pass.
    passing: usize,
    /// The inputs above that already had a record.
    skipped: usize,
    /// Seconds of media.
    duration: f64,
}

fn uri(listed: &Listed) -> &str {
    match listed {
        Ok(input) => &input.uri,
        Err(unusable) => &unusable.uri,
    }
}

impl Archive {
    /// Takes the shard's inputs, of which none counts twice, and writes down which these are.
    pub fn open(
        folder: &Path,
        shard: Shard,
        retry: bool,
        list: Vec<Listed>,
    ) -> Result<(Self, Vec<Listed>)> {
        let mut known = HashSet::new();
        let inputs: Vec<_> = list
            .into_iter()
            .filter(|listed| known.insert(redact(uri(listed))))
            .collect();
        let archive = Self {
            folder: folder.into(),
            shard,
            retry,
            counts: Mutex::new(Counts {
                inputs: inputs.len(),
                ..Counts::default()
            }),
        };
        let begun = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let head = json!({"shard": shard.index, "of": shard.count, "begun": begun.as_secs_f64()});
        let lines = inputs.iter().map(|listed| {
            let (record, uri) = (record_name(uri(listed)), redact(uri(listed)));
            format!("{}\n", json!({"record": record, "uri": uri}))
        });
        let text = format!("{head}\n") + &lines.collect::<String>();
        let list = archive.shard_file("list");
        remove_parts(&list)?;
        write(&list, text.as_bytes())?;
        Ok((archive, inputs))
    }

    fn shard_file(&self, extension: &str) -> PathBuf {
        let Shard { index, count } = self.shard;
        self.folder
            .join(format!("shards/{index}-of-{count}.{extension}"))
    }

    fn record(&self, uri: &str) -> PathBuf {
        self.folder.join("records").join(record_name(uri))
    }

    /// Decides what to do with an input, and notes that it is begun if it is. Those that were being tagged when a process
    /// was killed are begun only `alone`.
    pub fn begin(&self, uri: &str, alone: bool) -> Result<Task> {
        let record = self.record(uri);
        if let Some(last) = whole(&record) {
            let kind = Kind::of_record(&last);
            if kind.is_none_or(|kind| !kind.passes() && !self.retry) {
                self.count(&last, true);
                return Ok(Task::Skip);
            }
        }
        let running = running(&record);
        if running.exists() {
            if !alone {
                return Ok(Task::Later);
            }
            remove_parts(&record)?;
        }
        make_parent(&running)?;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&running);
        file.and_then(|mut file| file.write_all(b"."))
            .with_context(|| cannot(&running))?;
        Ok(Task::Tag)
    }

    /// Writes an input's record, and returns the kind of the cause in it if the input could not be tagged.
    pub fn finish(&self, uri: &str, text: &str) -> Result<Option<Kind>> {
        let record = self.record(uri);
        let written = write(&record, text.as_bytes());
        self.abandon(uri)?;
        written?;
        let last = Record::of(text.as_bytes()).last;
        Ok(last.and_then(|last| self.count(&last, false)))
    }

    /// The input under way is not tagged any more, as when the process is asked to end.
    pub fn abandon(&self, uri: &str) -> Result<()> {
        remove(&running(&self.record(uri)))
    }

    fn count(&self, last: &Value, skipped: bool) -> Option<Kind> {
        let mut counts = self.counts.lock().unwrap();
        let kind = Kind::of_record(last);
        match kind {
            Some(kind) if kind.passes() => counts.passing += 1,
            Some(_) => counts.failed += 1,
            None => {
                counts.tagged += 1;
                counts.duration += last["duration"].as_f64().unwrap_or_default();
            }
        }
        counts.skipped += usize::from(skipped);
        kind
    }

    /// Writes the summary of a shard that is done; `elapsed` seconds were spent in this run.
    pub fn close(&self, elapsed: f64) -> Result<End> {
        let counts = self.counts.lock().unwrap().clone();
        if counts.passing > 0 {
            return Ok(End::Again);
        }
        let summary = json!({
            "shard": self.shard.index,
            "of": self.shard.count,
            "inputs": counts.inputs,
            "tagged": counts.tagged,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "duration": counts.duration,
            "elapsed": elapsed,
        });
        write(&self.shard_file("json"), format!("{summary}\n").as_bytes())?;
        Ok(match counts.failed {
            0 => End::Done,
            _ => End::Failures,
        })
    }
}

/// Where an input's record lies in the folder of records.
fn record_name(uri: &str) -> String {
    let hash = hash(uri);
    let path = redact(uri);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || ".-_".contains(letter) {
            letter
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(80).collect();
    format!("{:02x}/{name}-{hash:016x}.jsonl", hash >> 56)
}

fn running(record: &Path) -> PathBuf {
    record.with_extension("running")
}

/// The last line of a record, if it is whole: no line is damaged, and the last one is about the input as a whole.
fn whole(record: &Path) -> Option<Value> {
    let text = fs::read(record).ok()?;
    let record = Record::of(&text);
    record.last.filter(|_| record.damaged == 0)
}

/// A record that was read.
struct Record {
    /// The lines that are whole.
    text: String,
    /// The one about the input as a whole.
    last: Option<Value>,
    damaged: usize,
}

impl Record {
    fn of(bytes: &[u8]) -> Self {
        let mut record = Self {
            text: String::new(),
            last: None,
            damaged: 0,
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let value = serde_json::from_slice::<Value>(line);
            match (value, std::str::from_utf8(line)) {
                (Ok(value), Ok(text))
                    if is_line(&value) && line.ends_with(b"\n") && record.last.is_none() =>
                {
                    record.text += text;
                    record.last = Some(value).filter(|value| value["type"] == "file");
                }
                _ => record.damaged += 1,
            }
        }
        record
    }
}

/// Whether this is a line as [`jsonl`] writes it into a record.
fn is_line(line: &Value) -> bool {
    let has_numbers = |keys: &[&str]| keys.iter().all(|key| line[key].is_number());
    line["uri"].is_string()
        && match line["type"].as_str() {
            Some("segment") => line["label"].is_string() && has_numbers(&["start", "end", "score"]),
            Some("file") => line["error"].is_string() || has_numbers(&["duration"]),
            _ => false,
        }
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .with_context(|| format!("the folder {} cannot be created", folder.display()))
}

/// Writes a file whole or not at all, also when another process writes the same.
pub fn write(path: &Path, data: &[u8]) -> Result<()> {
    write_with(path, |file| {
        file.write_all(data).with_context(|| cannot(path))
    })
}

fn cannot(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

/// [`write`] with what `fill` writes into the file.
pub fn write_with<T>(path: &Path, fill: impl FnOnce(&mut fs::File) -> Result<T>) -> Result<T> {
    make_parent(path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut temporary = tempfile::Builder::new()
        .prefix(&part_prefix(path))
        .suffix(".part")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| cannot(path))?;
    let value = fill(temporary.as_file_mut())?;
    let persisted = temporary.persist(path).map_err(|error| error.error);
    persisted.with_context(|| cannot(path))?;
    Ok(value)
}

/// How the names of the temporary files of a file begin.
fn part_prefix(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{}.", &stem[..stem.floor_char_boundary(PART_STEM)])
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what killed processes left of the files that they wrote under this name, with any extension.
fn remove_parts(file: &Path) -> Result<()> {
    let prefix = part_prefix(file);
    let folder = file.parent().unwrap_or(Path::new("/"));
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".part") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Names of which the first are kept.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    pub count: u64,
    pub first: Vec<String>,
}

impl Names {
    /// Names that a message lists.
    const SHOWN: usize = 10;

    fn push(&mut self, name: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(name.into());
        }
    }
}

/// What `merge` found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub tagged: usize,
    pub failed: usize,
    /// Shards without a list or a summary: the first never began, the second did not end.
    pub missing_shards: Names,
    /// Inputs without a whole record.
    pub missing: Names,
    /// Inputs that failed for a cause that may pass.
    pub passing: Names,
    /// Inputs with more than one.
    pub twice: Names,
    /// Records and lists with damaged lines, which are left out.
    pub damaged: Names,
    /// Records of inputs that are in no list.
    pub unlisted: usize,
    /// Lists of earlier divisions, which do not count.
    pub superseded: usize,
}

impl Merged {
    pub fn is_complete(&self) -> bool {
        [
            &self.missing_shards,
            &self.missing,
            &self.passing,
            &self.twice,
            &self.damaged,
        ]
        .iter()
        .all(|names| names.count == 0)
    }
}

/// Puts all records of a folder into one table, by their URIs.
pub fn merge(folder: &Path, table: &mut dyn Table) -> Result<Merged> {
    let mut merged = Merged::default();
    let listed = read_lists(folder, &mut merged)?;
    let mut records = BTreeSet::<(String, String)>::new();
    for group in folder.join("records").read_dir().into_iter().flatten() {
        let group = group?;
        for entry in group.path().read_dir().into_iter().flatten() {
            let name = format!(
                "{}/{}",
                group.file_name().to_string_lossy(),
                entry?.file_name().to_string_lossy()
            );
            if !name.ends_with(".jsonl") {
                continue;
            }
            let record = read(folder, &name)?;
            if record.damaged > 0 {
                merged.damaged.push(format!("records/{name}"));
            }
            if let Some(last) = record.last {
                let uri = last["uri"].as_str().unwrap_or_default().to_owned();
                records.insert((uri, name));
            }
        }
    }
    let names: HashSet<&str> = records.iter().map(|(_, name)| name.as_str()).collect();
    let missing = listed
        .iter()
        .filter(|(record, _)| !names.contains(record.as_str()));
    let missing: BTreeSet<_> = missing.map(|(_, uri)| uri).collect();
    missing.into_iter().for_each(|uri| merged.missing.push(uri));
    merged.unlisted = names
        .iter()
        .filter(|name| !listed.contains_key(**name))
        .count();
    let mut last_uri = None;
    let mut last_twice = None;
    for (uri, name) in &records {
        if last_uri == Some(uri) {
            if last_twice != Some(uri) {
                merged.twice.push(uri);
                last_twice = Some(uri);
            }
            continue;
        }
        last_uri = Some(uri);
        let record = read(folder, name)?;
        let kind = record.last.as_ref().and_then(Kind::of_record);
        if kind.is_some_and(Kind::passes) {
            merged.passing.push(uri);
        }
        let failed = kind.is_some();
        *(if failed {
            &mut merged.failed
        } else {
            &mut merged.tagged
        }) += 1;
        table.add(&record.text)?;
    }
    table.finish()?;
    Ok(merged)
}

fn read(folder: &Path, name: &str) -> Result<Record> {
    let path = folder.join("records").join(name);
    let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Record::of(&bytes))
}

/// The files of one division of a list into shards.
#[derive(Default)]
struct Division {
    /// When the last of its shards was begun, in seconds.
    begun: f64,
    lists: BTreeSet<u32>,
    finished: BTreeSet<u32>,
    /// The record and the URI of each input.
    inputs: BTreeMap<String, String>,
}

/// The record and the URI of each input in the lists of the last division; what earlier ones left unfinished is part of it.
fn read_lists(folder: &Path, merged: &mut Merged) -> Result<BTreeMap<String, String>> {
    let shards = folder.join("shards");
    let files = shards.read_dir().with_context(|| {
        format!(
            "{} is not an archive: it has no folder `shards`",
            folder.display()
        )
    })?;
    let mut divisions = BTreeMap::<u32, Division>::new();
    for entry in files {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts = name.rsplit_once('.').and_then(|(stem, extension)| {
            let (index, count) = stem.split_once("-of-")?;
            let (index, count) = (index.parse::<u32>().ok()?, count.parse::<u32>().ok()?);
            (index < count).then_some((index, count, extension))
        });
        let Some((index, count, extension)) = parts else {
            continue;
        };
        let division = divisions.entry(count).or_default();
        if extension == "json" {
            division.finished.insert(index);
        } else if extension == "list" {
            division.lists.insert(index);
            let complete = read_list(&entry.path(), division)?;
            if !complete {
                merged.damaged.push(format!("shards/{name}"));
            }
        }
    }
    let lists: usize = divisions
        .values()
        .map(|division| division.lists.len())
        .sum();
    let last = divisions
        .into_iter()
        .max_by(|(_, a), (_, b)| a.begun.total_cmp(&b.begun));
    let Some((count, division)) = last else {
        return Ok(BTreeMap::new());
    };
    merged.superseded = lists - division.lists.len();
    let done: BTreeSet<_> = division.lists.intersection(&division.finished).collect();
    let missing = (0..count).filter(|index| !done.contains(index));
    for index in missing.take(Names::SHOWN) {
        merged.missing_shards.push(format!("{index}-of-{count}"));
    }
    merged.missing_shards.count = u64::from(count) - done.len() as u64;
    Ok(division.inputs)
}

/// Reads a shard's list; whether all of its lines are whole.
fn read_list(path: &Path, division: &mut Division) -> Result<bool> {
    let cannot = || format!("{} cannot be read", path.display());
    let file = fs::File::open(path).with_context(cannot)?;
    let mut complete = true;
    for line in BufReader::new(file).split(b'\n') {
        let line = serde_json::from_slice::<Value>(&line.with_context(cannot)?).unwrap_or_default();
        if let (Some(record), Some(uri)) = (line["record"].as_str(), line["uri"].as_str()) {
            division.inputs.insert(record.to_owned(), uri.to_owned());
        } else if let Some(begun) = line["begun"].as_f64() {
            division.begun = division.begun.max(begun);
        } else {
            complete = false;
        }
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::jsonl;
    use crate::inputs::Input;
    use crate::tables::{Csv, JsonLines};

    fn input(uri: &str) -> Listed {
        Ok(Input {
            name: uri.into(),
            uri: uri.into(),
            bytes: None,
        })
    }

    fn list(count: usize) -> Vec<Listed> {
        (0..count)
            .map(|number| input(&format!("file:///{number}.mp4")))
            .collect()
    }

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("instruments-archive-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    /// Opens a shard with those of the list that it owns.
    fn open(folder: &Path, index: u32, count: u32, list: Vec<Listed>) -> (Archive, Vec<Listed>) {
        let shard = Shard { index, count };
        let own = list.into_iter().filter(|listed| shard.owns(uri(listed)));
        Archive::open(folder, shard, false, own.collect()).unwrap()
    }

    fn finish(archive: &Archive, inputs: &[Listed]) {
        for listed in inputs {
            archive.finish(uri(listed), &text(uri(listed))).unwrap();
        }
        archive.close(1.0).unwrap();
    }

    fn names(names: &[&str]) -> Names {
        Names {
            count: names.len() as u64,
            first: names.iter().copied().map(String::from).collect(),
        }
    }

    fn text(uri: &str) -> String {
        let segment = json!({"uri": uri, "type": "segment", "start": 0, "end": 2.5, "label": "A, B", "source": "audio", "score": 0.5, "heard": 0.5, "seen": null});
        let file = json!({"uri": uri, "type": "file", "duration": 3.0});
        format!("{segment}\n{file}\n")
    }

    fn merged(folder: &Path, as_csv: bool) -> (Merged, String) {
        let mut out = Vec::new();
        let mut table: Box<dyn Table> = match as_csv {
            true => Box::new(Csv::new(&mut out).unwrap()),
            false => Box::new(JsonLines(&mut out)),
        };
        let merged = merge(folder, &mut *table).unwrap();
        drop(table);
        (merged, String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_input_counts_once_however_it_is_signed() {
        let folder = scratch("division");
        let twice = list(3).into_iter().chain(list(3));
        let signed = |signature| {
            input(&format!(
                "https://host/a.mp4?id=1&X-Amz-Signature={signature}"
            ))
        };
        let all = twice.chain([signed("one"), signed("two")]).collect();
        let (archive, own) = open(&folder, 0, 1, all);
        assert_eq!(own.len(), 4);
        let signed = uri(&own[3]);
        archive.finish(signed, &text(&redact(signed))).unwrap();
        assert_eq!(
            archive
                .begin("https://host/a.mp4?id=1&X-Amz-Signature=three", false)
                .unwrap(),
            Task::Skip
        );
        assert_eq!(
            archive
                .begin("https://host/a.mp4?id=2&X-Amz-Signature=one", false)
                .unwrap(),
            Task::Tag
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_whole_is_skipped_and_what_is_not_is_done_again() {
        let folder = scratch("resume");
        let uri = "file:///a%20b.mp4";
        let (archive, _) = open(&folder, 0, 1, vec![input(uri)]);
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
        archive.finish(uri, &text(uri)).unwrap();
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Skip);
        // A record that lost its end.
        fs::write(archive.record(uri), &text(uri)[..text(uri).len() - 1]).unwrap();
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_shard_that_begins_again_removes_what_it_left_of_its_own_files() {
        let folder = scratch("leftover");
        let [own, other] =
            ["0-of-1.7.part", "0-of-10.7.part"].map(|name| folder.join("shards").join(name));
        write(&own, b"half").unwrap();
        write(&other, b"half").unwrap();
        let (archive, _) = open(&folder, 0, 1, list(1));
        assert!(!own.exists() && other.exists());
        assert!(archive.shard_file("list").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_under_way_at_a_kill_is_tagged_alone_and_never_given_up() {
        let folder = scratch("killed");
        let uri = "file:///a.mp4";
        let (archive, _) = open(&folder, 0, 1, vec![input(uri)]);
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
        let part = archive.record(uri).with_extension("123.part");
        fs::write(&part, "half").unwrap();
        // Killed, again and again.
        for _ in 0..100 {
            assert_eq!(archive.begin(uri, false).unwrap(), Task::Later);
            assert_eq!(archive.begin(uri, true).unwrap(), Task::Tag);
        }
        assert!(!part.exists());
        // Asked to end.
        archive.abandon(uri).unwrap();
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
        archive.finish(uri, &text(uri)).unwrap();
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Skip);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_what_does_not_pass_is_final() {
        for (kind, retry, task, end) in [
            (Kind::Undecodable, false, Task::Skip, End::Failures),
            (Kind::Crashed, false, Task::Skip, End::Failures),
            (Kind::Undecodable, true, Task::Tag, End::Failures),
            (Kind::Unavailable, false, Task::Tag, End::Again),
            (Kind::Resources, false, Task::Tag, End::Again),
        ] {
            let folder = scratch("kinds");
            let uri = "file:///a.mp4";
            let shard = Shard { index: 0, count: 1 };
            let open = || {
                Archive::open(&folder, shard, retry, vec![input(uri)])
                    .unwrap()
                    .0
            };
            let archive = open();
            archive.begin(uri, false).unwrap();
            let failure = jsonl::failure(uri, "cause", kind);
            archive.finish(uri, &failure).unwrap();
            assert_eq!(archive.close(1.0).unwrap(), end, "{kind:?}");
            let (found, lines) = merged(&folder, false);
            assert_eq!((found.failed, lines), (1, failure));
            assert_eq!(found.is_complete(), !kind.passes(), "{kind:?}");
            assert_eq!(open().begin(uri, false).unwrap(), task, "{kind:?}");
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn merge_says_what_is_missing_and_what_is_there_twice() {
        let folder = scratch("merge");
        let (first, own) = open(&folder, 0, 2, list(10));
        for listed in &own {
            let uri = uri(listed);
            first.begin(uri, false).unwrap();
            first.finish(uri, &text(uri)).unwrap();
        }
        first.close(1.0).unwrap();
        let (found, _) = merged(&folder, false);
        assert_eq!(found.missing_shards, names(&["1-of-2"]));
        assert_eq!((found.tagged, found.missing.count), (own.len(), 0));

        let (second, rest) = open(&folder, 1, 2, list(10));
        let [lost, failed, done @ ..] = &rest[..] else {
            panic!("{}", rest.len());
        };
        second.begin(uri(failed), false).unwrap();
        second
            .finish(
                uri(failed),
                &jsonl::failure(uri(failed), "broken", Kind::Undecodable),
            )
            .unwrap();
        for listed in done {
            second.finish(uri(listed), &text(uri(listed))).unwrap();
        }
        second.close(1.0).unwrap();
        write(
            &folder.join("records/00/copy.jsonl"),
            text(uri(&own[0])).as_bytes(),
        )
        .unwrap();
        let (found, lines) = merged(&folder, false);
        let expected = Merged {
            tagged: 8,
            failed: 1,
            missing: names(&[uri(lost)]),
            twice: names(&[uri(&own[0])]),
            unlisted: 1,
            ..Merged::default()
        };
        assert_eq!(found, expected);
        assert_eq!(lines.lines().count(), 8 * 2 + 1);
        let (_, table) = merged(&folder, true);
        let first = table.lines().nth(1).unwrap();
        assert!(first.ends_with(",0,2.5,\"A, B\",audio,0.5,0.5,"), "{table}");
        assert_eq!(table.lines().count(), 9);
        let summary = fs::read_to_string(folder.join("shards/1-of-2.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(
            (&summary["failed"], &summary["tagged"]),
            (&json!(1), &json!(done.len()))
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_number_of_shards_may_change() {
        let folder = scratch("change");
        let (first, own) = open(&folder, 0, 3, list(20));
        finish(&first, &own);
        let (found, _) = merged(&folder, false);
        assert_eq!(found.missing_shards, names(&["1-of-3", "2-of-3"]));
        // Two processes more than that do not fit: two do it all.
        for index in 0..2 {
            let (shard, own) = open(&folder, index, 2, list(20));
            finish(&shard, &own);
        }
        let (found, _) = merged(&folder, false);
        assert!(found.is_complete(), "{found:?}");
        assert_eq!((found.tagged, found.superseded), (20, 1));
        // A longer list, divided anew, is incomplete until all of its shards are done.
        let (shard, own) = open(&folder, 0, 4, list(30));
        finish(&shard, &own);
        let (found, _) = merged(&folder, false);
        assert_eq!(found.missing_shards.count, 3);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn four_billion_shards_take_no_memory() {
        let folder = scratch("many");
        let (shard, own) = Archive::open(
            &folder,
            Shard {
                index: 7,
                count: u32::MAX,
            },
            false,
            list(1),
        )
        .unwrap();
        finish(&shard, &own);
        let (found, _) = merged(&folder, false);
        assert_eq!(found.missing_shards.count, u64::from(u32::MAX) - 1);
        assert_eq!(found.missing_shards.first.len(), Names::SHOWN);
        assert_eq!(found.missing_shards.first[7], format!("8-of-{}", u32::MAX));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn damaged_lines_are_reported_and_not_copied() {
        let uri = "file:///0.mp4";
        let good = text(uri);
        let [segment, file] = good.split_inclusive('\n').collect::<Vec<_>>()[..] else {
            panic!("{good}");
        };
        let zeros = "\0".repeat(100) + "\n";
        for (damaged, left) in [
            (format!("{}\n{good}", &segment[..40]).into_bytes(), 2),
            (format!("{zeros}{good}").into_bytes(), 2),
            ([b"\xff\xfe\n", good.as_bytes()].concat(), 2),
            (format!("{segment}{{}}\n{file}").into_bytes(), 2),
            (format!("{good}{segment}").into_bytes(), 2),
            (format!("{good}{}", &segment[..40]).into_bytes(), 2),
            (good.as_bytes()[..good.len() - 1].to_vec(), 0),
            (segment.replace("2.5", "\"2.5\"").into_bytes(), 0),
        ] {
            let folder = scratch("damaged");
            let (archive, own) = open(&folder, 0, 1, list(1));
            finish(&archive, &own);
            fs::write(archive.record(uri), &damaged).unwrap();
            let (found, lines) = merged(&folder, false);
            assert_eq!(
                found.damaged,
                names(&[&format!("records/{}", record_name(uri))])
            );
            assert!(!found.is_complete());
            assert_eq!(
                lines,
                if left > 0 {
                    good.clone()
                } else {
                    String::new()
                }
            );
            // The input is tagged again.
            assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_record_that_cannot_be_written_is_no_attempt() {
        let folder = scratch("unwritable");
        let uri = "file:///0.mp4";
        let (archive, _) = open(&folder, 0, 1, list(1));
        let record = archive.record(uri);
        fs::create_dir_all(record.join("in the way")).unwrap();
        for _ in 0..10 {
            assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
            archive.finish(uri, &text(uri)).unwrap_err();
        }
        fs::remove_dir_all(&record).unwrap();
        assert_eq!(archive.begin(uri, false).unwrap(), Task::Tag);
        archive.finish(uri, &text(uri)).unwrap();
        let left: Vec<_> = record.parent().unwrap().read_dir().unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_may_have_the_longest_name_and_gets_the_usual_permissions() {
        let folder = scratch("long");
        let usual = folder.join("usual");
        write(&folder.join("ü".repeat(127)), b"1").unwrap();
        fs::write(&usual, b"1").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&folder.join("ü".repeat(127))), mode(&usual));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn secrets_are_not_stored() {
        let uri = "http://anna:secret@host/a.mp4?id=1&sig=secret";
        assert!(!record_name(uri).contains("secret"));
        let folder = scratch("password");
        open(&folder, 0, 1, vec![input(uri)]);
        let list = fs::read_to_string(folder.join("shards/0-of-1.list")).unwrap();
        assert!(
            list.contains("anna:***@host/a.mp4?id=1\"") && !list.contains("secret"),
            "{list}"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
