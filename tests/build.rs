//! Takes the receiver in Rust out of `api/docs/verifying.md`, so that it is compiled as it stands there.

use std::path::Path;

const PAGE: &str = "../api/docs/verifying.md";

fn main() {
    println!("cargo::rerun-if-changed={PAGE}");
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let (_, rest) = page.split_once("```rust\n").expect("the page has a receiver in Rust");
    let (code, _) = rest.split_once("```\n").expect("it ends");
    let directory = std::env::var("OUT_DIR").expect("cargo says where");
    std::fs::write(Path::new(&directory).join("verifying.rs"), code).expect("the file can be written");
}
