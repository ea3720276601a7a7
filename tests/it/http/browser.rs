//! The playground in a real browser.

use std::path::Path;
use std::process::Stdio;

use angarium_tests::process::Process;
use tokio::process::Command;

const BROWSER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
const PLAYGROUND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../playground/dist/index.html");

/// Every request to another host is blocked and fails the test. The screenshot is kept in the target folder.
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_runs_the_example_and_a_live_subscription_in_the_playground() {
    for needed in [Path::new(BROWSER).join("node_modules"), PLAYGROUND.into()] {
        assert!(needed.exists(), "{} is missing: run `tests/run`", needed.display());
    }
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let process = Process::start(&directory, &["dev"], &[("ANGARIUM_LISTEN", "127.0.0.1:0")]);
    let screenshot = angarium_tests::process::program().with_file_name("playground.png");
    let _ = std::fs::remove_file(&screenshot);
    let output = Command::new("node")
        .arg("playground.mjs")
        .arg(process.base())
        .arg(&screenshot)
        .current_dir(BROWSER)
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("node is installed");
    let (printed, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{complained}");
    assert!(std::fs::metadata(&screenshot).is_ok_and(|file| file.len() > 10_000), "the screenshot was taken");
    drop(process);
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}
