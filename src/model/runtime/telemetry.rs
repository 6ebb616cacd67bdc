// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime's telemetry: off, unless the user asks for it.

use std::{
    env,
    ffi::{CStr, c_char},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// Set to `1`, it turns telemetry off; set to anything else, the user has chosen, and it is left alone.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
const OFF: &CStr = c"ORT_DISABLE_TELEMETRY=1";

/// Turns ONNX Runtime's telemetry off for this process and its children, unless the environment has
/// `ORT_DISABLE_TELEMETRY` already. To be called before the library is loaded.
///
/// From 1.29 on the official builds for Linux create a device id and a database below `$XDG_CACHE_HOME/Microsoft` and a
/// file `/tmp/.ses` together with their environment, and send what they know of the process, its models and its runs.
/// `DisableTelemetryEvents` of their interface comes after that and leaves some of the events on, so that only the
/// variable keeps everything away.
pub fn disable_telemetry() {
    if env::var_os(VARIABLE).is_none() {
        add(OFF);
    }
}

/// Adds `NAME=value` to the environment of a process in which other threads may run.
///
/// A model is often opened while the application's threads run, and glibc before 2.41 lets `setenv` free the array that
/// another thread's `getenv` is reading. There is no moment in a plugin's life at which that cannot be: it is loaded by
/// the first pipeline that needs it. So the array is not changed but replaced by a longer copy. Readers of the old one are safe,
/// because it stays as it was, and later calls of `setenv` copy ours in turn. If another thread changes the environment
/// in the same instant, one of the two changes may be lost; neither can crash.
fn add(variable: &CStr) {
    unsafe extern "C" {
        /// POSIX's array of pointers to `NAME=value`, which ends with a null pointer.
        static environ: AtomicPtr<*const c_char>;
    }
    // Never freed: the environment refers to both from now on.
    let variable = variable.to_owned().into_raw().cast_const();
    // SAFETY: the C library defines the variable, which is a pointer; others write it with plain stores.
    let array = unsafe { &environ };
    loop {
        let current = array.load(Ordering::Acquire);
        // SAFETY: it is null or points to an array that ends with a null pointer.
        let entries = (0..)
            .take_while(|_| !current.is_null())
            .map(|index| unsafe { *current.add(index) })
            .take_while(|entry| !entry.is_null());
        let ends = [variable, ptr::null()];
        let copy: Vec<*const c_char> = entries.chain(ends).collect();
        let copy = Vec::leak(copy).as_mut_ptr();
        let replaced = array.compare_exchange(current, copy, Ordering::AcqRel, Ordering::Acquire);
        if replaced.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    #[test]
    fn the_environment_keeps_what_it_had_and_can_be_changed_afterwards() {
        let before: Vec<_> = env::vars_os().collect();
        add(c"INSTRUMENTS_TEST=a=b");
        let added = iter::once(("INSTRUMENTS_TEST".into(), "a=b".into()));
        let expected: Vec<_> = before.iter().cloned().chain(added).collect();
        assert_eq!(env::vars_os().collect::<Vec<_>>(), expected);
        // SAFETY: this variable is this test's alone.
        unsafe { env::set_var("INSTRUMENTS_TEST_2", "c") };
        let value = |name| env::var(name).ok();
        assert_eq!(value("INSTRUMENTS_TEST").as_deref(), Some("a=b"));
        assert_eq!(value("INSTRUMENTS_TEST_2").as_deref(), Some("c"));
        // SAFETY: as above.
        unsafe {
            env::remove_var("INSTRUMENTS_TEST");
            env::remove_var("INSTRUMENTS_TEST_2");
        }
        assert_eq!(env::vars_os().collect::<Vec<_>>(), before);
    }
}
