//! The life cycle of a request as one pure function.
//!
//! Invariants, each explored below: a terminal stage never changes; a request is consumed at most once, only after
//! enough people said yes and none said no, and only in time.

use crate::audit::Moment;
use crate::error::ErrorCode;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Pending,
    Approved,
    Consuming,
    Done,
    Denied,
    Expired,
    Cancelled,
    Revoked,
    Invalidated(ErrorCode),
    Unknown,
}

/// Where a request is in its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) stage: Stage,
    pub(super) yes: u32,
    pub(super) needed: u32,
    /// When it was asked; it is pending for `ttl_ms`.
    pub(super) asked: Moment,
    pub(super) ttl_ms: u64,
    /// When the last vote was given; it can be consumed for `window_ms`.
    pub(super) granted: Option<Moment>,
    pub(super) window_ms: u64,
    /// The first effect may have happened.
    pub(super) started: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A person's yes; `again` where that person has said yes to it before.
    Yes {
        again: bool,
    },
    /// A person's no: a veto.
    No,
    Cancel,
    Revoke,
    Invalidate(ErrorCode),
    /// Time has passed.
    Tick,
    Consume,
    Start,
    Finish,
    /// The executor died.
    Lose,
}

impl Life {
    pub(super) fn new(needed: u32, asked: Moment, ttl_ms: u64, window_ms: u64) -> Self {
        Life {
            stage: Stage::Pending,
            yes: 0,
            needed: needed.max(1),
            asked,
            ttl_ms,
            granted: None,
            window_ms,
            started: false,
        }
    }

    /// Whether its time is over. A reboot ends it too: the clock that nobody sets began anew.
    pub(super) fn is_due(&self, now: &Moment) -> bool {
        let over = |from: &Moment, ms: u64| now.boot != from.boot || now.since_ms(from) >= ms;
        match (self.stage, &self.granted) {
            (Stage::Pending, _) => over(&self.asked, self.ttl_ms),
            (Stage::Approved, Some(granted)) => over(granted, self.window_ms),
            (Stage::Approved, None) => true,
            _ => false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Pending | Stage::Approved)
    }

    /// Why nothing more can be done to it.
    pub(super) fn refusal(&self) -> ErrorCode {
        match self.stage {
            Stage::Pending => ErrorCode::QuorumIncomplete,
            Stage::Approved | Stage::Consuming | Stage::Done => ErrorCode::Consumed,
            Stage::Denied => ErrorCode::Denied,
            Stage::Expired => ErrorCode::Expired,
            Stage::Cancelled => ErrorCode::Cancelled,
            Stage::Revoked => ErrorCode::Revoked,
            Stage::Invalidated(code) => code,
            Stage::Unknown => ErrorCode::OutcomeUnknown,
        }
    }
}

/// The next life and the records that make it real, or why there is none.
pub(super) fn step(life: &Life, event: Event, now: &Moment) -> Result<(Life, &'static [&'static str]), ErrorCode> {
    let to = |stage| Life { stage, ..life.clone() };
    if event == Event::Tick {
        return Ok(match life.is_due(now) {
            true => (to(Stage::Expired), &["request.expired"]),
            false => (life.clone(), &[]),
        });
    }
    if life.is_due(now) {
        return Err(ErrorCode::Expired);
    }
    match (life.stage, event) {
        (Stage::Pending, Event::Yes { again: true }) => Err(ErrorCode::DuplicatePerson),
        (Stage::Pending, Event::Yes { again: false }) => {
            let yes = life.yes + 1;
            if yes < life.needed {
                return Ok((Life { yes, ..life.clone() }, &["vote.cast"]));
            }
            let granted = Some(now.clone());
            Ok((Life { yes, granted, ..to(Stage::Approved) }, &["vote.cast", "request.approved"]))
        }
        (Stage::Pending | Stage::Approved, Event::No) => Ok((to(Stage::Denied), &["request.denied"])),
        (Stage::Pending | Stage::Approved, Event::Cancel) => Ok((to(Stage::Cancelled), &["request.cancelled"])),
        (Stage::Pending | Stage::Approved, Event::Revoke) => Ok((to(Stage::Revoked), &["request.revoked"])),
        (Stage::Pending | Stage::Approved, Event::Invalidate(code)) => {
            Ok((to(Stage::Invalidated(code)), &["request.invalidated"]))
        }
        (Stage::Approved, Event::Consume) => Ok((to(Stage::Consuming), &["exec.consumed"])),
        (Stage::Consuming, Event::Start) if !life.started => {
            Ok((Life { started: true, ..life.clone() }, &["exec.started"]))
        }
        (Stage::Consuming, Event::Finish) => Ok((to(Stage::Done), &["exec.finished"])),
        (Stage::Consuming, Event::Lose) => Ok((to(Stage::Unknown), &["exec.unknown"])),
        _ => Err(life.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TTL: u64 = 4;
    const WINDOW: u64 = 2;
    const EVENTS: &[Event] = &[
        Event::Yes { again: false },
        Event::Yes { again: true },
        Event::No,
        Event::Cancel,
        Event::Revoke,
        Event::Invalidate(ErrorCode::PolicyChanged),
        Event::Tick,
        Event::Consume,
        Event::Start,
        Event::Finish,
        Event::Lose,
    ];

    fn at(ms: u64) -> Moment {
        Moment { wall_ms: i64::try_from(ms).unwrap(), mono_ms: ms, boot: "b".into() }
    }

    /// A life with what happened to it, as far as the invariants ask.
    #[derive(Clone)]
    struct Walk {
        life: Life,
        clock: u64,
        consumed: u32,
        people: u32,
        no: bool,
    }

    fn explore(needed: u32, look: &mut dyn FnMut(&Walk, Event, &Walk)) -> usize {
        let start = Life::new(needed, at(0), TTL, WINDOW);
        let mut todo = vec![Walk { life: start, clock: 0, consumed: 0, people: 0, no: false }];
        let mut seen = HashSet::new();
        while let Some(walk) = todo.pop() {
            if !seen.insert(format!("{:?} {} {} {} {}", walk.life, walk.clock, walk.consumed, walk.people, walk.no)) {
                continue;
            }
            if walk.clock < TTL + WINDOW + 2 {
                todo.push(Walk { clock: walk.clock + 1, ..walk.clone() });
            }
            for event in EVENTS {
                if let Ok((life, _)) = step(&walk.life, *event, &at(walk.clock)) {
                    let next = Walk {
                        life,
                        clock: walk.clock,
                        consumed: walk.consumed + u32::from(*event == Event::Consume),
                        people: walk.people + u32::from(matches!(event, Event::Yes { .. })),
                        no: walk.no || *event == Event::No,
                    };
                    look(&walk, *event, &next);
                    todo.push(next);
                }
            }
        }
        seen.len()
    }

    fn is_terminal(stage: Stage) -> bool {
        !matches!(stage, Stage::Pending | Stage::Approved | Stage::Consuming)
    }

    #[test]
    fn a_terminal_stage_never_changes() {
        for needed in 1..=3 {
            let walks = explore(needed, &mut |before, event, after| {
                if is_terminal(before.life.stage) {
                    assert_eq!(before.life, after.life, "{event:?}");
                }
            });
            assert!(walks > 100, "explored {walks}");
        }
    }

    #[test]
    fn consumed_at_most_once_by_enough_people_in_time_and_never_after_a_no() {
        let mut consumptions = 0;
        for needed in 1..=3 {
            explore(needed, &mut |before, event, after| {
                assert!(after.consumed <= 1);
                if event == Event::Consume {
                    consumptions += 1;
                    assert!(before.people >= needed && !before.no);
                    let granted = before.life.granted.as_ref().unwrap().mono_ms;
                    assert!(granted < TTL && before.clock < granted + WINDOW);
                }
            });
        }
        assert!(consumptions > 0);
    }

    #[test]
    fn started_at_most_once_and_only_when_consumed() {
        explore(2, &mut |before, event, after| {
            if event == Event::Start {
                assert!(!before.life.started && before.consumed == 1 && after.life.stage == Stage::Consuming);
            }
        });
    }

    #[test]
    fn every_stage_can_be_reached() {
        let mut stages = HashSet::new();
        explore(2, &mut |_, _, after| {
            stages.insert(after.life.stage);
        });
        assert_eq!(stages.len(), 10);
    }

    #[test]
    fn a_clock_set_back_or_a_reboot_wins_no_time() {
        let life = Life::new(1, at(1000), TTL, WINDOW);
        let back = Moment { wall_ms: -5000, ..at(1000 + TTL) };
        assert_eq!(step(&life, Event::Yes { again: false }, &back).unwrap_err(), ErrorCode::Expired);
        let rebooted = Moment { boot: "c".into(), ..at(1000) };
        assert_eq!(step(&life, Event::Yes { again: false }, &rebooted).unwrap_err(), ErrorCode::Expired);
    }
}
