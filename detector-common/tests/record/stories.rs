//! Single cases, told packet by packet.

use detector_common::{
    packet::{Packet, protocol, tcp},
    record::{FlowRecord, Toward, state},
};

use crate::{Sent, model, packet, run};

const SEC: u64 = 1_000_000;

/// `>` from the low endpoint, `<` from the high one; then flags, then payload.
fn at(now_us: u64, side: char, flags: u8, payload: u32) -> Sent {
    let from_low = side == '>';
    Sent {
        from_low,
        now_us,
        packet: packet(from_low, protocol::TCP, flags, payload),
    }
}

/// The flows' records, once they are what the model says.
fn flows(sent: &[Sent]) -> Vec<FlowRecord> {
    let found: Vec<_> = run(sent).iter().map(|(r, _)| r.normalized()).collect();
    let expected: Vec<_> = model::expected(sent).iter().map(|(r, _)| *r).collect();
    assert_eq!(found, expected);
    found
}

fn is_low_forward(record: &FlowRecord) -> bool {
    record.state & state::FORWARD_IS_LOW != 0
}

use tcp::{ACK, FIN, PSH, RST, SYN};

#[test]
fn a_flow_ends_120_seconds_after_its_first_packet() {
    let mut sent = vec![at(7, '>', SYN, 0)];
    sent.extend((1..=24).map(|n| at(7 + n * 5 * SEC, '>', ACK, 1)));
    let records = flows(&sent);
    assert_eq!(records.len(), 1, "120 s and no more are still the flow's");
    assert_eq!(records[0].last_us, 120_000_000);
    sent.push(at(8 + 120 * SEC, '>', ACK, 1));
    let records = flows(&sent);
    assert_eq!(records.len(), 2);
    assert_eq!((records[1].first_us, records[1].last_us), (120_000_008, 0));
}

#[test]
fn a_timed_out_tcp_connection_keeps_its_direction() {
    let sent = [
        at(0, '>', SYN, 0),
        at(9, '<', SYN | ACK, 0),
        at(130 * SEC, '<', ACK, 10),
        at(131 * SEC, '>', ACK, 0),
        at(260 * SEC, '<', ACK, 10),
    ];
    let records = flows(&sent);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(is_low_forward));
    let began: Vec<u32> = records
        .iter()
        .map(|r| r.state & state::BEGAN_BACKWARD)
        .collect();
    assert_eq!(began, [0, state::BEGAN_BACKWARD, state::BEGAN_BACKWARD]);
    assert_eq!(records[1].other_first_us, 1_000_000);
}

#[test]
fn a_timed_out_udp_flow_takes_the_direction_of_its_next_packet() {
    let mut sent = [at(0, '>', 0, 5), at(200 * SEC, '<', 0, 5)];
    for one in &mut sent {
        one.packet = packet(one.from_low, protocol::UDP, 0, 5);
    }
    let records = flows(&sent);
    assert_eq!(records.len(), 2);
    assert!(is_low_forward(&records[0]) && !is_low_forward(&records[1]));
}

#[test]
fn a_closed_and_timed_out_connection_does_not_keep_its_direction() {
    let sent = [
        at(0, '>', SYN, 0),
        at(1, '<', RST | ACK, 0),
        at(130 * SEC, '<', ACK, 0),
    ];
    let records = flows(&sent);
    assert!(is_low_forward(&records[0]) && !is_low_forward(&records[1]));
}

#[test]
fn a_syn_after_the_close_begins_a_new_flow() {
    let closed = [
        at(0, '>', SYN, 0),
        at(1, '<', SYN | ACK, 0),
        at(2, '>', ACK, 0),
        at(3, '>', FIN | ACK, 0),
        at(4, '<', FIN | ACK, 0),
        at(5, '>', ACK, 0),
    ];
    assert_ne!(flows(&closed)[0].state & state::CLOSED, 0);
    for (side, low) in [('>', true), ('<', false)] {
        let mut sent = closed.to_vec();
        sent.push(at(6, side, SYN, 0));
        let records = flows(&sent);
        assert_eq!(records.len(), 2);
        assert_eq!(is_low_forward(&records[1]), low);
        assert_eq!(records[1].totals(), (1, 54));
    }
    // What comes late belongs to the old flow, and so does a SYN before the last ACK.
    let mut sent = closed.to_vec();
    sent.push(at(6, '<', ACK, 0));
    assert_eq!(flows(&sent).len(), 1);
    let mut sent = closed[..5].to_vec();
    sent.push(at(6, '>', SYN, 0));
    assert_eq!(flows(&sent).len(), 1);
}

#[test]
fn a_reset_closes() {
    let sent = [
        at(0, '>', SYN, 0),
        at(1, '<', RST | ACK, 0),
        at(2, '>', SYN, 0),
        at(3, '<', SYN | ACK, 0),
    ];
    let records = flows(&sent);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].state & state::CLOSED, 0);
    // A reset as the first packet closes, too.
    let records = flows(&[at(0, '<', RST, 0), at(1, '>', SYN, 0)]);
    assert_eq!(records.len(), 2);
}

#[test]
fn a_fin_twice_from_one_side_does_not_close() {
    let sent = [
        at(0, '>', FIN | ACK, 0),
        at(1, '>', FIN | ACK, 0),
        at(2, '<', ACK, 0),
        at(3, '>', SYN, 0),
    ];
    assert_eq!(flows(&sent).len(), 1);
}

#[test]
fn syn_and_ack_first_count_as_the_answer() {
    let sent = [
        at(0, '<', SYN | ACK, 0),
        at(5, '>', ACK, 3),
        at(6, '<', ACK | PSH, 7),
    ];
    let [record] = flows(&sent)[..] else {
        panic!("one flow");
    };
    assert!(is_low_forward(&record));
    assert_ne!(record.state & state::BEGAN_BACKWARD, 0);
    assert_eq!((record.forward.packets, record.backward.packets), (1, 2));
    assert_eq!((record.forward.payload, record.backward.payload), (3, 7));
    assert_eq!((record.other_first_us, record.backward.pushes), (5, 1));
    assert_eq!(record.toward(true), Toward::Forward);
    // Other bits beside the two change nothing.
    let all = flows(&[at(0, '<', !RST, 0)]);
    assert!(is_low_forward(&all[0]));
}

#[test]
fn windows_are_the_first_forward_and_the_last_backward() {
    let window = |mut sent: Sent, window| {
        sent.packet.window = window;
        sent
    };
    let sent = [
        window(at(0, '>', SYN, 0), 0),
        window(at(1, '<', SYN | ACK, 0), 0),
        window(at(2, '>', ACK, 0), 500),
        window(at(3, '<', ACK, 0), 600),
        window(at(4, '<', ACK, 0), 700),
    ];
    let record = flows(&sent)[0];
    assert_eq!((record.forward_window, record.backward_window), (0, 700));
}

#[test]
fn segments_are_counted_one_by_one() {
    let mut offloaded = at(10, '>', ACK | PSH, 3500);
    offloaded.packet = offloaded.packet.segmented(3, 1460);
    let sent = [at(0, '>', ACK, 100), offloaded, at(1000, '<', ACK, 0)];
    let record = flows(&sent)[0];
    let ahead = record.forward;
    assert_eq!((ahead.packets, ahead.acks, ahead.pushes), (4, 4, 1));
    assert_eq!((ahead.payload, ahead.bytes), (3600, 3600 + 4 * 54));
    let squares = 100 * 100 + 2 * 1460 * 1460 + 580 * 580;
    assert_eq!(ahead.payload_squares, squares);
    assert_eq!((ahead.payload_min, ahead.payload_max), (100, 1460));
    assert_eq!((ahead.gap_min_us, ahead.gap_max_us), (0, 10));
    assert_eq!((record.gap_min_us, record.gap_max_us), (0, 990));
    assert_eq!((ahead.header_words, record.forward_data_packets), (20, 4));
}

#[test]
fn flags_that_segmentation_repeats_are_counted_in_every_segment() {
    let mut offloaded = at(10, '>', ACK | FIN | tcp::ECE | tcp::URG | tcp::CWR, 4000);
    offloaded.packet = offloaded.packet.segmented(4, 1000);
    let record = flows(&[at(0, '>', ACK, 0), offloaded])[0];
    assert_eq!((record.ece, record.forward_flags.urg), (4, 4));
    assert_eq!((record.cwr, record.forward_flags.fin), (1, 1));
}

#[test]
fn rare_flags_saturate() {
    let sent: Vec<Sent> = (0..65_540).map(|n| at(n, '>', SYN, 0)).collect();
    let record = run(&sent)[0].0;
    assert_eq!(record.forward_flags.syn, 65_535);
    assert_eq!(record.forward.packets, 65_540);
}

#[test]
fn a_single_answer_does_not_establish() {
    let is = |sent: &[Sent]| flows(sent)[0].is_established();
    let request = [at(0, '>', SYN, 0), at(1, '<', SYN | ACK, 0)];
    assert!(!is(&request[..1]) && !is(&request));
    assert!(is(&[&request[..], &[at(2, '>', ACK, 0)]].concat()));
    // What a host answers to an unexpected SYN and ACK (a reflected flood) by itself.
    let reflected = [at(0, '>', SYN | ACK, 0), at(1, '<', RST, 0)];
    assert!(!is(&reflected));
    // A handshake of which the first packet was missed.
    let joined = [
        at(0, '<', SYN | ACK, 0),
        at(1, '>', ACK, 0),
        at(2, '<', ACK, 9),
    ];
    assert!(is(&joined));
    // Spoofed packets that repeat, each answered by the host itself.
    for (asked, answer) in [(SYN, SYN | ACK), (ACK, RST), (SYN | ACK, RST)] {
        let spoofed: Vec<Sent> = (0..40)
            .map(|n| match n % 2 {
                0 => at(n, '>', asked, 0),
                _ => at(n, '<', answer, 0),
            })
            .collect();
        assert!(!is(&spoofed), "{asked:#x}");
        // A SYN after a reset begins a flow each time.
        assert!(run(&spoofed).iter().all(|(r, _)| !r.is_established()));
    }
    for side in ['>', '<'] {
        for flags in [ACK, ACK | PSH, FIN] {
            let many: Vec<Sent> = (0..8).map(|n| at(n, side, flags, 0)).collect();
            assert!(!is(&many[..7]) && is(&many));
        }
        for flags in [SYN, SYN | ACK] {
            let mut many: Vec<Sent> = (0..30).map(|n| at(n, side, flags, 0)).collect();
            assert!(!is(&many));
            many.extend((30..38).map(|n| at(n, side, ACK, 0)));
            assert!(!is(&many[..37]) && is(&many));
        }
    }
    // What is established stays so when it is closed.
    let closed = [&joined[..], &[at(3, '>', RST, 0)]].concat();
    assert!(is(&closed));
}

#[test]
fn time_that_goes_back_stands_still() {
    let sent = [
        at(100 * SEC, '>', ACK, 1),
        at(50 * SEC, '>', ACK, 1),
        at(101 * SEC, '<', ACK, 1),
        at(100 * SEC + 500, '<', ACK, 1),
        at(102 * SEC, '>', ACK, 1),
    ];
    let record = flows(&sent)[0];
    assert_eq!(record.last_us, 2_000_000);
    assert_eq!((record.gap_min_us, record.gap_max_us), (0, 1_000_000));
    assert_eq!(record.forward.gap_max_us, 2_000_000);
    assert_eq!(record.backward.gap_max_us, 0);
}

#[test]
fn totals_leave_out_what_was_never_valid() {
    let mut stale = FlowRecord::default();
    stale.forward.packets = 9;
    stale.backward.packets = 9;
    assert_eq!(stale.totals(), (0, 0));
    let one: Packet = packet(true, protocol::TCP, ACK, 6);
    let (key, from_low) = crate::key(&one);
    stale.begin(&key, from_low, None, &one, 5);
    assert_eq!(stale.totals(), (1, 60));
    stale.begin(&key, !from_low, Some(Toward::Backward), &one, 5);
    assert_eq!(stale.totals(), (1, 60));
}
