//! Decisions without I/O: no async, no actix, no clock. `step(now, input) → outputs`, tested by the million steps.

pub(crate) mod breaker;
pub(crate) mod deaths;
pub(crate) mod endpoint;
pub(crate) mod governor;
pub(crate) mod rate;
pub(crate) mod tallies;
pub(crate) mod wheel;

/// How the tests with random steps run: the same steps every time, so that a change is not blamed for what it did not
/// do. `PROPTEST_RNG_SEED` makes others, `PROPTEST_CASES` more of them.
#[cfg(test)]
pub(crate) fn random_steps(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};

    let asked = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { cases };
    let rng_seed = if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { asked.rng_seed };
    Config { cases, rng_seed, failure_persistence: None, ..asked }
}
