//! Replicas of an active table leave and nobody comes: those that stay have what they had.

use super::*;

/// Nothing but the change itself brings rows to where they were missed.
fn bare() -> Settings {
    Settings {
        hint_bytes_max: 0,
        sweep_every: Duration::from_secs(60),
        ..settings()
    }
}

#[test]
fn those_that_stay_have_what_those_had_that_left_one_after_the_other() {
    let mut net = Net::new(3, bare(), 5, 5);
    net.pass_ms(20);
    let alone = [(0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4)];
    net.cut.extend(alone);
    for row in 10..60 {
        put(&mut net, 0, row);
        net.pass_ms(2);
    }
    net.pass_ms(150);
    net.cut.clear();
    for stay in [&[1, 2, 3, 4][..], &[2, 3, 4]] {
        let leaver = stay[0] - 1;
        // It is gone, so that the others have to know among themselves.
        net.crash(leaver);
        begin_move(&mut net, stay);
        end_move(&mut net);
        net.wipe(leaver);
    }
    // Of those that wrote it one is left, and that is gone as well.
    net.crash(2);
    for row in 10..60 {
        let read = net.read(3, key(row), Quorum::Majority, true);
        net.pass_ms(20);
        assert!(net.oracle.found[&read].is_ok());
    }
    assert_eq!(net.oracle.violations, Vec::<String>::new());
}

#[test]
fn one_that_leaves_and_is_not_heard_is_waited_for_unless_it_is_gone() {
    let patient = Settings {
        join_patience: Duration::from_secs(60),
        ..bare()
    };
    let mut net = Net::new(5, patient, 3, 3);
    net.pass_ms(20);
    net.cut.extend([(0, 1), (0, 2)]);
    begin_move(&mut net, &[1, 2]);
    net.pass_ms(500);
    assert!(
        !has_caught_up(&net),
        "it may have what was written with w 1"
    );
    net.crash(0);
    assert!(
        has_caught_up(&net),
        "the two that stay have compared their rows"
    );
}

#[test]
fn nothing_is_lost_while_replicas_leave_under_crashes_and_cuts() {
    let (mut ended, mut given_up) = (0, 0);
    for seed in 0..SEEDS / 2 {
        let mut net = Net::new(seed, bare(), 6, 5);
        (net.lost, net.repeated, net.way_ms_max) = (seed % 5, seed % 7, 1 + seed % 10);
        while net.view.current.len() > 1 {
            for _ in 0..60 {
                faults(&mut net);
                requests_among(&mut net, KEYS_WIDE);
                net.pass();
            }
            let mut stay = net.view.current.clone();
            let leaver = stay.remove(net.random.below(stay.len() as u64) as usize);
            let stay: Vec<usize> = stay.iter().map(|stays| stays.0 as usize - 1).collect();
            let old = net.view.current.clone();
            begin_move(&mut net, &stay);
            let patience = [2_000, 20][net.random.below(2) as usize];
            for _ in 0..patience {
                if has_caught_up(&net) {
                    break;
                }
                // The last two have nobody to be rebuilt from.
                if old.len() > 2 {
                    faults(&mut net);
                }
                requests_among(&mut net, KEYS_WIDE);
                net.pass();
            }
            let ends = has_caught_up(&net);
            let after = View {
                epoch: net.view.epoch.next(),
                current: if ends { net.view.next.clone() } else { old },
                next: Vec::new(),
            };
            announce(&mut net, after);
            if ends {
                ended += 1;
                net.wipe(leaver.0 as usize - 1);
            } else {
                given_up += 1;
            }
            if net.view.current.len() == 2 {
                heal(&mut net);
                net.pass_ms(2_000);
            }
        }
        heal(&mut net);
        net.pass_ms(500);
        for at in 0..KEYS_WIDE as u8 {
            net.read((at % 6).into(), key(at), Quorum::Majority, true);
        }
        net.pass_ms(200);
        check_equal(&mut net, KEYS_WIDE as u8);
        assert_eq!(net.oracle.violations, Vec::<String>::new(), "seed {seed}");
    }
    assert_eq!(ended, 4 * SEEDS / 2);
    assert!(given_up > SEEDS / 15, "{given_up}");
}
