//! Documents that were parsed a while ago. A client sends the same few again and again, and parsing one takes as long as
//! signing and sending a delivery does, and copying what was parsed next to nothing (`tests/benches/graphql.rs`).
//!
//! Two generations: what is asked for moves to the young one, and when that is full, the old one is dropped. So whoever
//! sends each document once takes no more than their room, and costs the others a parse each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::ExecutableDocument;

/// Longest document that is kept. What is parsed takes some twenty times as much as its text.
const BYTES_MAX: usize = 4 * 1024;
/// Most documents of a generation.
const GENERATION_MAX: usize = 128;

/// Documents that may be executed, by their texts.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Arc<str>, Arc<ExecutableDocument>>,
    old: HashMap<Arc<str>, Arc<ExecutableDocument>>,
}

impl Documents {
    /// A document that was kept.
    pub(super) fn get(&self, text: &str) -> Option<Arc<ExecutableDocument>> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = generations.young.get(text) {
            return Some(document.clone());
        }
        let (text, document) = generations.old.remove_entry(text)?;
        generations.keep(text, document.clone());
        Some(document)
    }

    /// Keeps a document that has passed every check which does not depend on variables, unless it is long.
    pub(super) fn put(&self, text: &str, document: &ExecutableDocument) {
        if text.len() > BYTES_MAX {
            return;
        }
        let document = Arc::new(document.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(text.into(), document);
    }
}

impl Generations {
    fn keep(&mut self, text: Arc<str>, document: Arc<ExecutableDocument>) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, document);
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn put(documents: &Documents, text: &str) {
        documents.put(text, &parse_query(text).expect("it parses"));
    }

    #[test]
    fn a_document_that_is_in_use_stays_and_others_make_room() {
        let documents = Documents::default();
        put(&documents, "{used}");
        put(&documents, "{unused}");
        for number in 0..4 * GENERATION_MAX {
            put(&documents, &format!("{{a{number}}}"));
            assert!(documents.get("{used}").is_some(), "after {number} others");
        }
        assert!(documents.get("{unused}").is_none());
        let generations = documents.0.lock().expect("no test panics here");
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_MAX);
    }

    #[test]
    fn a_long_document_is_not_kept() {
        let documents = Documents::default();
        let long = format!("{{a #{}\n}}", "x".repeat(BYTES_MAX));
        put(&documents, &long);
        assert!(documents.get(&long).is_none());
    }
}
