//! The small parts of the work, one by one, and an offline check of a coupon
//! beside one bare `verify_strict`.
//!
//! `cargo bench --bench parts -- [--quick] [FILTER]`: criterion's options. The
//! ratio at the end is the median of rounds that alternate between the two.

mod parts;

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use parts::Fixture;

/// Rounds of the ratio, and checks in each.
const ROUNDS: usize = 15;
const CHECKS: u32 = 400;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let fixture = Fixture::new();
    verification(&mut criterion, &fixture);
    signing(&mut criterion, &fixture);
    hashing(&mut criterion, &fixture);
    criterion.final_summary();
    offline_ratio(&fixture);
}

fn verification(criterion: &mut Criterion, fixture: &Fixture) {
    let mut group = criterion.benchmark_group("verify");
    group.bench_function("bare verify_strict", |b| b.iter(|| fixture.verify_bare()));
    group.bench_function("known key", |b| b.iter(|| fixture.verify_known()));
    group.bench_function("known key, 64 at a time (each)", |b| {
        b.iter_custom(|times| {
            let started = Instant::now();
            for _ in 0..times {
                black_box(fixture.verify_known_64());
            }
            started.elapsed() / 64
        });
    });
    group.bench_function("table of a known key", |b| b.iter(|| fixture.known_key()));
    group.bench_function("coupon offline, from its QR text", |b| {
        b.iter(|| fixture.check_offline());
    });
    group.bench_function("gate: a coupon", |b| b.iter(|| fixture.gate()));
    group.bench_function("QR text to bytes", |b| b.iter(|| fixture.read_qr_text()));
    group.finish();
}

fn signing(criterion: &mut Criterion, fixture: &Fixture) {
    let mut group = criterion.benchmark_group("sign");
    group.bench_function("bare signature", |b| b.iter(|| fixture.sign_bare()));
    group.bench_function("coupon", |b| b.iter(|| fixture.sign_coupon()));
    group.bench_function("receipt stub", |b| b.iter(|| fixture.sign_stub()));
    group.finish();
}

fn hashing(criterion: &mut Criterion, fixture: &Fixture) {
    let mut group = criterion.benchmark_group("hash");
    group.bench_function("details root, 9 lines", |b| b.iter(|| fixture.details_root()));
    group.bench_function("details written, 9 lines", |b| {
        b.iter(|| fixture.encode_details());
    });
    group.bench_function("details read, 9 lines", |b| b.iter(|| fixture.decode_details()));
    group.bench_function("entry", |b| b.iter(|| fixture.entry_hash()));
    group.bench_function("entry decoded", |b| b.iter(|| fixture.decode_entry()));
    group.bench_function("inclusion proof in 1,000,000, verified", |b| {
        b.iter(|| fixture.verify_inclusion());
    });
    group.finish();
}

fn offline_ratio(fixture: &Fixture) {
    let time = |check: &dyn Fn() -> bool| {
        let started = Instant::now();
        for _ in 0..CHECKS {
            assert!(black_box(check()), "it is good");
        }
        started.elapsed().as_secs_f64() / f64::from(CHECKS)
    };
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            if round % 2 == 0 {
                let bare = time(&|| fixture.verify_bare());
                (bare, time(&|| fixture.check_offline()))
            } else {
                let offline = time(&|| fixture.check_offline());
                (time(&|| fixture.verify_bare()), offline)
            }
        })
        .collect();
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (bare, offline) = rounds[ROUNDS / 2];
    println!(
        "\na coupon offline from its QR text: {:.1} us, bare verify_strict: {:.1} us, ratio {:.2} (median of {ROUNDS})",
        offline * 1e6,
        bare * 1e6,
        offline / bare
    );
}
