//! A report as tests need it: two good peers, one void, one that was not run. Nothing in it was measured.

use super::json::{
    Compared, FailureKind, Fit, Limit, Machine, Peer, Point, Report, Round, Scenario, Summary, VERSION,
    Values,
};

/// Whoever changes it changes what several tests see.
pub fn report() -> Report {
    let mut alpha = peer("alpha", 20_000.0, 2.0);
    let mut beta = peer("beta", 15_000.0, 3.0);
    alpha.durable = Some(true);
    alpha.summary.ratio = Some(Values(vec![1.0; 3]));
    (alpha.summary.limit_rate, alpha.summary.limit_share) = (Some(25_000.0), Some(0.8));
    beta.durable = Some(false);
    beta.summary.ratio = Some(Values(vec![0.76, 0.75, 0.74]));
    (beta.summary.limit_rate, beta.summary.limit_share) = (Some(25_000.0), Some(0.6));
    let mut gamma = peer("gamma", 9_000.0, 8.0);
    gamma.void = Some("3 requests failed; 3 of them: status 503 (SlowDown)".to_owned());
    gamma.rounds[1].failures =
        vec![FailureKind { kind: "status 503".to_owned(), count: 3, first: "SlowDown".to_owned() }];
    gamma.summary.error_count = 3;
    let delta = Peer {
        name: "delta".to_owned(),
        not_run: Some("its module is not served".to_owned()),
        ..Peer::default()
    };
    Report {
        version: VERSION,
        command: "zerobench compare --peer alpha=http-address echo --rounds 3".to_owned(),
        began: "2026-03-01T00:00:00Z".to_owned(),
        commit: "0123456789abcdef".to_owned(),
        ended_early: None,
        machine: Machine {
            processor: "A processor".to_owned(),
            cores: 2,
            memory_mib: 16_000,
            kernel: "6.12.0".to_owned(),
            file_system: "ext4".to_owned(),
            device: "/dev/vda1".to_owned(),
            write_cache: "write back".to_owned(),
        },
        scenario: Scenario {
            name: "echo".to_owned(),
            title: "HTTP echo, GET /".to_owned(),
            load: "open loop, 20000 requests/s, Even, 64 connections, 3.0 s after 1.0 s".to_owned(),
            open: true,
            rate: Some(20_000.0),
            connections: 64,
            streams: 1,
            protocol: "HTTP/1.1".to_owned(),
            seconds: 3.0,
            warm_up_seconds: 1.0,
            seed: 1,
            ..Scenario::default()
        },
        limits: limits(),
        limits_began: Some("2026-02-28T00:00:00Z".to_owned()),
        fit: Some(Fit {
            limit: "bare echo on the ring".to_owned(),
            rate: Some(25_000.0),
            is_synced: false,
            is_of_http: true,
            reason: None,
        }),
        peers: vec![alpha, beta, gamma, delta],
    }
}

/// One that agrees by what it cost the server, one that does not agree, one that nobody else measures.
fn limits() -> Vec<Limit> {
    let agreed = Limit {
        name: "bare echo on the ring".to_owned(),
        value: 25_000.0,
        unit: "requests/s".to_owned(),
        tool: Some("wrk -t1 -c64 -d2s URL".to_owned()),
        tool_value: Some(19_000.0),
        compared: Some(Compared {
            what: "the server's CPU time per request in us".to_owned(),
            value: 4.5,
            tool_value: 4.7,
        }),
        agrees: Some(true),
        no_tool: None,
        note: Some("The server's core was 80 % busy.".to_owned()),
    };
    let differs = Limit {
        name: "XXH3-64".to_owned(),
        value: 2e10,
        unit: "bytes/s".to_owned(),
        tool: Some("xxhsum -b5".to_owned()),
        tool_value: Some(1e10),
        agrees: Some(false),
        ..Limit::default()
    };
    let alone = Limit {
        name: "CRC-32C".to_owned(),
        value: 8e10,
        unit: "bytes/s".to_owned(),
        no_tool: Some("no packaged tool measures it".to_owned()),
        ..Limit::default()
    };
    vec![agreed, differs, alone]
}

/// Three rounds around `rate`, with latencies that grow by `slope` per nine.
fn peer(name: &str, rate: f64, slope: f64) -> Peer {
    let rounds: Vec<Round> = [0.99, 1.0, 1.015].iter().map(|factor| round(rate * factor, slope)).collect();
    let each = |of: fn(&Round) -> f64| Values(rounds.iter().map(of).collect());
    let curve = (0..100).map(|index| {
        let nines = f64::from(index) / 20.0;
        let share = ((1.0 - 10_f64.powf(-nines)) * 1e6).round() / 1e6;
        Point { share, latency_us: (80.0 * slope.powf(nines)).round() }
    });
    Peer {
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        mode: "default".to_owned(),
        evidence: "1.00 flushes per put".to_owned(),
        syncs_per_write: Some(1.0),
        curve: curve.collect(),
        summary: Summary {
            rate: each(|round| round.rate),
            p50_us: each(|round| round.p50_us),
            p90_us: each(|round| round.p90_us),
            p99_us: each(|round| round.p99_us),
            p999_us: each(|round| round.p999_us),
            cpu_us: Values(rounds.iter().filter_map(|round| round.cpu_us).collect()),
            peak_bytes: Some(24 << 20),
            ..Summary::default()
        },
        rounds,
        ..Peer::default()
    }
}

fn round(rate: f64, slope: f64) -> Round {
    // A ripple, so that lines can be told apart.
    let slices = || (0..41_u32).map(|index| 1.0 + f64::from(index * 7 % 5) / 50.0);
    Round {
        rate,
        good_count: (rate * 4.0) as u64,
        p50_us: 80.0,
        p90_us: 80.0 * slope,
        p99_us: 80.0 * slope * slope,
        p999_us: 80.0 * slope.powi(3),
        max_us: 80.0 * slope.powi(5),
        service_p99_us: 75.0,
        delay_p99_us: 12.5,
        cpu_us: Some(6.25 * slope),
        cpu_user_us: Some(2.5),
        peak_bytes: Some(24 << 20),
        body_bytes: 1 << 30,
        generator_cpu_share: 0.25,
        dirty_bytes: Some(1 << 20),
        others_cpu_share: Some(0.001),
        slice_seconds: 0.1,
        good_counts: slices().map(|ripple| (rate * ripple / 10.0) as u64).collect(),
        slowest_us: slices().map(|ripple| (ripple * 400.0 * slope).round()).collect(),
        ..Round::default()
    }
}
