// SPDX-License-Identifier: MPL-2.0

//! `instruments tag --shard I/N --out FOLDER` and `instruments merge FOLDER`: long lists of inputs, divided among
//! processes that share a folder and nothing else. Knows no GStreamer.
//!
//! A folder holds
//! - `records/HH/NAME-HASH.jsonl`: what an input came to, JSON lines of which the last is about the whole input or says
//!   why it could not be tagged. It is written under another name and renamed, so it is whole or absent.
//! - `records/HH/NAME-HASH.attempts`: a byte for each time that the input was begun, until its record is written.
//! - `shards/I-of-N.list`: the inputs of a shard, `shards/I-of-N.json`: its summary, written at its end.
//!
//! The path of a record depends only on the input's URI: lists may grow and be divided differently.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::formats::jsonl;
use crate::inputs::{Input, Unusable, redact};
use crate::tables::Table;

/// Which part of a list a process works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    pub count: u32,
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text
            .split_once('/')
            .map(|(index, count)| (index.parse(), count.parse()));
        match numbers {
            Some((Ok(index), Ok(count))) if index < count => Ok(Self { index, count }),
            _ => bail!("the shard must be I/N with I from 0 to N - 1, such as 0/8"),
        }
    }
}

/// What to do with an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Its record is whole.
    Skip,
    /// It was begun too often without an end.
    GiveUp,
    Tag,
}

/// The records of a shard.
pub struct Archive {
    folder: PathBuf,
    shard: Shard,
    /// Times that an input is begun before it counts as failed.
    attempts: u64,
    /// Whether inputs that failed are tagged again.
    retry: bool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Counts {
    inputs: usize,
    tagged: usize,
    failed: usize,
    /// The inputs above that already had a record.
    skipped: usize,
    /// Seconds of media.
    duration: f64,
}

/// An input or what stands for it, and its URI.
pub type Listed = Result<Input, Unusable>;

fn uri(listed: &Listed) -> &str {
    match listed {
        Ok(input) => &input.uri,
        Err(unusable) => &unusable.uri,
    }
}

impl Archive {
    /// Takes the shard's inputs out of a list, in which none counts twice, and writes down which these are.
    pub fn open(
        folder: &Path,
        shard: Shard,
        attempts: u64,
        retry: bool,
        list: Vec<Listed>,
    ) -> Result<(Self, Vec<Listed>)> {
        let mut known = HashSet::new();
        let own =
            |listed: &Listed| hash(uri(listed)) % u64::from(shard.count) == u64::from(shard.index);
        let inputs: Vec<_> = list
            .into_iter()
            .filter(own)
            .filter(|listed| known.insert(uri(listed).to_owned()))
            .collect();
        let archive = Self {
            folder: folder.into(),
            shard,
            attempts,
            retry,
            counts: Mutex::new(Counts {
                inputs: inputs.len(),
                ..Counts::default()
            }),
        };
        let lines = inputs.iter().map(|listed| {
            let (record, uri) = (record_name(uri(listed)), redact(uri(listed)));
            format!("{}\n", json!({"record": record, "uri": uri}))
        });
        let list = archive.shard_file("list");
        remove_parts(&list)?;
        write(&list, lines.collect::<String>().as_bytes())?;
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

    /// Decides what to do with an input, and notes that it is begun if it is.
    pub fn begin(&self, uri: &str) -> Result<Task> {
        let record = self.record(uri);
        if let Some(last) = whole(&record) {
            if !(self.retry && last.get("error").is_some()) {
                self.count(&last, true);
                return Ok(Task::Skip);
            }
            // The input restarts, and its attempts are counted again.
            remove(&record)?;
        }
        let attempts = record.with_extension("attempts");
        let begun = fs::metadata(&attempts).map_or(0, |metadata| metadata.len());
        if begun > 0 {
            remove_parts(&record)?;
        }
        if begun >= self.attempts {
            return Ok(Task::GiveUp);
        }
        make_parent(&attempts)?;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&attempts);
        file.and_then(|mut file| file.write_all(b"."))
            .with_context(|| format!("{} cannot be written", attempts.display()))?;
        Ok(Task::Tag)
    }

    /// Writes an input's record.
    pub fn finish(&self, uri: &str, text: &str) -> Result<()> {
        let record = self.record(uri);
        write(&record, text.as_bytes())?;
        remove(&record.with_extension("attempts"))?;
        if let Some(last) = last_line(text) {
            self.count(&last, false);
        }
        Ok(())
    }

    /// What is recorded of an input that ended the process each time.
    pub fn poisoned(&self, uri: &str) -> String {
        let times = self.attempts;
        jsonl::failure(
            &redact(uri),
            &format!(
                "the process ended without a result in all {times} attempts to tag this input"
            ),
        )
    }

    /// The process is asked to end: the input under way was no cause of it.
    pub fn abandon(&self, uri: &str) {
        let attempts = self.record(uri).with_extension("attempts");
        let file = fs::OpenOptions::new().write(true).open(&attempts);
        // At worst it counts as one attempt.
        let _ = file.and_then(|file| file.set_len(file.metadata()?.len().saturating_sub(1)));
    }

    fn count(&self, last: &Value, skipped: bool) {
        let mut counts = self.counts.lock().unwrap();
        if last.get("error").is_some() {
            counts.failed += 1;
        } else {
            counts.tagged += 1;
            counts.duration += last["duration"].as_f64().unwrap_or_default();
        }
        counts.skipped += usize::from(skipped);
    }

    /// Writes the summary of a shard that is done; `elapsed` seconds were spent in this run.
    pub fn close(&self, elapsed: f64) -> Result<()> {
        let counts = self.counts.lock().unwrap().clone();
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
        write(&self.shard_file("json"), format!("{summary}\n").as_bytes())
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

fn hash(uri: &str) -> u64 {
    let digest = Sha256::digest(uri.as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The last line of a record, if it is whole: the line about the input as a whole, and its end of line.
fn whole(record: &Path) -> Option<Value> {
    last_line(&fs::read_to_string(record).ok()?)
}

fn last_line(text: &str) -> Option<Value> {
    let last = text.strip_suffix('\n')?.lines().last()?;
    let last: Value = serde_json::from_str(last).ok()?;
    (last["type"] == "file").then_some(last)
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .with_context(|| format!("the folder {} cannot be created", folder.display()))
}

/// Writes a file whole or not at all, also when another process writes the same.
pub fn write(path: &Path, data: &[u8]) -> Result<()> {
    make_parent(path)?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let temporary = path.with_extension(format!("{}-{}.part", std::process::id(), now.as_nanos()));
    let written = fs::write(&temporary, data).and_then(|()| fs::rename(&temporary, path));
    written
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("{} cannot be written", path.display()))
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
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let prefix = format!("{stem}.");
    let folder = file.parent().unwrap_or(Path::new("/"));
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".part") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// What `merge` found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub tagged: usize,
    pub failed: usize,
    /// Shards without a list or a summary: the first never began, the second did not end.
    pub missing_shards: Vec<String>,
    /// Inputs without a whole record.
    pub missing: Vec<String>,
    /// Inputs with more than one.
    pub twice: Vec<String>,
    /// Records of inputs that are in no list.
    pub unlisted: usize,
}

impl Merged {
    pub fn is_complete(&self) -> bool {
        self.missing_shards.is_empty() && self.missing.is_empty() && self.twice.is_empty()
    }
}

/// Puts all records of a folder into one table, by their URIs.
pub fn merge(folder: &Path, table: &mut dyn Table) -> Result<Merged> {
    let mut merged = Merged::default();
    // The record of each input.
    let mut listed = BTreeMap::<String, String>::new();
    let mut records = BTreeSet::<(String, String)>::new();
    let shards = folder.join("shards");
    let files = shards.read_dir().with_context(|| {
        format!(
            "{} is not an archive: it has no folder `shards`",
            folder.display()
        )
    })?;
    let mut names = BTreeSet::new();
    for entry in files {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let mut counts = BTreeSet::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(".list")) {
        let count = name
            .split_once("-of-")
            .and_then(|(_, count)| count.parse::<u32>().ok());
        counts.extend(count);
        let file = fs::File::open(shards.join(format!("{name}.list")))?;
        for line in BufReader::new(file).lines() {
            let line: Value = serde_json::from_str(&line?)
                .with_context(|| format!("shards/{name}.list is damaged"))?;
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            listed.insert(text("record"), text("uri"));
        }
    }
    for count in counts {
        for index in 0..count {
            let name = format!("{index}-of-{count}");
            if !names.contains(&format!("{name}.list")) || !names.contains(&format!("{name}.json"))
            {
                merged.missing_shards.push(name);
            }
        }
    }
    for group in folder.join("records").read_dir().into_iter().flatten() {
        let group = group?;
        for entry in group.path().read_dir().into_iter().flatten() {
            let name = format!(
                "{}/{}",
                group.file_name().to_string_lossy(),
                entry?.file_name().to_string_lossy()
            );
            if name.ends_with(".jsonl")
                && let Some(last) = whole(&folder.join("records").join(&name))
            {
                let uri = last["uri"].as_str().unwrap_or_default().to_owned();
                records.insert((uri, name));
            }
        }
    }
    let names: HashSet<&str> = records.iter().map(|(_, name)| name.as_str()).collect();
    let missing = listed
        .iter()
        .filter(|(record, _)| !names.contains(record.as_str()));
    merged.missing = missing.map(|(_, uri)| uri.clone()).collect();
    merged.missing.sort();
    merged.unlisted = names
        .iter()
        .filter(|name| !listed.contains_key(**name))
        .count();
    let mut last_uri = None;
    for (uri, name) in &records {
        if last_uri == Some(uri) {
            if merged.twice.last() != Some(uri) {
                merged.twice.push(uri.clone());
            }
            continue;
        }
        last_uri = Some(uri);
        let text = fs::read_to_string(folder.join("records").join(name))?;
        let failed = last_line(&text).is_some_and(|last| last.get("error").is_some());
        *(if failed {
            &mut merged.failed
        } else {
            &mut merged.tagged
        }) += 1;
        table.add(&text)?;
    }
    table.finish()?;
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn open(folder: &Path, index: u32, count: u32, list: Vec<Listed>) -> (Archive, Vec<Listed>) {
        Archive::open(folder, Shard { index, count }, 3, false, list).unwrap()
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
    fn each_input_is_in_one_shard_once() {
        let folder = scratch("division");
        let mut all = Vec::new();
        for index in 0..5 {
            let twice = list(100).into_iter().chain(list(100)).collect();
            let (_, own) = open(&folder, index, 5, twice);
            assert!((8..40).contains(&own.len()), "{}", own.len());
            all.extend(own.iter().map(|listed| uri(listed).to_owned()));
        }
        all.sort();
        let mut expected: Vec<_> = list(100)
            .iter()
            .map(|listed| uri(listed).to_owned())
            .collect();
        expected.sort();
        assert_eq!(all, expected);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_whole_is_skipped_and_what_is_not_is_done_again() {
        let folder = scratch("resume");
        let uri = "file:///a%20b.mp4";
        let (archive, _) = open(&folder, 0, 1, vec![input(uri)]);
        assert_eq!(archive.begin(uri).unwrap(), Task::Tag);
        archive.finish(uri, &text(uri)).unwrap();
        assert_eq!(archive.begin(uri).unwrap(), Task::Skip);
        // A record that lost its end.
        fs::write(archive.record(uri), &text(uri)[..text(uri).len() - 1]).unwrap();
        assert_eq!(archive.begin(uri).unwrap(), Task::Tag);
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
    fn what_ends_the_process_each_time_is_given_up() {
        let folder = scratch("poison");
        let uri = "file:///a.mp4";
        let (archive, _) = open(&folder, 0, 1, vec![input(uri)]);
        // Twice killed, once asked to end, and once more killed.
        for _ in 0..3 {
            assert_eq!(archive.begin(uri).unwrap(), Task::Tag);
        }
        archive.abandon(uri);
        assert_eq!(archive.begin(uri).unwrap(), Task::Tag);
        let part = archive.record(uri).with_extension("123.part");
        fs::write(&part, "half").unwrap();
        assert_eq!(archive.begin(uri).unwrap(), Task::GiveUp);
        assert!(!part.exists());
        archive.finish(uri, &archive.poisoned(uri)).unwrap();
        assert_eq!(archive.begin(uri).unwrap(), Task::Skip);
        let (archive, _) = Archive::open(
            &folder,
            Shard { index: 0, count: 1 },
            3,
            true,
            vec![input(uri)],
        )
        .unwrap();
        assert_eq!(archive.begin(uri).unwrap(), Task::Tag);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn merge_says_what_is_missing_and_what_is_there_twice() {
        let folder = scratch("merge");
        let (first, own) = open(&folder, 0, 2, list(10));
        for listed in &own {
            let uri = uri(listed);
            first.begin(uri).unwrap();
            first.finish(uri, &text(uri)).unwrap();
        }
        first.close(1.0).unwrap();
        let (found, _) = merged(&folder, false);
        assert_eq!(found.missing_shards, ["1-of-2"]);
        assert_eq!((found.tagged, found.missing.len()), (own.len(), 0));

        let (second, rest) = open(&folder, 1, 2, list(10));
        let [lost, failed, done @ ..] = &rest[..] else {
            panic!("{}", rest.len());
        };
        second.begin(uri(failed)).unwrap();
        second
            .finish(uri(failed), &jsonl::failure(uri(failed), "broken"))
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
            missing_shards: vec![],
            missing: vec![uri(lost).into()],
            twice: vec![uri(&own[0]).into()],
            unlisted: 1,
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
    fn passwords_are_not_stored() {
        let uri = "http://anna:secret@host/a.mp4";
        assert!(!record_name(uri).contains("secret"));
        let folder = scratch("password");
        open(&folder, 0, 1, vec![input(uri)]);
        let list = fs::read_to_string(folder.join("shards/0-of-1.list")).unwrap();
        assert!(
            list.contains("anna:***@host") && !list.contains("secret"),
            "{list}"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn shards_count_from_zero() {
        assert_eq!(
            "3/8".parse::<Shard>().unwrap(),
            Shard { index: 3, count: 8 }
        );
        for wrong in ["8/8", "1", "0/0", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
