//! What is wrong with an input, in a form that a person and a program can act on.

/// Where an input stands: names and indexes from the arguments down, such as `input`, `endpoint`, `create`, `url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// The argument `name`.
    pub fn argument(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// One step down, to the field `name`.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.0.push(name.to_owned());
        path
    }

    /// One step down, to the entry `index` of a list.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.at(&index.to_string())
    }

    /// Several steps down.
    #[must_use]
    pub fn down(&self, steps: impl IntoIterator<Item = String>) -> Self {
        let mut path = self.clone();
        path.0.extend(steps);
        path
    }

    /// The steps.
    pub fn into_steps(self) -> Vec<String> {
        self.0
    }
}

/// Something that is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<C> {
    /// The kind.
    pub code: C,
    /// The same for people: a sentence without its subject, which is the field.
    pub message: String,
    /// Where.
    pub field: Path,
}

impl<C> Problem<C> {
    /// An object that the caller cannot see, be it because there is none.
    pub fn not_found(code: C, field: Path) -> Self {
        Self { code, message: "does not exist".to_owned(), field }
    }
}

/// Codes that every domain has.
pub trait CommonCode: Copy {
    /// The value is empty.
    const BLANK: Self;
    /// The value is malformed.
    const INVALID: Self;
    /// The value is too long.
    const TOO_LONG: Self;
}

/// Collects what is wrong, so that all of it can be told at once.
#[derive(Debug)]
pub struct Problems<C>(Vec<Problem<C>>);

impl<C> Default for Problems<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> Problems<C> {
    /// One more.
    pub fn add(&mut self, code: C, field: &Path, message: impl Into<String>) {
        self.0.push(Problem { code, message: message.into(), field: field.clone() });
    }

    /// One more that was found elsewhere.
    pub fn push(&mut self, problem: Problem<C>) {
        self.0.push(problem);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what another domain found.
    pub fn extend_from<D: Into<C>>(&mut self, other: Problems<D>) {
        self.0.extend(other.0.into_iter().map(|found| Problem {
            code: found.code.into(),
            message: found.message,
            field: found.field,
        }));
    }

    /// `value` if nothing is wrong, else all that is.
    ///
    /// # Errors
    /// The problems.
    pub fn unless_any<T>(self, value: Option<T>) -> Result<T, Vec<Problem<C>>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

impl<C: CommonCode> Problems<C> {
    /// Takes a text of 1 to `len_max` characters that the database can hold.
    pub fn text(&mut self, field: &Path, text: String, len_max: usize) -> Option<String> {
        if text.trim().is_empty() {
            self.add(C::BLANK, field, "is empty");
        } else if text.chars().count() > len_max {
            self.add(C::TOO_LONG, field, format!("is longer than {len_max} characters"));
        } else if text.contains('\0') {
            // PostgreSQL has no way to store it.
            self.add(C::INVALID, field, "holds a NUL character");
        } else {
            return Some(text);
        }
        None
    }

    /// The same where nothing may be given.
    pub fn optional_text(&mut self, field: &Path, text: Option<String>, len_max: usize) -> Option<String> {
        text.and_then(|text| self.text(field, text, len_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Code {
        Blank,
        Invalid,
        TooLong,
    }

    impl CommonCode for Code {
        const BLANK: Self = Self::Blank;
        const INVALID: Self = Self::Invalid;
        const TOO_LONG: Self = Self::TooLong;
    }

    #[test]
    fn all_problems_are_told_at_once_with_the_path_of_each() {
        let (mut problems, input) = (Problems::<Code>::default(), Path::argument("input"));
        assert_eq!(problems.text(&input.at("a"), "ok".to_owned(), 2), Some("ok".to_owned()));
        for text in [" ", "long", "\0"] {
            assert_eq!(problems.text(&input.at("list").item(3), text.to_owned(), 3), None);
        }
        let told = problems.unless_any(Some(())).expect_err("three are wrong");
        assert_eq!(told.iter().map(|p| p.code).collect::<Vec<_>>(), [Code::Blank, Code::TooLong, Code::Invalid]);
        assert_eq!(told[0].field.clone().into_steps(), ["input", "list", "3"]);
    }
}
