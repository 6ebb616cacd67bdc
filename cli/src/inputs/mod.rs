// SPDX-License-Identifier: MPL-2.0

//! What is to be tagged: files, folders, URIs and lists of them.

mod folder;
mod list;
mod media;
mod secrets;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};

use crate::shard::Shard;

pub use list::Lines;
pub use secrets::{hide, redact, unescape};

/// Names that a message lists.
const SHOWN: usize = 3;

/// What is said of standard input when reading it fails.
pub const UNREADABLE: &str = "standard input cannot be read";

/// One file or URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As the user named it, without secrets.
    pub name: String,
    /// With its secrets.
    pub uri: String,
    /// The file's length, if it is a file that has been looked at.
    pub bytes: Option<u64>,
}

/// An input that cannot be tagged.
#[derive(Debug)]
pub struct Unusable {
    pub name: String,
    /// With its secrets; the name of what has no URI.
    pub uri: String,
    pub cause: anyhow::Error,
}

/// An input or what stands for it.
pub type Listed = Result<Input, Unusable>;

/// What the arguments stand for.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order of the arguments, the contents of a folder by name.
    pub listed: Vec<Listed>,
    /// Files in folders that are not media.
    left_out: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Input {
    /// Whether it can be opened: a file must be a regular one, because opening anything else could wait for ever.
    pub fn check(&self) -> Result<()> {
        match path_of(&self.uri) {
            Some(path) => regular(&path.metadata().context("cannot be opened")?),
            None => Ok(()),
        }
    }
}

impl Inputs {
    /// What the user should know, each a sentence.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let names: Vec<_> = self
            .left_out
            .iter()
            .take(SHOWN)
            .map(|path| path.display().to_string())
            .collect();
        let names = names.join(", ");
        match self.left_out.len() {
            0 => {}
            1 => notes.push(format!("1 file that is not media was skipped: {names}")),
            count => {
                let more = if count > SHOWN { ", …" } else { "" };
                notes.push(format!(
                    "{count} files that are not media were skipped: {names}{more}"
                ));
            }
        }
        notes
    }
}

/// All inputs that the arguments stand for, `-` being a list on standard input; of a shard, only those that it owns.
///
/// The names in a list are not looked up, except those that may be folders. A folder in a list belongs to one shard, a
/// folder among the arguments is divided.
///
/// # Errors
/// Standard input cannot be read or is no list: inputs would be missing.
pub fn expand(arguments: &[OsString], stdin: impl Read, shard: Option<Shard>) -> Result<Inputs> {
    let mut stdin = Some(stdin);
    let mut inputs = Inputs::default();
    for argument in arguments {
        if argument != "-" {
            inputs.add(argument, shard);
        } else if let Some(stdin) = stdin.take() {
            let list = read_list(stdin)?;
            let mut lines = Lines::of(&list).peekable();
            if lines.peek().is_none() {
                inputs
                    .notes
                    .push("the list on standard input is empty".into());
            }
            for line in lines {
                inputs.add_line(line?, shard);
            }
        }
    }
    Ok(inputs)
}

/// What one line of a list stands for.
pub fn expand_line(line: Vec<u8>) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.add_line(line, None);
    inputs
}

fn read_list(mut stdin: impl Read) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    stdin
        .by_ref()
        .take(media::LONG_HEAD)
        .read_to_end(&mut list)
        .context(UNREADABLE)?;
    check_list(&list)?;
    stdin.read_to_end(&mut list).context(UNREADABLE)?;
    Ok(list)
}

/// Refuses what is no list by its beginning.
pub fn check_list(head: &[u8]) -> Result<()> {
    match media::not_a_list(head) {
        Some(what) if !list::is_utf16(head) => bail!(
            "standard input is {what}, not a list of inputs: give /dev/stdin in place of -, or save it to a file"
        ),
        _ => Ok(()),
    }
}

impl Inputs {
    /// Adds a line of a list.
    fn add_line(&mut self, line: Vec<u8>, shard: Option<Shard>) {
        if line.contains(&0) {
            let name = String::from_utf8_lossy(&line).into_owned();
            let cause = anyhow::anyhow!(
                "is not a name: it contains a NUL character; a list has one input per line"
            );
            if shard.is_none_or(|shard| shard.owns(&name)) {
                self.listed.push(Err(Unusable {
                    uri: name.clone(),
                    name,
                    cause,
                }));
            }
            return;
        }
        let argument = OsString::from_vec(line);
        let path = Path::new(&argument);
        let is_uri = scheme(&argument).is_some();
        if shard.is_none_or(|shard| is_uri || shard.owns(&path_uri(path))) {
            if !is_uri && media::has_files_ending(path) {
                self.push_file(path, None);
            } else {
                self.add_owned(&argument, shard, None);
            }
        }
    }

    /// Adds an argument.
    fn add(&mut self, argument: &OsStr, shard: Option<Shard>) {
        self.add_owned(argument, shard, shard);
    }

    /// Adds a URI if the shard owns it, or a path, and of a folder's files those that `files` owns.
    fn add_owned(&mut self, argument: &OsStr, shard: Option<Shard>, files: Option<Shard>) {
        if let Some(uri) = descriptor(argument) {
            self.listed.push(Ok(Input {
                name: argument.display().to_string(),
                uri,
                bytes: None,
            }));
            return;
        }
        if let Some((scheme, uri)) = scheme(argument) {
            let listed = from_uri(scheme, uri);
            let uri = match &listed {
                Ok(input) => &input.uri,
                Err(unusable) => &unusable.uri,
            };
            if shard.is_none_or(|shard| shard.owns(uri)) {
                self.listed.push(listed);
            }
            return;
        }
        let path = Path::new(argument);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => self.add_folder(path, files),
            metadata if files.is_none_or(|shard| shard.owns(&path_uri(path))) => {
                let length = metadata
                    .ok()
                    .filter(Metadata::is_file)
                    .map(|metadata| metadata.len());
                self.push_file(path, length);
            }
            _ => {}
        }
    }

    fn push_file(&mut self, path: &Path, bytes: Option<u64>) {
        self.listed.push(Ok(Input {
            name: path.display().to_string(),
            uri: path_uri(path),
            bytes,
        }));
    }

    fn add_folder(&mut self, path: &Path, shard: Option<Shard>) {
        let own = |path: &Path| shard.is_none_or(|shard| shard.owns(&path_uri(path)));
        let cause = match folder::contents(path, own) {
            Ok(contents) => {
                // Other shards may have found media.
                let complete = shard.is_none_or(|shard| shard.count == 1);
                let empty = !contents.has_files || complete && contents.media.is_empty();
                if !empty {
                    self.left_out.extend(contents.left_out);
                }
                self.notes.extend(contents.notes);
                for (path, length) in contents.media {
                    self.push_file(&path, Some(length));
                }
                empty.then(|| anyhow::anyhow!("contains no audio or video files"))
            }
            Err(cause) => Some(cause),
        };
        if let Some(cause) = cause.filter(|_| own(path)) {
            self.listed.push(Err(Unusable {
                name: path.display().to_string(),
                uri: path_uri(path),
                cause,
            }));
        }
    }
}

/// The URI of a pipe that is open already, which a shell names for `<(COMMAND)` and behind `COMMAND |`.
fn descriptor(argument: &OsStr) -> Option<String> {
    let number = match argument.to_str()? {
        "/dev/stdin" => "0",
        path => path.strip_prefix("/dev/fd/")?,
    };
    let number: u32 = number.parse().ok()?;
    let is_pipe = Path::new(argument).metadata().ok()?.file_type().is_fifo();
    is_pipe.then(|| format!("fd://{number}"))
}

/// The scheme of a URI in lower case, and the URI; `None` for a path.
fn scheme(argument: &OsStr) -> Option<(String, &str)> {
    let uri = argument.to_str()?;
    let scheme = glib::uri_parse_scheme(uri)?.to_ascii_lowercase();
    let rest = &uri[scheme.len() + 1..];
    (rest.starts_with("//") || scheme == "file" && rest.starts_with('/')).then_some((scheme, uri))
}

fn from_uri(scheme: String, written: &str) -> Listed {
    let name = redact(written);
    let uri = format!("{scheme}{}", &written[scheme.len()..]);
    let checked = if scheme == "file" {
        file_uri(&uri)
    } else if matches!(scheme.as_str(), "http" | "https" | "icy" | "icyx") && !has_host(&uri) {
        // GStreamer's HTTP sources assert it.
        Err(anyhow::anyhow!("is not a valid URI: it names no computer"))
    } else if SCHEMES.contains(&scheme) {
        Ok(uri.clone())
    } else {
        let cause = anyhow::anyhow!(
            "cannot be opened: no GStreamer element reads URIs with the scheme `{scheme}`; save it to a file, or install the plugin that reads them"
        );
        Err(cause)
    };
    match checked {
        Ok(uri) => Ok(Input {
            name,
            uri,
            bytes: None,
        }),
        Err(cause) => Err(Unusable { name, uri, cause }),
    }
}

/// Whether a URI names a computer; an IPv6 address ends with its bracket.
fn has_host(uri: &str) -> bool {
    let authority = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match host.strip_prefix('[') {
        Some(address) => address.contains(']'),
        None => !port.is_empty(),
    }
}

/// The schemes that GStreamer reads, except those of elements that need an application or its settings.
static SCHEMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let features = gst::Registry::get().features(gst::ElementFactory::static_type());
    let factories = features
        .into_iter()
        .filter_map(|feature| feature.downcast::<gst::ElementFactory>().ok());
    let sources = factories.filter(|factory| factory.uri_type() == gst::URIType::Src);
    let schemes = sources.flat_map(|factory| factory.uri_protocols());
    schemes
        .map(String::from)
        .filter(|scheme| !["appsrc", "imagesequence"].contains(&scheme.as_str()))
        .collect()
});

/// The URI of a file as [`path_uri`] makes it, however it is written.
fn file_uri(uri: &str) -> Result<String> {
    let (path, host) = glib::filename_from_uri(uri)
        .map_err(|error| anyhow::anyhow!("is not the URI of a file: {}", error.message()))?;
    match host.as_deref() {
        None | Some("" | "localhost") => Ok(path_uri(&path)),
        Some(host) => {
            bail!("is a file of the computer `{host}`: give a path, as in file:///folder/file")
        }
    }
}

/// The path of a file's URI. GLib takes no NUL, which a line of a list may have.
pub fn path_of(uri: &str) -> Option<PathBuf> {
    let file = (!uri.contains('\0')).then(|| glib::filename_from_uri(uri).ok());
    file.flatten().map(|(path, _)| path)
}

/// The URI of a file, whether it exists or not.
fn path_uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    glib::filename_to_uri(absolute, None).map_or_else(|_| path.display().to_string(), Into::into)
}

fn regular(metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    bail!("is {what}, not a file: give a file or a URI");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A file that type finders take for sound.
    const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0";

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (file, data) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, data).unwrap();
        }
        folder
    }

    fn of(arguments: &[&Path], stdin: &[u8], shard: Option<Shard>) -> Inputs {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|path| path.as_os_str().to_owned())
            .collect();
        expand(&arguments, stdin, shard).unwrap()
    }

    /// The paths below `folder`, of inputs that are all usable.
    fn names(inputs: &Inputs, folder: &Path) -> Vec<String> {
        let below = |input: &Listed| {
            let name = &input.as_ref().unwrap().name;
            let path = Path::new(name).strip_prefix(folder).unwrap();
            path.to_str().unwrap().to_owned()
        };
        inputs.listed.iter().map(below).collect()
    }

    #[test]
    fn a_folder_stands_for_the_media_in_it_whatever_their_names() {
        let folder = folder(&[
            ("b.MP3", WAV),
            ("a/z.flac", WAV),
            ("a/notes.txt", b"words"),
            ("a/false.mp4", b"words"),
            (".hidden.wav", WAV),
            ("c.unknown", WAV),
            ("no-ending", WAV),
            ("empty.wav", b""),
            ("z.srt", b"1\n"),
        ]);
        let inputs = of(&[folder.path()], b"", None);
        assert_eq!(
            names(&inputs, folder.path()),
            ["a/z.flac", "b.MP3", "c.unknown", "no-ending"]
        );
        assert_eq!(
            inputs.listed[0].as_ref().unwrap().bytes,
            Some(WAV.len() as u64)
        );
        let at = |name: &str| folder.path().join(name).display().to_string();
        let [note] = &inputs.notes()[..] else {
            panic!("{:?}", inputs.notes());
        };
        let start = "4 files that are not media were skipped: ";
        assert!(note.starts_with(start) && note.ends_with(", …"), "{note}");
        assert!(note.contains(&at("a/notes.txt")), "{note}");
        let nothing = of(&[&folder.path().join("a/../.hidden")], b"", None);
        assert!(nothing.listed[0].as_ref().unwrap().check().is_err());
    }

    #[test]
    fn a_folder_without_media_is_an_error_of_its_own() {
        let folder = folder(&[("a.txt", b"words")]);
        let inputs = of(&[folder.path()], b"", None);
        let unusable = inputs.listed[0].as_ref().unwrap_err();
        assert_eq!(
            unusable.cause.to_string(),
            "contains no audio or video files"
        );
        assert_eq!(inputs.notes(), [""; 0]);
    }

    #[test]
    fn links_are_followed_and_loops_end() {
        let other = folder(&[("d/e.wav", WAV)]);
        let folder = folder(&[("a.wav", WAV), ("b/c.wav", WAV), ("f/g.wav", WAV)]);
        let link = |target: &Path, name: &str| symlink(target, folder.path().join(name)).unwrap();
        link(Path::new("."), "loop");
        link(Path::new("../f"), "b/f");
        link(Path::new("../b"), "f/b");
        link(Path::new("self"), "self");
        link(Path::new("a.wav"), "linked");
        link(Path::new("missing.wav"), "dangling");
        link(other.path(), "other");
        let inputs = of(&[folder.path()], b"", None);
        // Each folder once, where it is found first.
        assert_eq!(
            names(&inputs, folder.path()),
            ["a.wav", "b/c.wav", "b/f/g.wav", "linked", "other/d/e.wav"]
        );
        let notes = inputs.notes();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(
            notes[0].contains("/dangling was skipped: cannot be opened: No such file"),
            "{notes:?}"
        );
        assert!(
            notes[1].contains("/self was skipped: cannot be opened: Too many levels"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_subfolder_that_cannot_be_read_is_named_and_the_others_are_walked() {
        let folder = folder(&[("a/1.wav", WAV), ("z/2.wav", WAV)]);
        // A path that is longer than Linux takes, which also holds for root, whom no permission stops.
        let part = "l".repeat(255);
        let deep = format!(
            "cd \"$0\" && for i in $(seq 18); do mkdir -p {part} && cd {part} || exit; done"
        );
        let made = std::process::Command::new("bash")
            .arg("-c")
            .arg(deep)
            .arg(folder.path())
            .status();
        assert!(made.unwrap().success());
        let inputs = of(&[folder.path()], b"", None);
        assert_eq!(names(&inputs, folder.path()), ["a/1.wav", "z/2.wav"]);
        let notes = inputs.notes();
        assert!(
            notes.len() == 1
                && notes[0].contains("was skipped: cannot be opened: File name too long"),
            "{notes:?}"
        );
        std::process::Command::new("rm")
            .arg("-rf")
            .arg(folder.path().join(part))
            .status()
            .unwrap();
    }

    #[test]
    fn a_list_has_one_input_a_line_whatever_its_encoding() {
        let folder = folder(&[("plain.wav", WAV), ("sub/a.wav", WAV)]);
        let odd = folder.path().join(OsStr::from_bytes(b"gr\xfcn.wav"));
        let mut list = odd.as_os_str().as_bytes().to_vec();
        list.extend_from_slice(b"\r\n\nhttp://host/x.mp4\nbad\0name.wav\n");
        for name in ["plain.wav", "sub"] {
            list.extend_from_slice(folder.path().join(name).as_os_str().as_bytes());
            list.push(b'\n');
        }
        let inputs = of(&[Path::new("-"), Path::new("-")], &list, None);
        let uris: Vec<_> = inputs
            .listed
            .iter()
            .map(|input| match input {
                Ok(input) => input.uri.clone(),
                Err(unusable) => unusable.cause.to_string(),
            })
            .collect();
        let [first, second, third, fourth, fifth] = &uris[..] else {
            panic!("{uris:?}");
        };
        // It need not exist: it has not been looked at.
        assert!(first.ends_with("/gr%FCn.wav"), "{uris:?}");
        assert_eq!(second, "http://host/x.mp4");
        assert!(third.contains("NUL"), "{uris:?}");
        assert!(
            fourth.ends_with("/plain.wav") && fifth.ends_with("/sub/a.wav"),
            "{uris:?}"
        );
        let empty = of(&[Path::new("-")], b"\n\n", None);
        assert_eq!(empty.notes(), ["the list on standard input is empty"]);
    }

    #[test]
    fn media_in_place_of_a_list_are_refused() {
        gst::init().unwrap();
        let error = expand(&["-".into()], WAV, None).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with(
                "standard input is media (audio/x-wav), not a list of inputs: give /dev/stdin"
            ),
            "{text}"
        );
    }

    #[test]
    fn each_input_is_in_one_shard_and_others_are_not_looked_at() {
        let files: Vec<_> = (0..40).map(|number| format!("{number}.wav")).collect();
        let mut all: Vec<_> = files.iter().map(|name| (name.as_str(), WAV)).collect();
        all.push(("sub/a.wav", WAV));
        let folder = folder(&all);
        let sub = format!(
            "{0}/sub\n{0}/1.wav\nhttp://host/1\n",
            folder.path().display()
        );
        let mut found = Vec::new();
        for index in 0..3 {
            let shard = Some(Shard { index, count: 3 });
            let inputs = of(&[folder.path(), Path::new("-")], sub.as_bytes(), shard);
            found.extend(inputs.listed.into_iter().map(|input| input.unwrap().uri));
        }
        found.sort();
        // Of the list, the file in the folder and the others.
        assert_eq!(found.len(), 41 + 3, "{found:?}");
        found.dedup();
        assert_eq!(found.len(), 41 + 1, "{found:?}");
        let none = of(
            &[folder.path()],
            b"",
            Some(Shard {
                index: 0,
                count: u32::MAX,
            }),
        );
        assert_eq!((none.listed.len(), none.notes().len()), (0, 0));
    }

    #[test]
    fn what_cannot_be_tagged_is_named_in_its_place() {
        gst::init().unwrap();
        let causes = [
            ("/dev/null", "is a device, not a file: give a file or a URI"),
            (
                "/missing.wav",
                "cannot be opened: No such file or directory (os error 2)",
            ),
            (
                "file:///dev",
                "is a folder, not a file: give a file or a URI",
            ),
            (
                "FILE:///missing",
                "cannot be opened: No such file or directory (os error 2)",
            ),
            (
                "smb://host/a.mp4",
                "cannot be opened: no GStreamer element reads URIs with the scheme `smb`; save it to a file, or install the plugin that reads them",
            ),
            (
                "appsrc://a",
                "cannot be opened: no GStreamer element reads URIs with the scheme `appsrc`; save it to a file, or install the plugin that reads them",
            ),
            ("http:///a.mp4", "is not a valid URI: it names no computer"),
            (
                "https://[::1/a.mp4",
                "is not a valid URI: it names no computer",
            ),
            (
                "file://server/a.mp4",
                "is a file of the computer `server`: give a path, as in file:///folder/file",
            ),
        ];
        let arguments: Vec<_> = causes
            .iter()
            .map(|(argument, _)| Path::new(argument))
            .collect();
        let inputs = of(&arguments, b"", None);
        assert_eq!(inputs.listed.len(), causes.len());
        for (listed, (argument, expected)) in inputs.listed.iter().zip(causes) {
            let cause = match listed {
                Ok(input) => input.check().unwrap_err(),
                Err(unusable) => anyhow::anyhow!("{:#}", unusable.cause),
            };
            assert_eq!(format!("{cause:#}"), expected, "{argument}");
        }
        let broken = of(&[Path::new("file:///%00")], b"", None);
        let cause = broken.listed[0].as_ref().unwrap_err().cause.to_string();
        assert!(cause.starts_with("is not the URI of a file: "), "{cause}");
    }

    #[test]
    fn schemes_are_those_of_all_sources() {
        gst::init().unwrap();
        // Of elements and of bins.
        for scheme in ["http", "https", "rtsp", "rtp", "udp", "fd"] {
            assert!(SCHEMES.contains(scheme), "{scheme}");
        }
    }

    #[test]
    fn a_file_has_one_uri_however_it_is_named() {
        gst::init().unwrap();
        for name in [
            "/a%20b.wav",
            "FILE:///a%2520b.wav",
            "file:/a%2520b.wav",
            "file://localhost/a%2520b.wav",
        ] {
            let inputs = of(&[Path::new(name)], b"", None);
            assert_eq!(
                inputs.listed[0].as_ref().unwrap().uri,
                "file:///a%2520b.wav",
                "{name}"
            );
        }
        // Paths, though they contain what URIs do.
        for name in ["/a/http://b", "my song://c", "c:d"] {
            let inputs = of(&[Path::new(name)], b"", None);
            let uri = &inputs.listed[0].as_ref().unwrap().uri;
            assert!(uri.starts_with("file:///"), "{uri}");
        }
    }

    #[test]
    fn names_have_no_secrets_and_uris_keep_them() {
        gst::init().unwrap();
        let uri = "HTTPS://anna:secret@host/a.mp4?sig=S3CRET&id=1";
        let inputs = of(&[Path::new(uri)], b"", None);
        let input = inputs.listed[0].as_ref().unwrap();
        assert_eq!(input.name, "HTTPS://anna:***@host/a.mp4?id=1");
        assert_eq!(input.uri, "https://anna:secret@host/a.mp4?sig=S3CRET&id=1");
    }
}
