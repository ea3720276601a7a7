//! What an operator looks at: the command line, health, logs, metrics, alert rules, the dashboard, traces, and the pages.

mod cli;
mod health;
mod log;
mod metrics;
mod pages;
mod readme;
mod stack;
mod traces;
mod upgrade;
