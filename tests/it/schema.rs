//! The schema as a file: what the linter of others says of it.

use std::process::{Command, Output};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema.graphql");

/// Runs the npm package graphql-schema-linter with all of its rules.
fn lint(path: &str) -> Output {
    Command::new("node")
        .args(["node_modules/graphql-schema-linter/lib/cli.js", path])
        .current_dir(CLIENTS)
        .output()
        .expect("node is installed")
}

#[test]
fn the_schema_passes_every_rule_of_the_linter() {
    let output = lint(SCHEMA);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_linter_finds_a_field_that_is_not_described() {
    let path = std::env::temp_dir().join(format!("angarium-test-{}.graphql", uuid::Uuid::now_v7().simple()));
    std::fs::write(&path, "\"The root.\"\ntype Query {\n  undescribed: Int\n}\n").expect("a file can be written");
    let output = lint(&path.display().to_string());
    std::fs::remove_file(&path).expect("the file is there");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("missing a description"), "{told}");
}
