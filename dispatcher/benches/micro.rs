//! What is done for every event and every delivery, by itself: `cargo bench --package angarium-dispatcher --features benching`.

use std::hint::black_box;

use angarium_dispatcher::benching::{Line, Rows, Subscriptions};
use angarium_dispatcher::signature::Signer;
use angarium_entity::endpoint::SignatureScheme;
use angarium_entity::signing_secret::SigningSecret;
use angarium_entity::{Clock as _, DeliveryId, SystemClock};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sea_orm::DbBackend;

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match 10,000 subscriptions");
    let types: Vec<String> = (0..10_000).map(|number| format!("bench.e{number}")).collect();
    let each = Subscriptions::new(types.iter().map(String::as_str));
    assert_eq!(each.matching("bench.e7"), 1);
    group.bench_function("one of its own type", |bencher| bencher.iter(|| each.matching(black_box("bench.e7"))));
    let patterns: Vec<String> = (0..10_000).map(|number| format!("bench{number}.*")).collect();
    let patterns = Subscriptions::new(patterns.iter().map(String::as_str));
    assert_eq!(patterns.matching("bench7.x"), 1);
    group.bench_function("one of many patterns", |bencher| bencher.iter(|| patterns.matching(black_box("bench7.x"))));
    let all = Subscriptions::new(std::iter::repeat_n("*", 10_000));
    assert_eq!(all.matching("bench.e7"), 10_000);
    group.bench_function("all of them", |bencher| bencher.iter(|| all.matching(black_box("bench.e7"))));
    group.finish();
}

fn machine(criterion: &mut Criterion) {
    let mut line = Line::default();
    assert!(line.deliver());
    criterion.bench_function("four steps of the machine of an endpoint", |bencher| bencher.iter(|| line.deliver()));
}

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert deliveries");
    for count in [1_usize, 100, 500] {
        let rows = Rows::new(count);
        group.throughput(Throughput::Elements(count as u64));
        for backend in [DbBackend::Postgres, DbBackend::Sqlite] {
            group.bench_with_input(BenchmarkId::new(format!("{backend:?}"), count), &rows, |bencher, rows| {
                bencher.iter(|| rows.statement(backend));
            });
        }
    }
    group.finish();
}

fn signing(criterion: &mut Criterion) {
    let now = SystemClock.now();
    let body = "x".repeat(256);
    let secrets = [
        (SignatureScheme::StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (
            SignatureScheme::Ed25519,
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        ),
    ];
    let mut group = criterion.benchmark_group("sign 256 bytes");
    for (scheme, secret) in secrets {
        let secret = SigningSecret::of_caller(scheme, secret).expect("a published test vector");
        let signer = Signer::with(scheme, &secret);
        let sign = || signer.sign("evt_01m7z25rzreqx918fzg4r2d8tr", now, black_box(&body));
        assert!(sign().is_some());
        group.bench_function(format!("{scheme:?}"), |bencher| bencher.iter(sign));
    }
    group.finish();
}

fn ids(criterion: &mut Criterion) {
    let now = SystemClock.now();
    criterion.bench_function("make an ID", |bencher| bencher.iter(|| DeliveryId::new(black_box(now))));
    let id = DeliveryId::new(now);
    criterion.bench_function("write an ID", |bencher| bencher.iter(|| black_box(id).to_string()));
    let text = id.to_string();
    criterion.bench_function("read an ID", |bencher| bencher.iter(|| black_box(&text).parse::<DeliveryId>()));
}

criterion_group!(benches, matching, machine, statements, signing, ids);
criterion_main!(benches);
