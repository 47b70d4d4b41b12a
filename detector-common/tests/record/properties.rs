//! Random packets of one key: record and model agree to the last counter.

use detector_common::{
    packet::{protocol, tcp},
    record::state,
};
use proptest::{collection::vec, prelude::*};

use crate::{Sent, model, packet, run};

/// Time since the packet before, µs; negative: another CPU's clock was read first.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => 0i64..3,
        10 => 1i64..2_000_000,
        4 => 4_999_998i64..5_000_003,
        2 => 5_000_000i64..40_000_000,
        1 => 119_999_990i64..120_000_010,
        1 => Just(200_000_000i64),
        1 => -50i64..0,
    ]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        12 => Just(tcp::ACK),
        6 => Just(tcp::ACK | tcp::PSH),
        3 => Just(tcp::SYN),
        2 => Just(tcp::SYN | tcp::ACK),
        3 => Just(tcp::FIN | tcp::ACK),
        1 => Just(tcp::FIN),
        1 => Just(tcp::RST),
        1 => Just(tcp::RST | tcp::ACK),
        1 => any::<u8>(),
    ]
}

fn payload() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0u32), 10 => 1u32..1461, 1 => 65_530u32..65_540, 1 => Just(400_000u32)]
}

prop_compose! {
    fn step()(
        from_low: bool,
        gap in gap(),
        flags in flags(),
        payload in payload(),
        window in prop_oneof![Just(0u16), any::<u16>()],
        options in prop_oneof![3 => Just(0u8), 1 => 0u8..=10],
        mss in prop_oneof![3 => Just(0u32), 2 => 1u32..9000],
    ) -> (i64, Sent) {
        let mut one = packet(from_low, protocol::TCP, flags, payload);
        one.window = window;
        one.header_bytes += options * 4;
        one.wire_bytes += u32::from(options) * 4;
        // An offloaded frame carries no SYN and no RST.
        if mss > 0 && flags & (tcp::SYN | tcp::RST) == 0 {
            one = one.segmented(payload.div_ceil(mss), mss);
        }
        (gap, Sent { from_low, now_us: 0, packet: one })
    }
}

/// Puts the steps on a clock, and makes them of one protocol.
fn on_clock(steps: Vec<(i64, Sent)>, start_us: u64, is_tcp: bool) -> Vec<Sent> {
    let mut now_us = start_us;
    steps
        .into_iter()
        .map(|(gap, mut sent)| {
            now_us = now_us.saturating_add_signed(gap);
            sent.now_us = now_us;
            if !is_tcp {
                sent.packet.protocol = protocol::UDP;
                sent.packet.tcp_flags = 0;
                sent.packet.window = 0;
            }
            sent
        })
        .collect()
}

fn check(sent: &[Sent]) -> Result<(), TestCaseError> {
    let expected = model::expected(sent);
    let found: Vec<_> = run(sent)
        .into_iter()
        .map(|(record, periods)| {
            let periods = (record.idle_periods > 0).then_some(periods);
            (record.normalized(), periods)
        })
        .collect();
    prop_assert_eq!(found.len(), expected.len(), "flows");
    for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
        prop_assert_eq!(found, expected, "flow {}", n);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn record_and_model_agree(
        steps in vec(step(), 1..40),
        start_us in prop_oneof![Just(0u64), Just(1_000u64), 0u64..1 << 50],
        is_tcp in prop::bool::weighted(0.8),
    ) {
        check(&on_clock(steps, start_us, is_tcp))?;
    }

    /// Sums and sums of squares give the sample deviation that the packets have.
    #[test]
    fn deviations_follow_from_the_sums(steps in vec(step(), 2..30)) {
        let sent = on_clock(steps, 77, false);
        let (record, _) = run(&sent)[0];
        let record = record.normalized();
        let packets = u64::from(record.forward.packets + record.backward.packets);
        // In integers: the difference of two large floats has no digits left.
        let sample = |n: u64, sum: u64, squares: u64| {
            let [n, sum, squares] = [n, sum, squares].map(u128::from);
            if n < 2 { 0.0 } else { ((n * squares - sum * sum) as f64 / (n * (n - 1)) as f64).sqrt() }
        };
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.max(b);
        let payload = record.forward.payload + record.backward.payload;
        let squares = record.forward.payload_squares + record.backward.payload_squares;
        let (found, wanted) = (sample(packets, payload, squares), model::payload_deviation(&sent));
        prop_assert!(near(found, wanted), "payload {} {}", found, wanted);
        let found = sample(packets - 1, record.last_us.into(), record.gap_squares);
        let wanted = model::gap_deviation(&sent);
        prop_assert!(near(found, wanted), "gap {} {}", found, wanted);
    }

    /// A record counts as established when somebody answered and was answered, or
    /// after enough packets; it never stops being so within one flow but by a close.
    #[test]
    fn established_stays_established(steps in vec(step(), 1..30)) {
        let sent = on_clock(steps, 0, true);
        let mut was = (0, false);
        for n in 1..=sent.len() {
            let flows = run(&sent[..n]);
            let (record, _) = flows[flows.len() - 1];
            let is = record.is_established();
            if was.0 == flows.len() {
                let is_closed = record.state & state::CLOSED != 0;
                prop_assert!(is || !was.1 || is_closed, "packet {}", n);
            }
            was = (flows.len(), is);
        }
    }
}
