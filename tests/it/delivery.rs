//! From a publish to the receiver.

mod confirmation;
mod crash;
mod expiry;
mod failure;
mod health;
mod held;
mod notices;
mod order;
mod proxy;
mod recovery;
mod replay;
mod retry;
mod sending;
mod signing;
mod strict;
mod wire;
