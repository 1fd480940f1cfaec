//! A JSON parser that builds item values without an intermediate tree and knows where it is
//! when something is wrong. Knows nothing of what the items are for.

use std::collections::BTreeMap;

use crate::{Decimal, FieldError, NumberError, Value, json};

/// Parses one document from text; paths of errors are built on the way out.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    depth_max: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str, depth_max: usize) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            depth_max,
        }
    }

    /// One value and nothing after it but white space.
    pub(crate) fn document(mut self) -> Result<Value, FieldError> {
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.unexpected("the end of the input"));
        }
        Ok(value)
    }

    fn value(&mut self) -> Result<Value, FieldError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected("a JSON value")),
        }
    }

    fn nested(
        &mut self,
        parse: fn(&mut Self) -> Result<Value, FieldError>,
    ) -> Result<Value, FieldError> {
        if self.depth == self.depth_max {
            let expected = format!("at most {} levels", self.depth_max);
            return Err(FieldError::new(expected, "deeper nesting"));
        }
        self.depth += 1;
        self.at += 1;
        let value = parse(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn map(&mut self) -> Result<Value, FieldError> {
        let mut map = BTreeMap::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a name in quotes"));
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.unexpected("':'").within(&name));
            }
            let value = self.value().map_err(|error| error.within(&name))?;
            if map.contains_key(&name) {
                return Err(FieldError::new("a name only once", "it again").within(&name));
            }
            map.insert(name, value);
            self.skip_space();
            if self.take(b'}') {
                return json::object(map);
            }
            if !self.take(b',') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
    }

    fn list(&mut self) -> Result<Value, FieldError> {
        let mut values = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::List(values));
        }
        loop {
            let value = self
                .value()
                .map_err(|error| error.within_list(values.len()))?;
            values.push(value);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::List(values));
            }
            if !self.take(b',') {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, FieldError> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        let text = &self.text.as_bytes()[start..self.at];
        Decimal::parse(text, true)
            .map(Value::Number)
            .map_err(|error| match error {
                NumberError::Syntax => {
                    FieldError::new("a number", format!("{error} at byte {start}"))
                }
                _ => FieldError::new("a number of at most 38 digits", error.to_string()),
            })
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, FieldError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected("a JSON value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// The string at hand; the common one without escapes is copied in one piece.
    fn string(&mut self) -> Result<String, FieldError> {
        self.at += 1;
        let mut out = String::new();
        let mut start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    out.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    start = self.at;
                }
                Some(0..0x20) => return Err(self.unexpected("an escaped control character")),
                Some(_) => self.at += 1,
                None => return Err(self.unexpected("a closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, FieldError> {
        let simple = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.unexpected("an escape sequence")),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, FieldError> {
        let start = self.at;
        let first = self.hex4()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.unexpected("a low surrogate"));
                }
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(FieldError::new(
                        "a low surrogate",
                        format!("\\u{second:04x}"),
                    ));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| {
            FieldError::new(
                "a high surrogate first",
                format!("\\u{first:04x} at byte {start}"),
            )
        })
    }

    fn hex4(&mut self) -> Result<u32, FieldError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("four hex digits"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn unexpected(&self, expected: &'static str) -> FieldError {
        // The position is at a character's start: the parser stops only at ASCII bytes.
        let found = match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            Some(character) => format!("{character:?} at byte {}", self.at),
            None => "the end of the input".to_owned(),
        };
        FieldError::new(expected, found)
    }
}
