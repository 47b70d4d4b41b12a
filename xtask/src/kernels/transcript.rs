//! What the commands wrote, and their exit codes, from one stream with marks between them.
//!
//! A mark stands at the start of a line, after a line end of its own, so that what a command wrote is got back exactly.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use super::shell_quoted;

/// How much of the commands' output is kept, all together; the rest is shown, and counted.
const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a line may be before it is taken in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What a run had to say.
#[derive(Debug)]
pub struct Output {
    /// The release of the kernel it ran on.
    pub kernel: String,
    /// The commands and what they wrote, in order.
    pub commands: Vec<Finished>,
    /// How much was not kept.
    pub lost_bytes: u64,
    /// From the start of the machine to the first command.
    pub boot: Duration,
    /// From the start of the machine to the last command's end.
    pub elapsed: Duration,
}

/// A command that ended with exit code 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The shell line.
    pub command: String,
    /// What it wrote to its standard output and error.
    pub text: String,
}

/// What a line of the stream brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More output, or nothing.
    Going,
    /// The command of this index is about to run.
    Began(usize),
    /// Every command ended with exit code 0.
    Passed,
    /// The command of this index ended with this exit code.
    Failed(usize, i32),
}

/// Reads the stream, and shows the commands' output as it comes.
pub struct Transcript<W: Write> {
    mark: String,
    commands: Vec<String>,
    shown: W,
    finished: Vec<Finished>,
    current: Option<usize>,
    text: String,
    kept_bytes: usize,
    lost_bytes: u64,
    line_end_held: bool,
    in_line: bool,
}

impl<W: Write> Transcript<W> {
    /// For the commands of `script` with the same mark.
    pub fn new(mark: String, commands: Vec<String>, shown: W) -> Self {
        Self {
            mark,
            commands,
            shown,
            finished: Vec::new(),
            current: None,
            text: String::new(),
            kept_bytes: 0,
            lost_bytes: 0,
            line_end_held: false,
            in_line: false,
        }
    }

    /// Takes the next line, or piece of one.
    pub fn take(&mut self, line: &[u8]) -> Step {
        let line = String::from_utf8_lossy(line);
        match line.strip_prefix(&self.mark) {
            Some(rest) => self.marked(rest.trim()),
            None => {
                self.written(&line);
                Step::Going
            }
        }
    }

    fn marked(&mut self, rest: &str) -> Step {
        let mut words = rest.split(' ');
        let word = words.next().unwrap_or_default();
        let index = words.next().and_then(|word| word.parse().ok());
        let code = words.next().and_then(|word| word.parse().ok());
        self.line_end_held = false;
        match (word, index, code) {
            ("begin", Some(index), None) if index < self.commands.len() => {
                self.current = Some(index);
                self.text.clear();
                Step::Began(index)
            }
            ("exit", Some(index), Some(code)) if self.current == Some(index) => {
                self.current = None;
                let text = std::mem::take(&mut self.text);
                self.end_line();
                self.finished.push(Finished {
                    command: self.commands[index].clone(),
                    text,
                });
                match (code, index + 1 == self.commands.len()) {
                    (0, true) => Step::Passed,
                    (0, false) => Step::Going,
                    (code, _) => Step::Failed(index, code),
                }
            }
            _ => Step::Going,
        }
    }

    /// A line's end is held back until the next line: the one before a mark is the mark's own.
    fn written(&mut self, line: &str) {
        if self.current.is_none() {
            return;
        }
        let line_end_held = std::mem::take(&mut self.line_end_held);
        let (text, line_end) = match line.strip_suffix('\n') {
            Some(text) => (text, true),
            None => (line, false),
        };
        if line_end_held {
            self.keep("\n");
        }
        self.keep(text);
        self.line_end_held = line_end;
    }

    fn keep(&mut self, text: &str) {
        self.show(text);
        if self.kept_bytes + text.len() <= OUTPUT_BYTES_MAX {
            self.kept_bytes += text.len();
            self.text.push_str(text);
        } else {
            self.lost_bytes += text.len() as u64;
        }
    }

    fn show(&mut self, text: &str) {
        // Nobody may be reading any longer; the exit codes still count.
        let _ = self.shown.write_all(text.as_bytes());
        let _ = self.shown.flush();
        if let Some(last) = text.chars().last() {
            self.in_line = last != '\n';
        }
    }

    /// Ends the line that is being shown, if one is.
    pub fn end_line(&mut self) {
        if self.in_line {
            self.show("\n");
        }
    }

    /// Shows a line that no command wrote.
    pub fn announce(&mut self, line: &str) {
        self.show(line);
        self.show("\n");
    }

    /// The command that has begun and not ended.
    pub fn current(&self) -> Option<&str> {
        self.current.map(|index| self.commands[index].as_str())
    }

    /// The command of an index.
    pub fn command(&self, index: usize) -> &str {
        &self.commands[index]
    }

    /// What it all came to.
    pub fn into_output(self, kernel: String, boot: Duration, elapsed: Duration) -> Output {
        Output {
            kernel,
            commands: self.finished,
            lost_bytes: self.lost_bytes,
            boot,
            elapsed,
        }
    }
}

/// The shell script that runs the commands up to the first that fails, with marks around each.
pub fn script(mark: &str, commands: &[String]) -> String {
    let mut script = String::from("cd \"$KERNELS_DATA\" || exit\n");
    for (index, command) in commands.iter().enumerate() {
        // The line goes to a shell of its own, so that what it sets, or an `exit` in it, stays in it.
        let line = shell_quoted(command);
        let _ = write!(
            script,
            "printf '\\n%s begin %s\\n' {mark} {index}\n\
             sh -c {line} </dev/null 2>&1\n\
             code=$?\n\
             printf '\\n%s exit %s %s\\n' {mark} {index} $code\n\
             [ $code -eq 0 ] || exit $code\n"
        );
    }
    script
}

/// The next line with its end, or a piece of a long one; empty at the end of the stream.
pub fn next_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn transcript(commands: &[&str]) -> Transcript<Vec<u8>> {
        let commands = commands.iter().map(|&line| line.to_owned()).collect();
        Transcript::new("@1@".to_owned(), commands, Vec::new())
    }

    fn play(transcript: &mut Transcript<Vec<u8>>, stream: &[u8]) -> io::Result<Vec<Step>> {
        let mut steps = Vec::new();
        let mut stream = stream;
        loop {
            let line = next_line(&mut stream)?;
            if line.is_empty() {
                return Ok(steps);
            }
            match transcript.take(&line) {
                Step::Going => {}
                step => steps.push(step),
            }
        }
    }

    #[test]
    fn what_a_command_wrote_is_got_back_exactly() -> io::Result<()> {
        for text in ["", "a", "a\n", "a\n\n", "\n", "\n\na", "@1 begin"] {
            let mut transcript = transcript(&["x"]);
            let stream = format!("boot\n\n@1@ begin 0\n{text}\n@1@ exit 0 0\n");
            let steps = play(&mut transcript, stream.as_bytes())?;
            assert_eq!(steps, [Step::Began(0), Step::Passed]);
            assert_eq!(transcript.finished[0].text, text);
        }
        Ok(())
    }

    #[test]
    fn the_script_runs_up_to_the_first_failure() -> io::Result<()> {
        let commands = [
            "printf 'it'\"'\"'s'",
            "exit 0",
            "echo no >&2; exit 3",
            "echo never",
        ];
        let mut transcript = transcript(&commands);
        let stream = Command::new("sh")
            .args(["-c", &script("@1@", &transcript.commands)])
            .env("KERNELS_DATA", "/")
            .output()?;
        let steps = play(&mut transcript, &stream.stdout)?;
        assert_eq!(
            steps,
            [
                Step::Began(0),
                Step::Began(1),
                Step::Began(2),
                Step::Failed(2, 3)
            ]
        );
        assert_eq!(stream.status.code(), Some(3));
        let texts: Vec<_> = transcript
            .finished
            .iter()
            .map(|f| f.text.as_str())
            .collect();
        assert_eq!(texts, ["it's", "", "no\n"]);
        Ok(())
    }

    #[test]
    fn what_is_not_kept_is_counted() -> io::Result<()> {
        let mut transcript = transcript(&["x"]);
        let text = vec![b'x'; OUTPUT_BYTES_MAX + 1];
        let stream = [b"@1@ begin 0\n", text.as_slice(), b"\n@1@ exit 0 0\n"].concat();
        let steps = play(&mut transcript, &stream)?;
        assert_eq!(steps.last(), Some(&Step::Passed));
        let kept = transcript.finished[0].text.len() as u64;
        assert_eq!(kept + transcript.lost_bytes, text.len() as u64);
        assert!(transcript.lost_bytes > 0);
        Ok(())
    }

    #[test]
    fn a_mark_of_another_run_is_output() -> io::Result<()> {
        let mut transcript = transcript(&["x"]);
        let steps = play(&mut transcript, b"@1@ begin 0\n@2@ exit 0 0\n")?;
        assert_eq!(steps, [Step::Began(0)]);
        assert_eq!(transcript.current(), Some("x"));
        Ok(())
    }
}
