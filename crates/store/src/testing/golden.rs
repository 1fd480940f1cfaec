//! Bytes that may not change under the number of their format. A golden file shows them as text,
//! so that a change is seen where it is reviewed. Knows nothing of any one format.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Bytes of a file that one line of a dump shows.
const BYTES_A_LINE: usize = 32;

/// The bytes of a format as they were when its number was given.
#[derive(Clone, Copy, Debug)]
pub struct Golden<'a> {
    /// What has these bytes, in words.
    pub format: &'a str,
    /// The constant with the number of the format.
    pub number: &'a str,
    /// The name of the golden file.
    pub file: &'a str,
    /// Its content.
    pub text: &'a str,
}

impl Golden<'_> {
    /// Compares what is produced today with the file, line by line.
    ///
    /// # Panics
    /// If they differ.
    pub fn check(&self, found: &str) {
        let (mut old, mut new) = (self.text.lines(), found.lines());
        let mut line = 0;
        loop {
            line += 1;
            match (old.next(), new.next()) {
                (None, None) => return,
                (old, new) if old == new => {}
                (old, new) => {
                    let Self {
                        format,
                        number,
                        file,
                        ..
                    } = self;
                    let (old, new) = (old.unwrap_or("(nothing)"), new.unwrap_or("(nothing)"));
                    panic!(
                        "the bytes of {format} changed: line {line} of testdata/{file} is\n  \
                         {old}\nand today\n  {new}\nWhat older versions wrote and say has the \
                         old bytes: raise {number}, keep the file and its test of reading, put \
                         the new bytes into a file of the new number beside it. All of \
                         today's:\n{found}"
                    );
                }
            }
        }
    }
}

/// Bytes as text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// The bytes that [`hex`] made into text.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits are a byte");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// All files below a directory as text: of each its name and length, then, with their offset, the
/// stretches that are not zero.
///
/// # Errors
/// If a file cannot be read.
pub fn dump(directory: &Path) -> io::Result<String> {
    let mut text = String::new();
    dump_into(&mut text, directory, "")?;
    Ok(text)
}

fn dump_into(text: &mut String, directory: &Path, prefix: &str) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let name = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() {
            dump_into(text, &path, &format!("{name}/"))?;
            continue;
        }
        let content = fs::read(&path)?;
        write!(text, "{name} {}", content.len()).map_err(io::Error::other)?;
        text.push('\n');
        for (number, piece) in content.chunks(BYTES_A_LINE).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                let at = number * BYTES_A_LINE;
                writeln!(text, "  {at:06x} {}", hex(piece)).map_err(io::Error::other)?;
            }
        }
    }
    Ok(())
}

/// Makes the files of a [`dump`] in a directory.
///
/// # Errors
/// If a file cannot be written.
///
/// # Panics
/// If the text is no dump.
pub fn lay_out(dump: &str, directory: &Path) -> io::Result<()> {
    let mut lines = dump.lines().peekable();
    while let Some(head) = lines.next() {
        let (name, length) = head.rsplit_once(' ').expect("a name and a length");
        let mut content = vec![0; length.parse().expect("a length is a number")];
        while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
            let (at, piece) = line.trim().split_once(' ').expect("an offset and bytes");
            let at = usize::from_str_radix(at, 16).expect("an offset is a number");
            let piece = bytes(piece);
            content[at..at + piece.len()].copy_from_slice(&piece);
        }
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_laid_out_as_it_was() -> io::Result<()> {
        let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::create_dir(from.path().join("inside"))?;
        let mut content = vec![0; 10_000];
        (content[0], content[5_000], content[9_999]) = (1, 2, 3);
        fs::write(from.path().join("inside/one"), &content)?;
        fs::write(from.path().join("empty"), [])?;
        let text = dump(from.path())?;
        assert_eq!(text.lines().count(), 5, "{text}");
        lay_out(&text, to.path())?;
        assert_eq!(fs::read(to.path().join("inside/one"))?, content);
        assert_eq!(dump(to.path())?, text);
        Ok(())
    }

    #[test]
    fn a_changed_byte_is_told_with_the_number_to_raise() {
        let golden = Golden {
            format: "letters",
            number: "LETTER_FORMAT",
            file: "letters-1.txt",
            text: "one 01\ntwo 02\n",
        };
        golden.check("one 01\ntwo 02\n");
        for changed in ["one 01\ntwo 03\n", "one 01\n", "one 01\ntwo 02\nthree 03\n"] {
            let failed = std::panic::catch_unwind(|| golden.check(changed));
            let message = failed.expect_err("it differs").downcast::<String>();
            let message = message.expect("a panic with values has text");
            assert!(message.contains("raise LETTER_FORMAT"), "{message}");
            assert!(
                message.contains("the bytes of letters changed"),
                "{message}"
            );
        }
    }
}
