//! Which fields of a payload a subscription is sent.
//!
//! They are cut out of the published text: what is kept is kept to the letter, in the order of the payload, every digit
//! and escape of it. Only names are decoded, to compare them.

/// Most fields of a subscription.
pub const COUNT_MAX: usize = 100;
/// Most characters of a field's name.
pub const NAME_LEN_MAX: usize = 256;

/// The payload with these of its top-level fields; a field that it has not is left out. A payload that is no object has
/// no fields, and becomes `{}`: what was not asked for is not sent.
pub fn cut(payload: &str, fields: &[String]) -> String {
    let mut kept = String::with_capacity(payload.len().min(4096));
    kept.push('{');
    for (name, member) in Members::of(payload) {
        let is_wanted = match decoded(name) {
            Some(name) => fields.iter().any(|field| *field == name),
            None => false,
        };
        if is_wanted {
            if kept.len() > 1 {
                kept.push(',');
            }
            kept.push_str(member);
        }
    }
    kept.push('}');
    kept
}

/// What a JSON string says.
fn decoded(quoted: &str) -> Option<std::borrow::Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str::<String>(quoted).ok().map(Into::into);
    }
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.into())
}

/// The members of a JSON object, each as the text of its name and of the whole of it. The text is JSON; of one that is
/// not, what comes before the first fault.
struct Members<'t> {
    text: &'t str,
    place: usize,
}

impl<'t> Members<'t> {
    fn of(payload: &'t str) -> Self {
        let mut members = Self { text: payload, place: 0 };
        members.skip_space();
        // Of what is no object nothing is left.
        let is_object = members.byte() == Some(b'{');
        members.place = if is_object { members.place + 1 } else { payload.len() };
        members
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            self.place += 1;
        }
    }

    /// Past a string whose quote is here.
    fn skip_string(&mut self) {
        self.place += 1;
        while let Some(byte) = self.byte() {
            self.place += 1;
            match byte {
                b'"' => return,
                b'\\' => self.place += 1,
                _ => {}
            }
        }
    }

    /// To the comma or the bracket that ends the present member.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b',' | b'}' | b']' if depth == 0 => return,
                _ => {}
            }
            self.place += 1;
        }
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_space();
        if self.byte() == Some(b',') {
            self.place += 1;
            self.skip_space();
        }
        if self.byte() != Some(b'"') {
            return None;
        }
        let start = self.place;
        self.skip_string();
        let name = self.text.get(start..self.place)?;
        self.skip_value();
        let member = self.text.get(start..self.place)?.trim_end_matches([' ', '\n', '\r', '\t']);
        Some((name, member))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    fn cut_to(payload: &str, fields: &[&str]) -> String {
        cut(payload, &fields.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_kept_is_kept_to_the_letter_and_in_its_order() {
        let payload = r#"{"b":1.0,"a":{"z":1e400,"k":"é\u00e9"},"c":[1,{"b":2}],"d":"},{\"b\":\\"}"#;
        assert_eq!(cut_to(payload, &["a", "b"]), r#"{"b":1.0,"a":{"z":1e400,"k":"é\u00e9"}}"#);
        assert_eq!(cut_to(payload, &["d", "c", "none"]), r#"{"c":[1,{"b":2}],"d":"},{\"b\":\\"}"#);
        assert_eq!(cut_to(payload, &["a", "b", "c", "d"]), payload);
        assert_eq!(cut_to(payload, &["z", "k"]), "{}", "only the fields at the top count");
        assert_eq!(cut_to(r#"{"\u0061":1,"x\"y":2}"#, &["a", "x\"y"]), r#"{"\u0061":1,"x\"y":2}"#);
        assert_eq!(cut_to(" { \"a\" : 1 , \"b\" : 2 } ", &["b"]), "{\"b\" : 2}");
    }

    #[test]
    fn a_payload_that_is_no_object_has_no_fields() {
        for payload in ["null", "1", "[{\"a\":1}]", "\"{\\\"a\\\":1}\"", "", "{", "{\"a\"", "{\"a\\"] {
            assert_eq!(cut_to(payload, &["b"]), "{}", "{payload}");
        }
    }

    /// Random objects: the fields that are kept say what they said before, and no others are there.
    #[test]
    fn cutting_is_choosing() {
        let mut chance = StdRng::seed_from_u64(11);
        for _ in 0..2_000 {
            let object: serde_json::Map<String, serde_json::Value> =
                (0..chance.random_range(0..6)).map(|_| (text(&mut chance), value(&mut chance, 3))).collect();
            let fields: Vec<String> = object.keys().filter(|_| chance.random_bool(0.5)).cloned().collect();
            let payload = serde_json::Value::Object(object.clone()).to_string();
            let wanted: serde_json::Map<_, _> = object.into_iter().filter(|(name, _)| fields.contains(name)).collect();
            assert_eq!(cut(&payload, &fields), serde_json::Value::Object(wanted).to_string(), "{payload} {fields:?}");
        }
    }

    fn text(chance: &mut StdRng) -> String {
        let letters = ['a', 'b', '"', '\\', '{', '}', '[', ',', ':', 'é', '\n', '\u{0}', '𝄞'];
        (0..chance.random_range(0..5)).map(|_| letters[chance.random_range(0..letters.len())]).collect()
    }

    fn value(chance: &mut StdRng, depth: usize) -> serde_json::Value {
        match chance.random_range(0..if depth == 0 { 4 } else { 6 }) {
            0 => serde_json::Value::Null,
            1 => chance.random_bool(0.5).into(),
            2 => chance.random_range(-1_000..1_000).into(),
            3 => text(chance).into(),
            4 => (0..chance.random_range(0..4)).map(|_| value(chance, depth - 1)).collect(),
            _ => serde_json::Value::Object(
                (0..chance.random_range(0..4)).map(|_| (text(chance), value(chance, depth - 1))).collect(),
            ),
        }
    }
}
