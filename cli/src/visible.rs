// SPDX-License-Identifier: MPL-2.0

//! Names and messages of others, made safe to show.

use std::borrow::Cow;

/// The text with its control characters written out, e.g. `\u{1b}` and `\n`: they would move a terminal's cursor, change
/// its title or end a line. So would the characters that change the direction of the text.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut shown = String::new();
    for letter in text.chars() {
        if is_hidden(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.into()
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        // What XML 1.0 has no place for.
        || matches!(letter, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_all_others_stay() {
        assert_eq!(
            visible("a\u{1b}[2J\n\tb\u{9b}c\u{202e}"),
            r"a\u{1b}[2J\n\tb\u{9b}c\u{202e}"
        );
        let plain = "Größe \\n 'x' \"y\" 日本.mp4";
        assert!(matches!(visible(plain), Cow::Borrowed(text) if text == plain));
    }
}
