//! The program itself. That this test exists makes cargo build it for every test of the workspace.

use std::process::{Command, Output};

fn angarium(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_angarium"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(settings.iter().copied()).output().expect("the program runs")
}

#[test]
fn schema_prints_what_the_server_speaks() {
    let printed = angarium(&["schema"], &[]);
    assert!(printed.status.success());
    assert_eq!(String::from_utf8(printed.stdout).expect("text"), angarium_api::graphql::sdl());
}

#[test]
fn serve_refuses_to_start_without_what_it_needs_and_names_the_variables() {
    let refused = angarium(&["serve"], &[]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && refused.stdout.is_empty());
    for name in ["ANGARIUM_DATABASE_URL", "ANGARIUM_ADMIN_KEY", "ANGARIUM_ENCRYPTION_KEY"] {
        assert!(said.contains(name), "{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn an_unknown_variable_is_refused_by_name() {
    let refused = angarium(&["check"], &[("ANGARIUM_LISTEM", "127.0.0.1:0")]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && said.contains("ANGARIUM_LISTEM"), "{said}");
}
