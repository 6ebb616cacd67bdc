// SPDX-License-Identifier: MPL-2.0

//! What is to be tagged: files, folders, URIs and lists of them. Knows no GStreamer but for the URIs of files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gst::glib;

/// The endings of the files that are tagged in a folder.
const MEDIA: &[&str] = &[
    "3gp", "aac", "ac3", "aif", "aiff", "amr", "ape", "asf", "avi", "caf", "dts", "dv", "flac",
    "flv", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg",
    "mts", "mxf", "oga", "ogg", "ogm", "ogv", "opus", "spx", "ts", "tta", "vob", "wav", "webm",
    "wma", "wmv", "wv",
];

/// One file or URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As the user named it, without a password.
    pub name: String,
    /// With the password.
    pub uri: String,
    /// The file's length, if it is a file.
    pub bytes: Option<u64>,
}

/// An input that cannot be tagged.
#[derive(Debug)]
pub struct Unusable {
    pub name: String,
    /// With the password; the name of what has no URI.
    pub uri: String,
    pub cause: anyhow::Error,
}

/// All inputs that the arguments stand for, in their order; the contents of a folder by name.
pub fn expand(arguments: &[OsString], stdin: impl Read) -> Vec<Result<Input, Unusable>> {
    let mut stdin = Some(stdin);
    let mut inputs = Vec::new();
    for argument in arguments {
        if argument != "-" {
            add(argument, &mut inputs);
        } else if let Some(list) = stdin.take() {
            for line in BufReader::new(list).split(b'\n') {
                match line {
                    Ok(mut line) => {
                        if line.last() == Some(&b'\r') {
                            line.pop();
                        }
                        if !line.is_empty() {
                            add(&OsString::from_vec(line), &mut inputs);
                        }
                    }
                    Err(error) => {
                        inputs.push(Err(Unusable {
                            name: "standard input".into(),
                            uri: "standard input".into(),
                            cause: error.into(),
                        }));
                        break;
                    }
                }
            }
        }
    }
    inputs
}

fn add(argument: &OsStr, inputs: &mut Vec<Result<Input, Unusable>>) {
    if let Some(uri) = argument.to_str().filter(|text| text.contains("://")) {
        let name = redact(uri);
        // A file may be named by its URI.
        let bytes = match glib::filename_from_uri(uri) {
            Ok((path, _)) => regular(&path).map(Some),
            Err(_) => Ok(None),
        };
        let uri = uri.to_owned();
        inputs.push(match bytes {
            Ok(bytes) => Ok(Input { name, uri, bytes }),
            Err(cause) => Err(Unusable { name, uri, cause }),
        });
        return;
    }
    let path = Path::new(argument);
    let mut files = Vec::new();
    let found = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => walk(path, &mut files).and_then(|()| {
            if files.is_empty() {
                bail!("contains no audio or video files");
            }
            Ok(())
        }),
        _ => {
            files.push(path.to_owned());
            Ok(())
        }
    };
    if let Err(cause) = found {
        let name = path.display().to_string();
        let uri = path_uri(path);
        inputs.push(Err(Unusable { name, uri, cause }));
    }
    inputs.extend(files.into_iter().map(|path| {
        file(&path).map_err(|cause| Unusable {
            name: path.display().to_string(),
            uri: path_uri(&path),
            cause,
        })
    }));
}

fn file(path: &Path) -> Result<Input> {
    let bytes = regular(path)?;
    Ok(Input {
        name: path.display().to_string(),
        uri: path_uri(path),
        bytes: Some(bytes),
    })
}

/// The URI of a file, whether it exists or not.
fn path_uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    glib::filename_to_uri(absolute, None).map_or_else(|_| path.display().to_string(), Into::into)
}

/// The length of a regular file. Opening anything else could wait for ever.
fn regular(path: &Path) -> Result<u64> {
    let metadata = path.metadata().context("cannot be opened")?;
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(metadata.len()),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    bail!("is {what}, not a file: give a file or a URI");
}

/// The media files in a folder and its subfolders, sorted; hidden ones and links to folders are left out.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.context("cannot be opened")?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, files)?;
        } else if is_media(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_media(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| MEDIA.contains(&extension.to_ascii_lowercase().as_str()))
}

/// The user and the password in a URI, as they are written there.
fn user_info(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// The URI with `***` for its password.
pub fn redact(uri: &str) -> String {
    match user_info(uri).and_then(|user| user.split_once(':')) {
        Some((user, password)) => {
            uri.replacen(&format!("{user}:{password}@"), &format!("{user}:***@"), 1)
        }
        None => uri.into(),
    }
}

/// A text about the input of this URI, without the URI's password.
pub fn hide(text: &str, uri: &str) -> String {
    let Some((_, password)) = user_info(uri).and_then(|user| user.split_once(':')) else {
        return text.into();
    };
    if password.is_empty() {
        return text.into();
    }
    let text = text.replace(uri, &redact(uri)).replace(password, "***");
    text.replace(&unescape(password), "***")
}

/// The text that stands behind `%20` and the like.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[&str]) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("instruments-inputs-{}-{name}", std::process::id()));
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1234").unwrap();
        }
        folder
    }

    #[test]
    fn passwords_are_never_shown() {
        let uri = "rtsp://anna:se%20cret@camera:554/live?x=a@b";
        assert_eq!(redact(uri), "rtsp://anna:***@camera:554/live?x=a@b");
        assert_eq!(
            hide(&format!("could not open {uri} (anna:se cret)"), uri),
            "could not open rtsp://anna:***@camera:554/live?x=a@b (anna:***)"
        );
        for plain in [
            "http://host/a:b@c.mp4",
            "rtsp://anna@camera/",
            "file:///a.mp4",
        ] {
            assert_eq!(redact(plain), plain);
            assert_eq!(hide(plain, plain), plain);
        }
        let [Ok(input)] = &expand(&[uri.into()], &b""[..])[..] else {
            panic!("one input");
        };
        assert_eq!(
            (input.name.as_str(), input.uri.as_str()),
            ("rtsp://anna:***@camera:554/live?x=a@b", uri)
        );
    }

    #[test]
    fn a_folder_stands_for_the_media_files_in_it() {
        let folder = folder(
            "folder",
            &[
                "b.MP3",
                "a/z.flac",
                "a/notes.txt",
                ".hidden.wav",
                "c.mkv",
                "no-ending",
            ],
        );
        let inputs = expand(&[folder.clone().into()], &b""[..]);
        let names: Vec<_> = inputs
            .iter()
            .map(|input| input.as_ref().unwrap().name.clone())
            .collect();
        let expected =
            ["a/z.flac", "b.MP3", "c.mkv"].map(|name| folder.join(name).display().to_string());
        assert_eq!(names, expected);
        assert_eq!(inputs[0].as_ref().unwrap().bytes, Some(4));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_list_has_one_input_a_line_whatever_its_encoding() {
        let folder = folder("list", &["plain.wav"]);
        let odd = folder.join(OsStr::from_bytes(b"gr\xfcn.wav"));
        fs::write(&odd, "12").unwrap();
        let mut list = odd.as_os_str().as_bytes().to_vec();
        list.extend_from_slice(b"\r\n\nhttp://host/x.mp4\n");
        list.extend_from_slice(folder.join("plain.wav").as_os_str().as_bytes());
        let inputs = expand(&["-".into(), "-".into()], &list[..]);
        let uris: Vec<_> = inputs
            .iter()
            .map(|input| input.as_ref().unwrap().uri.as_str())
            .collect();
        assert_eq!(uris.len(), 3);
        assert!(uris[0].ends_with("/gr%FCn.wav"), "{uris:?}");
        assert_eq!(uris[1], "http://host/x.mp4");
        assert!(uris[2].ends_with("/plain.wav"), "{uris:?}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_tagged_is_named_in_its_place() {
        let inputs = expand(
            &[
                "/dev/null".into(),
                "/missing.wav".into(),
                "file:///dev".into(),
            ],
            &b""[..],
        );
        let causes: Vec<_> = inputs
            .iter()
            .map(|input| format!("{:#}", input.as_ref().unwrap_err().cause))
            .collect();
        assert_eq!(causes[0], "is a device, not a file: give a file or a URI");
        assert!(
            causes[1].starts_with("cannot be opened: No such file"),
            "{causes:?}"
        );
        assert_eq!(causes[2], "is a folder, not a file: give a file or a URI");
    }
}
