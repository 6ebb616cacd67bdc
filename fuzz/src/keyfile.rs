// SPDX-License-Identifier: MPL-2.0

use gst::glib;
use gstinstruments::model::internals::parse_keyfile;

/// `data` as a sidecar: what GLib reads from it is read here too, with the same values.
pub fn keyfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let ours = parse_keyfile(text);
    // GLib's strings end at a NUL.
    if text.contains('\0') {
        return;
    }
    let theirs = glib::KeyFile::new();
    if theirs
        .load_from_data(text, glib::KeyFileFlags::NONE)
        .is_err()
    {
        return;
    }
    let ours = ours.unwrap_or_else(|error| panic!("GLib reads what is refused here: {error}"));
    for section in theirs.groups().iter() {
        for key in theirs.keys(section).expect("a section of this file").iter() {
            // GLib refuses escape sequences that it does not know.
            let Ok(expected) = theirs.string(section, key) else {
                continue;
            };
            let found = ours.get(&**section).and_then(|keys| keys.get(&**key));
            assert_eq!(
                found.map(String::as_str),
                Some(expected.as_str()),
                "[{section}] {key}"
            );
        }
    }
}
