//! From a publish to the receiver.

mod crash;
mod failure;
mod order;
mod proxy;
mod recovery;
mod retry;
mod sending;
mod signing;
mod strict;
mod wire;
