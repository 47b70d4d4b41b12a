//! Text from outside, on its way to a terminal.

use std::borrow::Cow;

/// The text with its control characters escaped: a file's name must not move the cursor, colour the screen or fake a
/// line of output. So must not the marks that turn the direction of writing.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hostile(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_hostile_changes() {
        assert_eq!(
            printable("Mitschnitt (Büro) 1.pcap"),
            "Mitschnitt (Büro) 1.pcap"
        );
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}c\u{9b}"),
            "a\\u{1b}[2J\\nb\\u{202e}c\\u{9b}"
        );
    }
}
