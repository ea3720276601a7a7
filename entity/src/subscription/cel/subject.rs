//! What a filter is asked about: an event, its payload read once for all filters.

use super::EvaluationError;

/// Levels of arrays and objects that are looked into.
pub(super) const PAYLOAD_DEPTH_MAX: usize = 128;
/// Bytes of payload that are read for one step.
const BYTES_A_STEP: usize = 64;

/// An event, as filters see it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(super) event_type: String,
    pub(super) channels: Vec<String>,
    pub(super) payload: Result<Json, EvaluationError>,
    cost: u64,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    List(Vec<Json>),
    Map(Vec<(Box<str>, Json)>),
}

impl Subject {
    /// An event with this payload, which is JSON text.
    pub fn new(event_type: &str, channels: &[String], payload: &str) -> Self {
        Self {
            event_type: event_type.to_owned(),
            channels: channels.to_vec(),
            payload: Json::parse(payload),
            cost: u64::try_from(payload.len() / BYTES_A_STEP).unwrap_or(u64::MAX),
        }
    }

    /// Steps that reading the payload was worth.
    pub fn cost(&self) -> u64 {
        self.cost
    }
}

impl Json {
    fn parse(text: &str) -> Result<Self, EvaluationError> {
        let mut reader = Reader { text, place: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.place == text.len() { Ok(value) } else { Err(reader.broken()) }
    }
}

struct Reader<'t> {
    text: &'t str,
    place: usize,
}

impl Reader<'_> {
    /// The stored text is JSON; were it not, nothing would match.
    fn broken(&self) -> EvaluationError {
        EvaluationError::Missing(format!("JSON at byte {} of the payload", self.place))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            self.place += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_there = self.byte() == Some(byte);
        self.place += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Json, EvaluationError> {
        if depth > PAYLOAD_DEPTH_MAX {
            return Err(EvaluationError::PayloadDepth);
        }
        self.skip_space();
        match self.byte() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
                    if self.text[self.place..].starts_with(word) {
                        self.place += word.len();
                        return Ok(value);
                    }
                }
                Err(self.broken())
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, EvaluationError> {
        self.place += 1;
        let mut entries = Vec::new();
        if self.takes(b']') {
            return Ok(Json::List(entries));
        }
        loop {
            entries.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Json::List(entries));
            }
            if !self.takes(b',') {
                return Err(self.broken());
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Json, EvaluationError> {
        self.place += 1;
        let mut entries = Vec::new();
        if self.takes(b'}') {
            return Ok(Json::Map(entries));
        }
        loop {
            self.skip_space();
            if self.byte() != Some(b'"') {
                return Err(self.broken());
            }
            let key = self.string()?;
            if !self.takes(b':') {
                return Err(self.broken());
            }
            entries.push((key, self.value(depth + 1)?));
            if self.takes(b'}') {
                return Ok(Json::Map(entries));
            }
            if !self.takes(b',') {
                return Err(self.broken());
            }
        }
    }

    /// From quote to quote.
    fn string(&mut self) -> Result<Box<str>, EvaluationError> {
        let (start, bytes) = (self.place, self.text.as_bytes());
        let mut end = start + 1;
        let mut is_plain = true;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'"' => break,
                b'\\' => {
                    is_plain = false;
                    end += 2;
                }
                _ => end += 1,
            }
        }
        let quoted = self.text.get(start..=end).ok_or_else(|| self.broken())?;
        self.place = end + 1;
        if is_plain {
            return Ok(quoted[1..quoted.len() - 1].into());
        }
        serde_json::from_str(quoted).map_err(|_| self.broken())
    }

    fn number(&mut self) -> Result<Json, EvaluationError> {
        let rest = &self.text[self.place..];
        let len =
            rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let digits = &rest[..len];
        let number = digits
            .parse()
            .map(Json::Int)
            .or_else(|_| digits.parse().map(Json::Uint))
            .or_else(|_| digits.parse().map(Json::Double))
            .map_err(|_| self.broken())?;
        self.place += len;
        Ok(number)
    }
}
