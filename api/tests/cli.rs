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

#[test]
fn config_tells_what_is_in_force_and_hides_secrets() {
    let key = format!("sk_live_{}", "ab".repeat(32));
    let settings = [("ANGARIUM_ADMIN_KEY", &*key), ("ANGARIUM_DATABASE_URL", "postgres://ann:hush@db/x")];
    let printed = angarium(&["config"], &settings);
    let said = String::from_utf8(printed.stdout).expect("text");
    assert!(printed.status.success() && said.contains("postgres://ann:***@db/x  (environment)"), "{said}");
    assert!(!said.contains("hush") && !said.contains(&key), "{said}");
    let printed = angarium(&["config", "--json"], &[("ANGARIUM_ARBITERS", "0")]);
    assert_eq!(printed.status.code(), Some(2), "a setting is wrong");
    let said: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert!(said["problems"][0].as_str().is_some_and(|text| text.contains("ANGARIUM_ARBITERS")), "{said}");
}

#[test]
fn a_configuration_file_is_read_and_its_mistakes_told_by_line() {
    let path = std::env::temp_dir().join(format!("angarium-config-{}", std::process::id()));
    std::fs::write(&path, "ANGARIUM_LOG=debug\nANGARIUM_LISTEM=127.0.0.1:0\nANGARIUM_LOG=info\n").expect("written");
    let path = path.to_str().expect("text");
    for refused in
        [angarium(&["config", "--config", path], &[]), angarium(&["config"], &[("ANGARIUM_CONFIG_FILE", path)])]
    {
        let said = String::from_utf8(refused.stderr).expect("text");
        assert_eq!(refused.status.code(), Some(2));
        assert!(said.contains(&format!("{path}:3")) && said.contains("did you mean ANGARIUM_LISTEN?"), "{said}");
        assert!(String::from_utf8(refused.stdout).expect("text").contains(&format!("ANGARIUM_LOG=debug  ({path}:1)")));
    }
    std::fs::remove_file(path).expect("it was there");
}

#[test]
fn completions_are_printed_for_a_shell() {
    let printed = angarium(&["completions", "bash"], &[]);
    let said = String::from_utf8(printed.stdout).expect("text");
    assert!(printed.status.success() && said.contains("listen"), "{said}");
    assert_eq!(angarium(&["completions", "tcsh"], &[]).status.code(), Some(2));
}
