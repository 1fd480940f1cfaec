//! Lines of a file with their numbers, none longer than a limit.
//!
//! Knows nothing of what stands on a line. A line ends with LF or CRLF; the last may lack it.

use std::io::{self, BufRead, Read};

/// Bytes of one line or record at most. A row has at most 400 KiB, and text for it at most six
/// times as many (`\u0000`), base64 and digits less; beyond this a closing quote was forgotten.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;

/// A line without its end, or why it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counts from 1, blank lines included.
    pub(crate) number: u64,
    pub(crate) text: Result<String, String>,
    /// What it ended with: it is part of a cell when the line ends within quotes.
    pub(crate) end: &'static str,
}

/// The lines of a file.
pub(crate) struct Lines {
    input: Box<dyn BufRead>,
    number: u64,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(input: Box<dyn BufRead>) -> Self {
        Self {
            input,
            number: 0,
            ended: false,
        }
    }

    fn read(&mut self) -> io::Result<Option<(Result<String, String>, &'static str)>> {
        let mut bytes = Vec::new();
        let mut limited = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 2);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let whole = bytes.ends_with(b"\n");
        let end = match bytes.as_slice() {
            [.., b'\r', b'\n'] => "\r\n",
            [.., b'\n'] => "\n",
            _ => "",
        };
        bytes.truncate(bytes.len() - end.len());
        if bytes.len() > LINE_BYTES_MAX {
            if !whole {
                self.input.skip_until(b'\n')?;
            }
            let reason = format!("expected a line of at most {LINE_BYTES_MAX} bytes");
            return Ok(Some((Err(reason), end)));
        }
        let start = if self.number == 0 && bytes.starts_with("\u{feff}".as_bytes()) {
            "\u{feff}".len()
        } else {
            0
        };
        let text = String::from_utf8(bytes.split_off(start)).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("expected UTF-8, found another byte at {at}")
        });
        Ok(Some((text, end)))
    }
}

impl Iterator for Lines {
    type Item = Line;

    /// A file that cannot be read any further ends with the reason.
    fn next(&mut self) -> Option<Line> {
        if self.ended {
            return None;
        }
        let (text, end) = match self.read() {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                self.ended = true;
                (
                    Err(format!("cannot be read, nor what follows: {error}")),
                    "",
                )
            }
        };
        self.number += 1;
        Some(Line {
            number: self.number,
            text,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::io::Cursor;

    use super::*;

    fn lines(bytes: impl Into<Vec<u8>>) -> Vec<Line> {
        Lines::new(Box::new(Cursor::new(bytes.into()))).collect()
    }

    #[test]
    fn lines_are_counted_whatever_they_end_with() {
        let all = lines("\u{feff}a\r\n\nb\rc\n\u{feff}d");
        let texts: Vec<_> = all
            .iter()
            .map(|line| line.text.as_deref().unwrap())
            .collect();
        assert_eq!(texts, ["a", "", "b\rc", "\u{feff}d"]);
        let numbers: Vec<_> = all.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }

    #[test]
    fn a_line_that_is_no_text_or_too_long_does_not_hide_the_next() {
        let mut bytes = b"a\xff\n".to_vec();
        for more in [0, 1, 2, 1000] {
            bytes.extend(vec![b'x'; LINE_BYTES_MAX + more]);
            bytes.push(b'\n');
        }
        bytes.extend(b"z");
        let all = lines(bytes);
        assert_eq!(
            all[0].text.as_ref().unwrap_err(),
            "expected UTF-8, found another byte at 1"
        );
        assert_eq!(all[1].text.as_ref().unwrap().len(), LINE_BYTES_MAX);
        for line in &all[2..5] {
            let reason = line.text.as_ref().unwrap_err();
            assert_eq!(reason, "expected a line of at most 4194304 bytes");
        }
        assert_eq!((all[5].number, all[5].text.as_deref()), (6, Ok("z")));
    }

    #[test]
    fn a_file_that_breaks_off_ends_with_the_reason() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("corrupt"))
            }
        }
        let input = Cursor::new(b"a\n".to_vec()).chain(io::BufReader::new(Broken));
        let all: Vec<Line> = Lines::new(Box::new(input)).collect();
        assert_eq!(all.len(), 2);
        assert!(all[1].text.as_ref().unwrap_err().ends_with("corrupt"));
    }
}
