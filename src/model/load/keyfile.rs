// SPDX-License-Identifier: MPL-2.0
//! Sidecar files (`MODEL.onnx.modelinfo`), in GLib's key file syntax.

use std::collections::BTreeMap;

/// Sections with their keys and values.
pub type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Parses `[section]` headers, `key=value` lines and `#` comments; values may hold `\n`, `\t`, `\r`, `\s` and `\\`.
///
/// # Errors
/// A sentence that names the line.
pub fn parse(text: &str) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut current = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.trim_ascii_end().strip_suffix(']'))
        {
            current = Some(sections.entry(name.to_owned()).or_default());
            continue;
        }
        let (Some(section), Some((key, value))) = (current.as_mut(), line.split_once('=')) else {
            return Err(format!(
                "line {number} (`{line}`) is neither [section], key=value nor # comment"
            ));
        };
        section.insert(
            key.trim_ascii_end().to_owned(),
            unescape(value.trim_ascii_start()),
        );
    }
    Ok(sections)
}

fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('s') => text.push(' '),
            Some('\\') | None => text.push('\\'),
            Some(other) => text.extend(['\\', other]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sections_comments_and_escapes() {
        let text = "# made by hand\n[modelinfo]\nversion=1.0\n\n[instruments]\nlabels = Guitar\\nSteel\\sdrum\\\\x\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections["modelinfo"]["version"], "1.0");
        assert_eq!(sections["instruments"]["labels"], "Guitar\nSteel drum\\x");
    }

    #[test]
    fn names_the_line_that_means_nothing() {
        assert!(
            parse("[instruments]\nlabels\n")
                .unwrap_err()
                .contains("line 2 (`labels`)")
        );
        assert!(parse("version=1\n").unwrap_err().contains("line 1"));
    }
}
