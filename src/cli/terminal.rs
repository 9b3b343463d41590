//! A terminal by hand: the alternate screen, one frame after another in its place, and everything back at the end.

use std::io::{IsTerminal, Write};

use super::out;
use super::screen::{Line, Style};

/// The alternate screen without a cursor, and the way back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// From the top; what an earlier frame left on a line, and below the last one, goes.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST: &str = "\x1b[J";

/// Whether stdout is a terminal that can be drawn on.
pub fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
    !dumb && std::io::stdout().is_terminal()
}

/// Columns and rows, now.
pub fn size() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(w, h)| (w.0.into(), h.0.into()))
}

/// A screen of its own as long as this lives.
pub struct Terminal(());

impl Terminal {
    pub fn enter() -> Self {
        put(ENTER);
        Self(())
    }

    /// Draws a frame in the place of the last one; whether the terminal is still there.
    pub fn show(&self, frame: &str) -> bool {
        put(frame)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        put(LEAVE);
    }
}

/// A frame as one piece, so that nobody sees half of it.
pub fn frame(lines: &[Line]) -> String {
    let colour = |style: Style| match style {
        Style::Plain => None,
        Style::Head => Some("1"),
        Style::Dim => Some("2"),
        Style::Warn => Some("33"),
        Style::Wrong => Some("31;1"),
    };
    let paint = |l: &Line| colour(l.style).map_or_else(|| l.text.clone(), |code| out::colour(&l.text, code));
    let mut text = String::from(HOME);
    for (i, l) in lines.iter().enumerate() {
        // Never after the last line: the terminal would scroll.
        text.push_str(if i > 0 { "\r\n" } else { "" });
        text.push_str(&paint(l));
        text.push_str(REST_OF_LINE);
    }
    text.push_str(REST);
    text
}

fn put(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_at_home_clears_what_was_and_does_not_scroll() {
        let line = |text: &str| Line { style: Style::Plain, text: text.into() };
        assert_eq!(frame(&[line("a"), line("b")]), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        assert_eq!(frame(&[]), "\x1b[H\x1b[J");
    }
}
