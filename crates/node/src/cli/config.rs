//! The settings file of a node: flat TOML, `key = value` with strings, integers, booleans and
//! lists of strings. What is beyond that is refused by line, never skipped.

use std::collections::BTreeMap;

/// A value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    Text(String),
    Integer(u64),
    Truth(bool),
    List(Vec<String>),
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct ConfigError {
    line: usize,
    why: String,
}

/// The settings of a file, by name; names may be written with `-` or `_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    settings: BTreeMap<String, (usize, Setting)>,
}

impl Config {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut settings = BTreeMap::new();
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let fail = |why: String| ConfigError { line, why };
            let content = raw.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let Some((name, value)) = content.split_once('=') else {
                return Err(fail(format!("expected `name = value`, got `{content}`")));
            };
            let name = name.trim().replace('_', "-");
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(fail(format!("`{name}` is no name of a setting")));
            }
            let setting = value_of(value.trim()).map_err(fail)?;
            if settings.insert(name.clone(), (line, setting)).is_some() {
                return Err(fail(format!("`{name}` was set before")));
            }
        }
        Ok(Self { settings })
    }

    /// Takes a setting out and converts it.
    pub(crate) fn take<T: FromSetting>(&mut self, name: &str) -> Result<Option<T>, ConfigError> {
        let Some((line, setting)) = self.settings.remove(name) else {
            return Ok(None);
        };
        let got = setting.clone();
        T::from_setting(setting)
            .map(Some)
            .ok_or_else(|| ConfigError {
                line,
                why: format!("`{name}`: expected {}, got {got:?}", T::EXPECTED),
            })
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self, known: &[String]) -> Result<(), ConfigError> {
        match self.settings.into_iter().next() {
            None => Ok(()),
            Some((name, (line, _))) => Err(ConfigError {
                line,
                why: format!(
                    "there is no setting `{name}`; known are {}",
                    known.join(", ")
                ),
            }),
        }
    }
}

/// A type that a setting can become.
pub(crate) trait FromSetting: Sized {
    const EXPECTED: &'static str;
    fn from_setting(setting: Setting) -> Option<Self>;
}

impl FromSetting for String {
    const EXPECTED: &'static str = "a string in quotes";
    fn from_setting(setting: Setting) -> Option<Self> {
        match setting {
            Setting::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FromSetting for u64 {
    const EXPECTED: &'static str = "a whole number";
    fn from_setting(setting: Setting) -> Option<Self> {
        match setting {
            Setting::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromSetting for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_setting(setting: Setting) -> Option<Self> {
        match setting {
            Setting::Truth(truth) => Some(truth),
            _ => None,
        }
    }
}

impl FromSetting for Vec<String> {
    const EXPECTED: &'static str = "a list of strings";
    fn from_setting(setting: Setting) -> Option<Self> {
        match setting {
            Setting::List(list) => Some(list),
            _ => None,
        }
    }
}

fn value_of(text: &str) -> Result<Setting, String> {
    let (setting, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (list, rest) = list_of(inner)?;
        (Setting::List(list), rest)
    } else if text.starts_with(['"', '\'']) {
        let (string, rest) = string_of(text)?;
        (Setting::Text(string), rest)
    } else {
        let end = text
            .find(|c: char| c.is_whitespace() || c == '#')
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let setting = match word {
            "true" => Setting::Truth(true),
            "false" => Setting::Truth(false),
            _ => Setting::Integer(word.replace('_', "").parse().map_err(|_| {
                format!(
                    "expected a string in quotes, a whole number, true, false or a list, \
                     got `{word}`"
                )
            })?),
        };
        (setting, rest)
    };
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(setting);
    }
    Err(format!("`{rest}` after the value"))
}

/// The string at the start of `text` and what follows it.
fn string_of(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, c)| c);
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((out, &text[at + c.len_utf8()..])),
            '\\' if quote == '"' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => out.push(escaped),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                other => {
                    let shown = other.map_or_else(String::new, |(_, c)| c.to_string());
                    return Err(format!("the escape `\\{shown}` is not known here"));
                }
            },
            _ => out.push(c),
        }
    }
    Err("a string has no closing quote".to_owned())
}

fn list_of(mut text: &str) -> Result<(Vec<String>, &str), String> {
    let mut list = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(']') {
            return Ok((list, rest));
        }
        if !text.starts_with(['"', '\'']) {
            return Err("a list holds strings in quotes and ends with `]` on its line".to_owned());
        }
        let (item, rest) = string_of(text)?;
        list.push(item);
        text = rest.trim_start();
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None if text.starts_with(']') => {}
            None => return Err("expected `,` or `]` in a list".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn a_file_is_read_with_all_its_sorts_of_values() {
        let text = "# node one\nname = \"n\\\"1\"  # comment\ndata_dir = '/var/lib/x#y'\n\
                    join = [\"a:1\", 'b:2',]\nweight = 1_000\ninsecure = true\n";
        let mut config = Config::parse(text).unwrap();
        assert_eq!(config.take::<String>("name").unwrap().unwrap(), "n\"1");
        assert_eq!(
            config.take::<String>("data-dir").unwrap().unwrap(),
            "/var/lib/x#y"
        );
        assert_eq!(
            config.take::<Vec<String>>("join").unwrap().unwrap(),
            ["a:1", "b:2"]
        );
        assert_eq!(config.take::<u64>("weight").unwrap(), Some(1000));
        assert_eq!(config.take::<bool>("insecure").unwrap(), Some(true));
        assert_eq!(config.take::<bool>("absent").unwrap(), None);
        config.finish(&[]).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("a = 1\n[node]", "line 2: expected `name = value`"),
            ("a = 1\na = 2", "line 2: `a` was set before"),
            ("a = 1.5", "line 1: expected a string in quotes"),
            ("a = \"x", "line 1: a string has no closing quote"),
            ("a = [1]", "line 1: a list holds strings"),
            ("a = 1 2", "line 1: `2` after the value"),
            ("a b = 1", "line 1: `a b` is no name"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let mut config = Config::parse("\nweight = \"2\"\nwait = 1").unwrap();
        let error = config.take::<u64>("weight").unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: `weight`: expected a whole number"),
            "{error}"
        );
        let error = config
            .finish(&["weight".to_owned()])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "line 3: there is no setting `wait`; known are weight"
        );
    }
}
