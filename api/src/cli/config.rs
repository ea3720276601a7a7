//! `angarium config`: every setting explained, with its present value.

use clap::Args;
use serde_json::{Value, json};

use super::say;
use crate::config::setting::{self, Otherwise, Setting, Takes};
use crate::config::{ConfigError, Effective, Variables, effective};

/// How settings are printed; for people unless something else is asked for.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the reference page, without present values
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Prints, and then tells what is wrong.
pub(super) fn run(variables: &Variables, format: Format) -> Result<(), ConfigError> {
    if format.markdown {
        say(markdown().trim_end());
        return Ok(());
    }
    let (all, wrong) = effective(variables);
    if format.json {
        let settings: Vec<_> = all.iter().map(to_json).collect();
        let problems: Vec<_> = wrong
            .as_ref()
            .err()
            .map(|error| &error.0[..])
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        say(format_args!("{:#}", json!({ "settings": settings, "problems": problems })));
    } else {
        let texts: Vec<_> = all.iter().map(to_text).collect();
        say(texts.join("\n"));
    }
    wrong
}

fn to_text(one: &Effective) -> String {
    let (setting, missing) = (one.setting, matches!(one.setting.otherwise, Otherwise::Needed(_)));
    let present = match (&one.value, &one.origin) {
        (Some(value), Some(origin)) => format!("={value}  ({origin})"),
        (Some(value), None) => format!("={value}  (default)"),
        (None, _) if missing => "  (not set; `angarium serve` needs it)".to_owned(),
        (None, _) => "  (not set)".to_owned(),
    };
    format!(
        "{}{present}\n    {}\n    {}; default {}\n",
        setting.name,
        plain(setting.means),
        plain(&takes(setting)),
        plain(&default(setting))
    )
}

fn to_json(one: &Effective) -> Value {
    let setting = one.setting;
    let mut value = json!({
        "name": setting.name,
        "value": one.value,
        "origin": one.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string),
        "means": plain(setting.means),
        "takes": plain(&takes(setting)),
        "default": plain(&default(setting)),
        "needed": matches!(setting.otherwise, Otherwise::Needed(_)),
        "fileName": setting.file_name(),
    });
    if let Takes::Number { unit, min, max } = setting.takes {
        value["range"] = json!({ "unit": unit, "min": min, "max": max });
    }
    if one.value.is_none() {
        value["origin"] = Value::Null;
    }
    value
}

/// What a setting takes, in Markdown.
fn takes(setting: &Setting) -> String {
    match setting.takes {
        Takes::Boolean => "`true` or `false`".to_owned(),
        Takes::Number { unit, min, max } => format!("{min} to {max} {unit}"),
        Takes::OneOf(words) => format!("`{}`", words.join("` or `")),
        Takes::Text(text) => text.to_owned(),
    }
}

fn default(setting: &Setting) -> String {
    match setting.otherwise {
        Otherwise::Value(text) => format!("`{text}`"),
        Otherwise::None(text) => text.to_owned(),
        Otherwise::Needed(of_dev) => format!("none, `serve` needs it; `dev` {of_dev}"),
    }
}

/// Markdown as a terminal has it.
fn plain(markdown: &str) -> String {
    markdown.replace('`', "")
}

/// The reference page, `api/docs/configuration.md`.
fn markdown() -> String {
    let mut page = "\
# Configuration

<!-- Printed by `angarium config --markdown`; a test compares it. -->

Settings are variables of the environment, and lines `NAME=value` of the file that `--config FILE` or
`ANGARIUM_CONFIG_FILE` names (the format of `docker --env-file`: `#` begins a comment line, a value may stand in quotes,
nothing is expanded). The command line comes before the environment, and the environment before the file; an empty value
counts as not set. They are read once, at start.

`angarium config` prints every setting with its present value and where that comes from, secrets hidden; `angarium check`
tries what they name. An unknown `ANGARIUM_` variable is refused by name, so that a typing error is not a default
(`ANGARIUM_SERVICE_*` and `ANGARIUM_PORT*` are not ours: Kubernetes sets them for a Service called `angarium`).

A setting marked † holds a secret. `NAME_FILE` names a file with its value, as secrets are given to containers; `NAME`
itself must not be set then.

| Variable | Default | Takes | Meaning |
|---|---|---|---|
"
    .to_owned();
    for setting in setting::ALL {
        let mark = if setting.file_name().is_some() { " †" } else { "" };
        let row = [&format!("`{}`{mark}", setting.name), &default(setting), &takes(setting), setting.means];
        page.extend(["| ", &row.join(" | "), " |\n"]);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_what_the_program_prints() {
        assert_eq!(
            include_str!("../../docs/configuration.md"),
            markdown(),
            "angarium config --markdown > api/docs/configuration.md"
        );
    }

    #[test]
    fn every_name_in_the_documentation_is_a_setting() {
        let pages = [include_str!("../../../README.md"), include_str!("../../docs/limits.md")];
        let is_letter = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        for name in pages.iter().flat_map(|page| page.split(|letter| !is_letter(letter))) {
            if name.strip_prefix("ANGARIUM_").is_some_and(|rest| !rest.is_empty()) {
                let is_file = |setting: &&Setting| setting.file_name().as_deref() == Some(name);
                assert!(setting::find(name).is_some() || setting::ALL.iter().any(is_file), "{name}");
            }
        }
    }
}
