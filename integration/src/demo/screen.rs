//! What the demonstration prints: colours and redrawing on a terminal only.

use std::io::{self, IsTerminal, Write};

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Standard output.
pub struct Screen {
    out: io::Stdout,
    terminal: bool,
    colours: bool,
    /// Lines of the present drawing.
    drawn: usize,
}

impl Screen {
    /// Colours unless `NO_COLOR` is set or the output is no terminal.
    #[must_use]
    pub fn new() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out, terminal, colours, drawn: 0 }
    }

    /// True when drawings are redrawn in place.
    #[must_use]
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// The title of a step.
    ///
    /// # Errors
    /// The output is closed.
    pub fn step(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(BOLD, &format!("== {text}"));
        self.print(&format!("\n{text}\n"))
    }

    /// A command as a person would type it.
    ///
    /// # Errors
    /// The output is closed.
    pub fn command(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(CYAN, &format!("$ {text}"));
        self.print(&format!("{text}\n"))
    }

    /// What was answered.
    ///
    /// # Errors
    /// The output is closed.
    pub fn answer(&mut self, text: &str) -> io::Result<()> {
        self.print(&format!("{}\n", text.trim_end()))
    }

    /// A remark of the demonstration itself.
    ///
    /// # Errors
    /// The output is closed.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(DIM, &format!("# {text}"));
        self.print(&format!("{text}\n"))
    }

    /// The result, good or bad.
    ///
    /// # Errors
    /// The output is closed.
    pub fn result(&mut self, good: bool, text: &str) -> io::Result<()> {
        let text = self.paint(if good { GREEN } else { RED }, text);
        self.print(&format!("{text}\n"))
    }

    /// Draws lines in place of the drawing before, on a terminal.
    ///
    /// # Errors
    /// The output is closed.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.print(&text)?;
        self.drawn = lines.len();
        Ok(())
    }

    /// `[#####-----]` for a part of 1, in `width` cells.
    #[must_use]
    pub fn bar(&self, part: f64, width: u32) -> String {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
        let full = (part.clamp(0.0, 1.0) * f64::from(width)) as usize;
        let rest = (width as usize).saturating_sub(full);
        format!("[{}{}]", self.paint(GREEN, &"#".repeat(full)), self.paint(DIM, &"-".repeat(rest)))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    /// Whatever is drawn stays where it is.
    fn print(&mut self, text: &str) -> io::Result<()> {
        self.drawn = 0;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits_by_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_bar_is_never_wider_than_it_is() {
        let screen = Screen { out: io::stdout(), terminal: false, colours: false, drawn: 0 };
        assert_eq!(screen.bar(0.5, 10), "[#####-----]");
        assert_eq!(screen.bar(7.0, 4), "[####]");
        assert_eq!(screen.bar(f64::NAN, 4), "[----]");
    }
}
