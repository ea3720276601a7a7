//! Whether everything can still come to its end, from wherever it has come to. That is more than a path shows: all states
//! are walked, and then walked back from those that are ends.

use std::collections::HashMap;
use std::hash::Hash;

use stateright::Model;

/// From each state there has to be a way to one of the ends on which nothing more goes wrong; if there is none, the first
/// state without.
pub(crate) fn first_without<M>(
    model: &M,
    is_end: impl Fn(&M::State) -> bool,
    is_fault: impl Fn(&M::Action) -> bool,
) -> Option<M::State>
where
    M: Model<State: Clone + Eq + Hash>,
{
    let mut states = model.init_states();
    let mut places: HashMap<M::State, usize> = states.iter().cloned().zip(0..).collect();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); states.len()];
    let (mut place, mut actions) = (0, Vec::new());
    while place < states.len() {
        model.actions(&states[place], &mut actions);
        for action in actions.drain(..) {
            let goes_wrong = is_fault(&action);
            let Some(next) = model.next_state(&states[place], action) else { continue };
            let next = *places.entry(next).or_insert_with_key(|next| {
                states.push(next.clone());
                before.push(Vec::new());
                states.len() - 1
            });
            if !goes_wrong {
                before[next].push(place);
            }
        }
        place += 1;
    }
    let mut ends: Vec<bool> = states.iter().map(is_end).collect();
    let mut to_do: Vec<usize> = (0..states.len()).filter(|place| ends[*place]).collect();
    while let Some(place) = to_do.pop() {
        for earlier in &before[place] {
            if !std::mem::replace(&mut ends[*earlier], true) {
                to_do.push(*earlier);
            }
        }
    }
    let place = ends.iter().position(|ends| !ends)?;
    Some(states.swap_remove(place))
}
