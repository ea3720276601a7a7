//! How large a document is once its fragments are written out.
//!
//! Validation walks the document as if every spread were the fragment itself, before any limit of the schema is
//! asked: thirty fragments of two spreads each are a billion selections in a kilobyte. So this is counted first, in time
//! that grows with the text: each fragment once, those first that spread no other.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// Most selections of a document with its fragments written out. GraphiQL's introspection has about two hundred.
const SELECTIONS_MAX: usize = 10_000;
/// Most fragments within fragments.
const CHAIN_MAX: usize = 64;

/// What is wrong with the document.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TooLarge {
    #[error("the document has more than {SELECTIONS_MAX} selections when its fragments are written out")]
    Selections,
    #[error("fragments are nested deeper than {CHAIN_MAX}, or in a circle")]
    Chain,
}

/// What a selection set holds by itself.
#[derive(Debug, Default)]
struct Own<'a> {
    selections: usize,
    /// Fragments that it spreads, with repetitions.
    spreads: Vec<&'a Name>,
}

impl<'a> Own<'a> {
    /// Its nesting is bounded by that of the brackets.
    fn count(&mut self, set: &'a SelectionSet) {
        for selection in &set.items {
            self.selections = self.selections.saturating_add(1);
            match &selection.node {
                Selection::Field(field) => self.count(&field.node.selection_set.node),
                Selection::InlineFragment(fragment) => self.count(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => self.spreads.push(&spread.node.fragment_name.node),
            }
        }
    }
}

/// Size and chain of a fragment written out.
#[derive(Clone, Copy, Debug, Default)]
struct Expanded {
    selections: usize,
    chain: usize,
}

/// Checks that the document stays within bounds when its fragments are written out.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), TooLarge> {
    let mut waiting: HashMap<&Name, Own> = HashMap::new();
    for (name, fragment) in &document.fragments {
        waiting.entry(name).or_default().count(&fragment.node.selection_set.node);
    }
    let mut known: HashMap<&Name, Expanded> = HashMap::new();
    // A round resolves what spreads only known fragments; more rounds than the longest chain are a circle.
    for _ in 0..=CHAIN_MAX {
        let ready: Vec<&Name> = waiting
            .iter()
            .filter(|(_, own)| own.spreads.iter().all(|name| !waiting.contains_key(name)))
            .map(|(name, _)| *name)
            .collect();
        for name in ready {
            if let Some(own) = waiting.remove(name) {
                known.insert(name, expand(&own, &known)?);
            }
        }
        if waiting.is_empty() {
            break;
        }
    }
    if !waiting.is_empty() {
        return Err(TooLarge::Chain);
    }
    for (_, operation) in document.operations.iter() {
        let mut own = Own::default();
        own.count(&operation.node.selection_set.node);
        expand(&own, &known)?;
    }
    Ok(())
}

/// A spread of a fragment that does not exist counts as nothing; validation tells of it.
fn expand(own: &Own, known: &HashMap<&Name, Expanded>) -> Result<Expanded, TooLarge> {
    let mut whole = Expanded { selections: own.selections, chain: 0 };
    for name in &own.spreads {
        let part = known.get(name).copied().unwrap_or_default();
        whole.selections = whole.selections.saturating_add(part.selections);
        whole.chain = whole.chain.max(part.chain + 1);
        if whole.selections > SELECTIONS_MAX {
            return Err(TooLarge::Selections);
        }
    }
    if whole.selections > SELECTIONS_MAX { Err(TooLarge::Selections) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use async_graphql::parser::parse_query;

    use super::*;

    fn checked(document: &str) -> Result<(), TooLarge> {
        check(&parse_query(document).expect("it parses"))
    }

    /// `count` fragments, each of which spreads the next `times` times.
    fn doubling(count: usize, times: usize) -> String {
        let mut document = "{...F0}".to_owned();
        for index in 0..count {
            let spreads = format!("...F{} ", index + 1).repeat(times);
            write!(document, " fragment F{index} on Query{{{spreads}}}").expect("a String takes every write");
        }
        document + &format!(" fragment F{count} on Query{{__typename}}")
    }

    #[test]
    fn fragments_that_double_each_other_are_refused_at_once() {
        assert_eq!(checked(&doubling(5, 2)), Ok(()));
        assert_eq!(checked(&doubling(28, 2)), Err(TooLarge::Selections));
        assert_eq!(checked(&doubling(60, 9)), Err(TooLarge::Selections));
    }

    #[test]
    fn a_flat_fan_out_is_refused_too() {
        let flat = |spreads: usize, fields: usize| {
            format!("{{{}}} fragment A on Query{{{}}}", "...A ".repeat(spreads), "__typename ".repeat(fields))
        };
        assert_eq!(checked(&flat(50, 50)), Ok(()));
        assert_eq!(checked(&flat(500, 500)), Err(TooLarge::Selections));
    }

    #[test]
    fn a_long_chain_and_a_circle_are_refused() {
        assert_eq!(checked(&doubling(60, 1)), Ok(()));
        assert_eq!(checked(&doubling(2_000, 1)), Err(TooLarge::Chain));
        assert_eq!(checked("{...A} fragment A on Query{...B} fragment B on Query{...A}"), Err(TooLarge::Chain));
    }
}
