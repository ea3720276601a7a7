//! Doors for the fuzzers in `tests/fuzz/targets`, to what is private otherwise.

use angarium_entity::delivery;

use crate::app::delivery::Sort;
use crate::graphql;

/// Reads a cursor of a live stream that says `content`, with the right sum.
///
/// # Panics
/// When it does not come out as it went in.
pub fn live_cursor(content: &[u8]) {
    crate::app::delivery::updates::fuzz_cursor(content);
}

/// Reads a cursor of the list of deliveries.
pub fn list_cursor(text: &str) {
    let order = graphql::Ordering { sort: Sort::CreatedAt, descending: true };
    let _ = graphql::decode::<delivery::Entity>(order, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doors_lead_somewhere() {
        live_cursor(b"{}");
        list_cursor("not a cursor");
    }
}
