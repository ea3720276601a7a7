//! Breaking things on purpose, and judging what became of every event.
//!
//! Cast     `cluster` real nodes with servers of their own, and what samples them; `link` the wires between them, which
//!          can be cut, and `network` what a node is pulled out of as a whole; `publisher` callers that write down what was acknowledged; `receivers` endpoints with bad
//!          manners, which write down what came; `faults` what is broken; `scenario` the acts, one run after the other.
//! Judge    `evidence` is all that was written down, and `judge` reads nothing else: what was acknowledged and is
//!          missing, doubled or out of order, where rows disagree with receivers, and whether a fault hit at all.
//! Told     `table` a line per run, `timeline` the life of a delivery that went wrong.
//! Absent   skewed clocks: they need rights that a test should not ask for.

pub mod cluster;
pub mod evidence;
pub mod faults;
pub mod judge;
pub mod link;
pub mod network;
pub mod node;
pub mod publisher;
pub mod receivers;
pub mod rows;
pub mod scenario;
pub mod script;
pub mod table;
pub mod timeline;
