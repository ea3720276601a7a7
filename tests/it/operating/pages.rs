//! What the pages name is there.

use std::path::{Path, PathBuf};

use angarium_api::config::setting;
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the workspace").to_owned()
}

/// README and the pages beside it, with where they are.
fn pages() -> Vec<(PathBuf, String)> {
    let folder = root().join("api/docs");
    let beside = std::fs::read_dir(folder).expect("the pages are there").map(|entry| entry.expect("it reads").path());
    let paths = beside.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let all = std::iter::once(root().join("README.md")).chain(paths);
    all.map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a page reads"))).collect()
}

/// The first group of every match in every page, with the page.
fn named(pattern: &str) -> Vec<(PathBuf, String)> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let of_page = |(path, text): (PathBuf, String)| {
        let all: Vec<_> = pattern.captures_iter(&text).map(|found| (path.clone(), found[1].to_owned())).collect();
        all
    };
    let all: Vec<_> = pages().into_iter().flat_map(of_page).collect();
    assert!(!all.is_empty(), "the pattern finds something");
    all
}

#[test]
fn every_variable_is_a_setting() {
    for (page, name) in named(r"\b(ANGARIUM_[A-Z_]+[A-Z])\b") {
        // Kubernetes' own, and the examples of a client.
        if ["ANGARIUM_SERVICE", "ANGARIUM_PORT"].contains(&name.as_str()) {
            continue;
        }
        let is_known = setting::find(&name).or_else(|| setting::find(name.strip_suffix("_FILE")?)).is_some();
        assert!(is_known, "{} names {name}", page.display());
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (page, link) in named(r"\]\(([^)#:]+)\)") {
        let target = page.parent().expect("a page lies in a folder").join(&link);
        assert!(target.exists(), "{} links to {link}", page.display());
    }
}

#[test]
fn every_field_is_in_the_schema() {
    /// Names of others, and in what receivers and logs get.
    const OTHERS: [&str; 3] = ["terminationGracePeriodSeconds", "confirmationUrl", "requestId"];
    let schema = include_str!("../../../schema.graphql");
    for (page, name) in named(r"`([a-z]+(?:[A-Z][a-z]+)+)`") {
        let is_there = schema.contains(&name) || OTHERS.contains(&name.as_str());
        // What the five vendors call it is theirs.
        let is_ours = page.file_name().is_some_and(|file| file != "reference-apis.md" && file != "verifying.md");
        assert!(is_there || !is_ours, "{} names {name}", page.display());
    }
}

#[test]
fn every_promise_has_its_test() {
    let sources = ["tests/it", "dispatcher/src", "entity/src", "api/src/graphql", "api/src", "api/src/app"];
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it reads");
    let promises: Vec<_> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| Promise"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(promises.len() > 10, "the table of promises is there");
    let pattern = Regex::new(r"`([a-z_]+(?:::[a-z_]+)*)(?:::\{([a-z_, ]+)\})?`").expect("a pattern");
    for promise in promises {
        let shown_by = promise.rsplit('|').nth(1).expect("a second column");
        let modules = pattern.captures_iter(shown_by).flat_map(|found| {
            let within = found.get(2).map_or(vec![""], |names| names.as_str().split(", ").collect());
            let module = found[1].replace("::", "/");
            within.into_iter().map(move |name| Path::new(&module).join(name)).collect::<Vec<_>>()
        });
        let modules: Vec<_> = modules.collect();
        assert!(!modules.is_empty(), "{promise}");
        for module in modules {
            let is_tested = sources.iter().any(|source| is_tested(&root().join(source), &module));
            assert!(is_tested, "{} of {promise}", module.display());
        }
    }
}

/// Whether a source has this module, its parent knows of it, and it or one below it has tests; or its parent has a test of
/// this name.
fn is_tested(source: &Path, module: &Path) -> bool {
    const TESTS: [&str; 4] = ["#[test]", "#[tokio::test", "on_both_databases! {", "prop_state_machine! {"];
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let name = module.file_name().and_then(|name| name.to_str()).expect("a name");
    let file = source.join(module).with_extension("rs");
    let parent = file.parent().expect("it lies in a folder");
    let parents = [parent.with_extension("rs"), parent.join("main.rs"), parent.join("lib.rs")].map(|path| read(&path));
    if !file.exists() {
        let of_test =
            Regex::new(&format!(r"#\[(tokio::)?test\b[^\n]*\]\s+(async )?fn {name}\(|\n    async fn {name}\("))
                .expect("a pattern");
        return of_test.is_match(&parents[0]);
    }
    let is_declared = Regex::new(&format!(r"(?m)^(pub(\([a-z]+\))? )?mod {name};$")).expect("a pattern");
    let below = std::fs::read_dir(source.join(module)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut texts = below.chain([file]).map(|path| read(&path));
    parents.iter().any(|parent| is_declared.is_match(parent))
        && texts.any(|text| TESTS.iter().any(|test| text.contains(test)))
}

#[test]
fn a_module_without_tests_and_a_name_of_nothing_show_no_promise() {
    let tested = |source: &str, module: &str| is_tested(&root().join(source), Path::new(module));
    assert!(tested("tests/it", "delivery/week") && tested("dispatcher/src", "machine/governor"));
    assert!(tested("tests/it", "operating/pages/every_promise_has_its_test"));
    for nothing in ["delivery/never", "operating/pages/no_such_test", "main"] {
        assert!(!tested("tests/it", nothing), "{nothing}");
    }
    assert!(!tested("dispatcher/src", "report"), "a module without tests");
}
