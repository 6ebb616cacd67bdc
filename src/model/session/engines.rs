// SPDX-License-Identifier: MPL-2.0
//! Where the engines that TensorRT builds are kept: one folder for each key, with a list of checksums. What is not
//! on that list, not as the list says, or of another key is removed and built again, never trusted.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The list of a folder's files.
const MANIFEST: &str = "manifest.json";
/// The file that is locked while an engine is built.
const LOCK: &str = "lock";

/// All that an engine depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The model's name, which makes the folder's name readable.
    pub name: String,
    /// The SHA-256 of the model's file.
    pub model: String,
    /// The inputs with their shapes, e.g. `frame:8x260x260x3`.
    pub shapes: String,
    /// `fp32`, `fp16` or `int8`.
    pub precision: String,
    /// For example `tensorrt`.
    pub provider: String,
    /// The GPU's name and compute capability.
    pub device: String,
    /// The versions of ONNX Runtime, the provider's library, TensorRT and the driver.
    pub versions: String,
}

impl Key {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "model": self.model,
            "shapes": self.shapes,
            "precision": self.precision,
            "provider": self.provider,
            "device": self.device,
            "versions": self.versions,
        })
    }

    /// The name of the key's folder.
    fn folder(&self) -> String {
        let hash = hex(&Sha256::digest(self.json().to_string()));
        format!("{}-{}", self.name.replace(['/', '\0'], "_"), &hash[..16])
    }
}

/// The folder of one key.
#[derive(Debug)]
pub struct Engines {
    folder: PathBuf,
    key: Key,
}

/// An [`Engines`] that no other process or thread uses until this is dropped.
#[derive(Debug)]
pub struct Building {
    engines: Engines,
    warm: bool,
    _lock: File,
}

impl Engines {
    /// Where the engines are kept unless the user says: `gst-instruments/engines` in XDG's folder for caches.
    pub fn default_root() -> Option<PathBuf> {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("gst-instruments/engines"))
    }

    /// Opens the folder of `key` below `root`, and waits while somebody else builds in it. Files that cannot be
    /// trusted are gone.
    ///
    /// # Errors
    /// When the folder cannot be made, locked or cleaned.
    pub fn open(root: &Path, key: Key) -> io::Result<Building> {
        let folder = root.join(key.folder());
        fs::create_dir_all(&folder)?;
        let building = Self { folder, key }.lock()?;
        if !building.warm {
            for name in building.engines.files()? {
                fs::remove_file(building.path().join(name))?;
            }
        }
        Ok(building)
    }

    /// Waits until no other process uses the folder, and checks its files.
    fn lock(self) -> io::Result<Building> {
        let lock = File::create(self.folder.join(LOCK))?;
        lock.lock()?;
        let files = self.files()?;
        Ok(Building {
            warm: !files.is_empty() && self.manifest() == Some(self.seal_of(&files)?),
            engines: self,
            _lock: lock,
        })
    }

    /// Calls `end`, which ends the session of these engines: some providers write files only then. The files
    /// are trusted afterwards if those that were there before could be.
    pub fn close(self, end: impl FnOnce()) {
        match self.lock() {
            Ok(building) => {
                end();
                if building.warm {
                    building.finish();
                }
            }
            Err(_) => end(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes the list of the present files, if it has changed.
    fn seal(&self) -> io::Result<()> {
        let seal = self.seal_of(&self.files()?)?;
        if self.manifest().as_ref() == Some(&seal) {
            return Ok(());
        }
        // The list is replaced in one step.
        let new = self
            .folder
            .join(format!("{MANIFEST}.{}", std::process::id()));
        fs::write(&new, seal.to_string())?;
        fs::rename(new, self.folder.join(MANIFEST))
    }

    /// The names of the files that providers have written.
    fn files(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != LOCK && !name.starts_with(MANIFEST) && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn seal_of(&self, names: &[String]) -> io::Result<Value> {
        let mut files = BTreeMap::new();
        for name in names {
            files.insert(name, sha256(&self.folder.join(name))?);
        }
        Ok(json!({ "key": self.key.json(), "files": files }))
    }

    fn manifest(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.folder.join(MANIFEST)).ok()?).ok()
    }
}

impl Building {
    /// Whether engines are there that can be trusted.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.engines.path()
    }

    /// Lists the files that a session has been made with, and unlocks the folder.
    pub fn finish(self) -> Engines {
        // Without the list the next session builds again, which takes time and harms nothing.
        let _ = self.engines.seal();
        self.engines
    }
}

/// The SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    fn root(test: &str) -> PathBuf {
        let root =
            env::temp_dir().join(format!("instruments-engines-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        root
    }

    fn key() -> Key {
        Key {
            name: "choi".into(),
            model: "00ff".into(),
            shapes: "mel:8x1x96x1366".into(),
            precision: "fp16".into(),
            provider: "tensorrt".into(),
            device: "NVIDIA Test 9.0".into(),
            versions: "ONNX Runtime 1.31.1".into(),
        }
    }

    /// Builds two files, as a provider would.
    fn build(root: &Path, key: Key) -> PathBuf {
        let building = Engines::open(root, key).unwrap();
        assert!(!building.is_warm());
        let folder = building.path().to_owned();
        fs::write(folder.join("a.engine"), "engine").unwrap();
        fs::write(folder.join("b.timing"), "timing").unwrap();
        building.finish();
        folder
    }

    fn is_warm(root: &Path, key: Key) -> bool {
        Engines::open(root, key).unwrap().is_warm()
    }

    #[test]
    fn what_was_built_is_there_the_next_time() {
        let root = root("warm");
        let folder = build(&root, key());
        assert!(is_warm(&root, key()));
        assert!(is_warm(&root, key()), "looking changes nothing");
        assert_eq!(
            fs::read_to_string(folder.join("a.engine")).unwrap(),
            "engine"
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn files_that_are_not_as_they_were_are_built_again() {
        type Harm = fn(&Path);
        let harms: [(&str, Harm); 6] = [
            ("corrupt", |folder| {
                fs::write(folder.join("a.engine"), "angine").unwrap()
            }),
            ("truncated", |folder| {
                fs::write(folder.join("a.engine"), "eng").unwrap()
            }),
            ("foreign", |folder| {
                fs::write(folder.join("c.engine"), "other").unwrap()
            }),
            ("missing", |folder| {
                fs::remove_file(folder.join("b.timing")).unwrap()
            }),
            ("without a list", |folder| {
                fs::remove_file(folder.join(MANIFEST)).unwrap()
            }),
            ("half a list", |folder| {
                fs::write(folder.join(MANIFEST), "{\"key\":").unwrap()
            }),
        ];
        for (name, harm) in harms {
            let root = root(&name.replace(' ', "-"));
            let folder = build(&root, key());
            harm(&folder);
            assert!(!is_warm(&root, key()), "{name}");
            assert!(!folder.join("a.engine").exists(), "{name}");
            assert!(!folder.join("c.engine").exists(), "{name}");
            build(&root, key());
            assert!(is_warm(&root, key()), "{name}");
            fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let root = root("key");
        build(&root, key());
        let changes: [fn(&mut Key); 7] = [
            |key| key.name.push('x'),
            |key| key.model.push('x'),
            |key| key.shapes.push('x'),
            |key| key.precision.push('x'),
            |key| key.provider.push('x'),
            |key| key.device.push('x'),
            |key| key.versions.push('x'),
        ];
        for change in changes {
            let mut other = key();
            change(&mut other);
            assert!(!is_warm(&root, other));
        }
        // A folder that was copied to another key's place is not taken for that key's.
        let mut other = key();
        other.device.push('x');
        let place = root.join(other.folder());
        for name in ["a.engine", "b.timing", MANIFEST] {
            fs::copy(root.join(key().folder()).join(name), place.join(name)).unwrap();
        }
        assert!(!is_warm(&root, other));
        assert!(is_warm(&root, key()));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn files_that_a_session_writes_at_its_end_are_trusted_too() {
        let root = root("late");
        let engines = || {
            let building = Engines::open(&root, key()).unwrap();
            fs::write(building.path().join("a.engine"), "engine").unwrap();
            building.finish()
        };
        let late = |engines: Engines| {
            let file = engines.path().join("late.cache");
            engines.close(|| fs::write(file, "late").unwrap());
        };
        late(engines());
        assert!(is_warm(&root, key()));
        // What lay there without being listed is not trusted because a session ends.
        let ours = engines();
        fs::write(ours.path().join("foreign.engine"), "other").unwrap();
        late(ours);
        assert!(!is_warm(&root, key()));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_session_ends_when_nobody_else_builds_in_its_folder() {
        let root = root("end");
        build(&root, key());
        let ours = Engines::open(&root, key()).unwrap().finish();
        let building = Engines::open(&root, key()).unwrap();
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            let close = scope.spawn(|| {
                ours.close(|| {
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            });
            thread::sleep(Duration::from_millis(50));
            assert_eq!(ended.load(Ordering::Relaxed), 0);
            // Half a file, as the other sees the folder.
            let half = building.path().join("half.engine");
            fs::write(&half, "ha").unwrap();
            fs::remove_file(half).unwrap();
            drop(building);
            close.join().unwrap();
        });
        assert_eq!(ended.into_inner(), 1);
        assert!(is_warm(&root, key()));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn one_builds_and_the_others_wait() {
        let root = root("wait");
        let built = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let building = Engines::open(&root, key()).unwrap();
                    if !building.is_warm() {
                        built.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(20));
                        fs::write(building.path().join("a.engine"), "engine").unwrap();
                    }
                    building.finish();
                });
            }
        });
        assert_eq!(built.into_inner(), 1);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let root = root("unwritable");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let error = Engines::open(&root.join("file"), key()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        // Root may write everywhere.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o555)).unwrap();
        if fs::write(root.join("probe"), "").is_err() {
            let error = Engines::open(&root, key()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_dir_all(root).unwrap();
    }
}
