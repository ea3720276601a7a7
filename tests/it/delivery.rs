//! From a publish to the receiver.

mod address;
mod confirmation;
mod crash;
mod degradation;
mod encryption_key;
mod expiry;
mod failure;
mod files;
mod gone;
mod health;
mod held;
mod isolation;
mod notices;
mod order;
mod proxy;
mod recovery;
mod replay;
mod retention;
mod retry;
mod secrets;
mod sending;
mod signing;
mod strict;
mod tls;
mod week;
mod wire;
