// SPDX-License-Identifier: MPL-2.0

//! What a program does outside of its folder, as strace sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// By any of these, set on continuous integration, ONNX Runtime's telemetry is off, too.
const QUIET: [&str; 15] = [
    "CI",
    "TF_BUILD",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "TRAVIS",
    "JENKINS_URL",
    "CODEBUILD_BUILD_ID",
    "BUILDKITE",
    "TEAMCITY_VERSION",
    "APPVEYOR",
    "BITBUCKET_BUILD_NUMBER",
    "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "ORT_RUNNING_UNIT_TESTS",
    "ORT_DISABLE_TELEMETRY",
];

/// What a program and its children did.
#[derive(Debug)]
pub struct Trace {
    pub output: Output,
    folder: PathBuf,
    /// The calls that name a file or ask for a socket.
    calls: Vec<String>,
}

impl Trace {
    /// The calls that asked for a socket of the internet; none was given.
    pub fn sockets(&self) -> Vec<&str> {
        self.calls_with(|call| {
            ["socket(AF_INET,", "socket(AF_INET6,"]
                .iter()
                .any(|family| call.starts_with(family))
        })
    }

    /// The calls that created, changed or opened for writing a file, except devices and what GStreamer has in the folder:
    /// its registry, and the memory in which Orc compiles its loops.
    pub fn writes(&self) -> Vec<&str> {
        self.calls_with(|call| {
            let file = written(call, &self.folder);
            file.is_some_and(|file| {
                let name = file.strip_prefix(&self.folder).ok();
                let name = name.map(Path::to_string_lossy).unwrap_or_default();
                let is_gstreamers =
                    name.starts_with("registry.bin") || name.starts_with("orcexec.");
                !is_gstreamers && !file.starts_with("/dev") && !file.starts_with("/proc")
            })
        })
    }

    /// The calls for which `is` holds.
    pub fn calls_with(&self, is: impl Fn(&str) -> bool) -> Vec<&str> {
        let calls = self.calls.iter().map(String::as_str);
        calls.filter(|call| is(call)).collect()
    }
}

/// Runs `program` in `folder`, which is also its home, without access to the network.
pub fn trace(folder: &Path, program: &str, prepare: impl FnOnce(&mut Command)) -> Trace {
    let log = folder.join("strace.log");
    let mut command = Command::new("strace");
    command
        // `inject` makes each call fail: no test sends anything. `--decode-fds` shows the folders of relative paths.
        .args(["-f", "--seccomp-bpf", "-qq", "--decode-fds=path"])
        .args([
            "-e",
            "trace=%file,socket",
            "-e",
            "inject=socket:error=EACCES",
        ])
        .arg("-o")
        .args([log.as_os_str(), program.as_ref()])
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("TMPDIR");
    for variable in QUIET {
        command.env_remove(variable);
    }
    prepare(&mut command);
    let output = command
        .output()
        .expect("strace is installed by scripts/setup");
    let calls = fs::read_to_string(log).unwrap();
    Trace {
        output,
        folder: folder.to_owned(),
        calls: calls.lines().filter_map(call).map(str::to_owned).collect(),
    }
}

/// The call in a line like `123 openat(AT_FDCWD</home>, "file", O_RDONLY) = 3`.
fn call(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    Some(call.trim_start())
}

/// The file that a call changes.
fn written(call: &str, folder: &Path) -> Option<PathBuf> {
    let (name, arguments) = call.split_once('(')?;
    let changes = match name {
        "open" | "openat" | "openat2" => ["O_WRONLY", "O_RDWR", "O_CREAT"]
            .iter()
            .any(|flag| arguments.contains(flag)),
        _ => [
            "creat", "mkdir", "mknod", "rename", "link", "symlink", "unlink", "rmdir", "truncate",
            "chmod", "chown",
        ]
        .iter()
        .any(|changing| name.starts_with(changing)),
    };
    if !changes {
        return None;
    }
    let (before, rest) = arguments.split_once('"')?;
    let (path, _) = rest.split_once('"')?;
    let base = before
        .split_once('<')
        .and_then(|(_, base)| base.split_once('>'));
    let base = base.map_or(folder, |(base, _)| Path::new(base));
    Some(base.join(path))
}
