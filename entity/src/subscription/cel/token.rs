//! Words of a filter.

/// A word and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) at: usize,
    pub(super) word: Word<'t>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word<'t> {
    Name(&'t str),
    /// Digits, or `0x` and hex digits; the sign is an operator.
    Int(&'t str),
    /// The same with a `u` at its end, which is left out.
    Uint(&'t str),
    Double(&'t str),
    Text(String),
    /// An operator or a bracket.
    Mark(&'static str),
    End,
}

/// What is wrong, and at which byte.
pub(super) type Wrong = (usize, String);

/// Longer ones first.
const MARKS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}", "+", "-", "*",
    "/",
];

/// Splits a filter into words; the last is [`Word::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (word, len) = word(text, at)?;
            tokens.push(Token { at, word });
            at += len;
        }
    }
    tokens.push(Token { at, word: Word::End });
    Ok(tokens)
}

fn word(text: &str, at: usize) -> Result<(Word<'_>, usize), Wrong> {
    let rest = &text[at..];
    let bytes = rest.as_bytes();
    let follows = |place: usize, set: &[u8]| bytes.get(place).is_some_and(|byte| set.contains(byte));
    if bytes[0].is_ascii_digit() || (bytes[0] == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit)) {
        return number(rest, at);
    }
    if follows(0, b"'\"") {
        return string(rest, at, 0, false);
    }
    if follows(0, b"rR") && follows(1, b"'\"") {
        return string(rest, at, 1, true);
    }
    if follows(0, b"bB") && (follows(1, b"'\"") || (follows(1, b"rR") && follows(2, b"'\""))) {
        return Err((at, "bytes are not supported; write a string, without the `b`".to_owned()));
    }
    if bytes[0].is_ascii_alphabetic() || bytes[0] == b'_' {
        let len = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        return Ok((Word::Name(&rest[..len]), len));
    }
    if bytes[0] == b'%' {
        return Ok((Word::Mark("%"), 1));
    }
    if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
        return Ok((Word::Mark(mark), mark.len()));
    }
    let first = rest.chars().next().unwrap_or_default();
    Err((
        at,
        match first {
            '=' => "`=` is not an operator; to compare write `==`".to_owned(),
            '&' => "`&` is not an operator; for “and” write `&&`".to_owned(),
            '|' => "`|` is not an operator; for “or” write `||`".to_owned(),
            '`' => "names in backticks are not supported; write `[\"the-name\"]` without a dot".to_owned(),
            other => format!("`{}` is not part of the language outside of a string", other.escape_debug()),
        },
    ))
}

fn number(rest: &str, at: usize) -> Result<(Word<'_>, usize), Wrong> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_hex = bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'X'));
    let (mut len, mut is_double) = (0, false);
    if is_hex {
        len = 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    } else {
        len += digits(0);
        if bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
            len += 1 + digits(len + 1);
            is_double = true;
        }
        if matches!(bytes.get(len), Some(b'e' | b'E')) {
            let signed = len + 1 + usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
            if bytes.get(signed).is_some_and(u8::is_ascii_digit) {
                len = signed + digits(signed);
                is_double = true;
            }
        }
    }
    let is_uint = !is_double && matches!(bytes.get(len), Some(b'u' | b'U'));
    let end = len + usize::from(is_uint);
    if bytes.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err((at, "is not a number; names do not start with a digit".to_owned()));
    }
    let digits = &rest[..len];
    Ok(match (is_double, is_uint) {
        (true, _) => (Word::Double(digits), end),
        (_, true) => (Word::Uint(digits), end),
        _ => (Word::Int(digits), end),
    })
}

/// A string whose quote is at `quote`.
fn string(rest: &str, at: usize, quote: usize, is_raw: bool) -> Result<(Word<'_>, usize), Wrong> {
    let mark = &rest[quote..=quote];
    let triple = mark.repeat(3);
    let is_long = rest[quote..].starts_with(&triple);
    let end = if is_long { triple.as_str() } else { mark };
    let mut place = quote + end.len();
    let mut text = String::new();
    loop {
        let left = &rest[place..];
        if left.starts_with(end) {
            return Ok((Word::Text(text), place + end.len()));
        }
        let Some(next) = left.chars().next() else {
            return Err((at, format!("the string has no end; close it with {end}")));
        };
        match next {
            '\n' | '\r' if !is_long => {
                return Err((at, format!("the string does not end on its line; close it with {end}, or write \\n")));
            }
            '\\' if !is_raw => {
                let (decoded, len) = escape(&left[1..]).ok_or_else(|| {
                    let hint = "is not an escape; write \\\\ for a backslash, or r'…' for a string without escapes";
                    (at + place, hint.to_owned())
                })?;
                text.push(decoded);
                place += 1 + len;
            }
            other => {
                text.push(other);
                place += other.len_utf8();
            }
        }
    }
}

/// The character that an escape means, and how long it is without its backslash.
fn escape(rest: &str) -> Option<(char, usize)> {
    let first = rest.chars().next()?;
    let coded = |from: usize, len: usize, radix: u32| {
        let digits = rest.get(from..from + len)?;
        let is_digits = digits.chars().all(|digit| digit.is_digit(radix));
        let code = is_digits.then(|| u32::from_str_radix(digits, radix).ok())??;
        Some((char::from_u32(code)?, from + len))
    };
    let plain = match first {
        '\\' | '\'' | '"' | '`' | '?' => first,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' | 'X' => return coded(1, 2, 16),
        'u' => return coded(1, 4, 16),
        'U' => return coded(1, 8, 16),
        '0'..='3' => return coded(0, 3, 8),
        _ => return None,
    };
    Some((plain, 1))
}
