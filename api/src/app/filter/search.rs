//! Looking for a text in columns.
//!
//! Case    each letter stands for itself, its upper and its lower case, by the tables of Unicode and not by those of the
//!         database: SQLite folds ASCII only, and PostgreSQL what its locale knows. A letter whose other case is several
//!         letters, such as `ß`, has none.
//! Text    all else stands for itself: a pattern is made here and is never the caller's.

use sea_orm::sea_query::{BinOper, Expr, ExprTrait, IntoColumnRef};
use sea_orm::{Condition, DbBackend};

use crate::app::AppError;

/// Fewest characters of a search.
const SEARCH_LEN_MIN: usize = 3;
/// Most characters of a search. SQLite takes patterns of at most 50,000 bytes.
pub const SEARCH_LEN_MAX: usize = 256;

/// Refuses what is not looked for.
///
/// # Errors
/// [`AppError::BadInput`] when the text is shorter than 3 characters, or longer than [`SEARCH_LEN_MAX`].
pub fn check_search(text: &str) -> Result<(), AppError> {
    if text.chars().nth(SEARCH_LEN_MIN - 1).is_none() || text.chars().nth(SEARCH_LEN_MAX).is_some() {
        let message = format!("`search` takes {SEARCH_LEN_MIN} to {SEARCH_LEN_MAX} characters");
        return Err(AppError::BadInput(message));
    }
    if text.contains('\0') {
        // SQLite would search for what stands before it.
        return Err(AppError::BadInput("`search` holds a NUL character, which nothing here does".to_owned()));
    }
    Ok(())
}

/// The condition that one of `columns` holds `text`, in any case.
///
/// # Errors
/// Those of [`check_search`].
pub fn search<C: IntoColumnRef + Copy>(backend: DbBackend, text: &str, columns: &[C]) -> Result<Condition, AppError> {
    check_search(text)?;
    let (operator, pattern) = match backend {
        DbBackend::Postgres => ("~", regex(text)),
        _ => ("GLOB", glob(text)),
    };
    let holds = |column: &C| Expr::col(*column).binary(BinOper::Custom(operator), Expr::val(pattern.clone()));
    Ok(columns.iter().fold(Condition::any(), |any, column| any.add(holds(column))))
}

/// The pattern of `GLOB`.
fn glob(text: &str) -> String {
    let literal = |character| match character {
        '*' | '?' | '[' => format!("[{character}]"),
        other => other.to_string(),
    };
    format!("*{}*", in_any_case(text, literal))
}

/// The regular expression of PostgreSQL.
fn regex(text: &str) -> String {
    in_any_case(text, |character| match character {
        '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '\\' => format!("\\{character}"),
        other => other.to_string(),
    })
}

/// Letters as a set in brackets, which both kinds of pattern have; all else by `literal`.
fn in_any_case(text: &str, literal: impl Fn(char) -> String) -> String {
    let of = |character: char| {
        let cases = cases(character);
        if cases.len() == 1 { literal(character) } else { format!("[{}]", String::from_iter(cases)) }
    };
    text.chars().map(of).collect()
}

fn cases(character: char) -> Vec<char> {
    let upper = single(character.to_uppercase()).unwrap_or(character);
    let lower = single(character.to_lowercase()).unwrap_or(character);
    let mut cases = vec![character];
    for other in [upper, lower, single(upper.to_lowercase()).unwrap_or(upper)] {
        if !cases.contains(&other) {
            cases.push(other);
        }
    }
    cases
}

fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next();
    if letters.next().is_none() { first } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_would_read_otherwise_stands_for_itself() {
        assert_eq!(glob("50% [x]*?_]"), "*50% [[][xX]][*][?]_]*");
        assert_eq!(regex(r"1.[x]*\_^|"), r"1\.\[[xX]\]\*\\_\^\|");
    }

    #[test]
    fn a_letter_stands_for_both_its_cases_if_they_are_one_letter_each() {
        assert_eq!(glob("Äß1"), "*[Ää]ß1*");
        assert_eq!(regex("ÿς"), "[ÿŸ][ςΣσ]");
        let longest = "ς".repeat(SEARCH_LEN_MAX);
        assert!(glob(&longest).len() < 50_000);
    }

    #[test]
    fn a_text_that_is_too_short_too_long_or_holds_nul_is_not_looked_for() {
        for right in ["äöü", &"x".repeat(SEARCH_LEN_MAX)] {
            assert!(check_search(right).is_ok());
        }
        for wrong in ["", "äö", "ab\0c", &"x".repeat(SEARCH_LEN_MAX + 1)] {
            assert!(matches!(check_search(wrong), Err(AppError::BadInput(_))), "{wrong}");
        }
    }
}
