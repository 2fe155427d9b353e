//! When refreshing by time is allowed (spec section 2.3, sync windows).

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::api::external_secrets::{SyncWindow, SyncWindowKind, SyncWindows};
use crate::go::GoDuration;

/// Whether refreshing is allowed now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// It is.
    Open,
    /// It is not, and may be after this long; `None` if never.
    Closed(Option<Duration>),
}

/// Looks at the clock. A window that cannot be read is never open.
pub(super) fn gate(windows: Option<&SyncWindows>, now: Timestamp) -> Gate {
    let Some(windows) = windows else { return Gate::Open };
    let readable: Vec<Window> = windows.windows.iter().filter_map(Window::of).collect();
    let closes: Option<Duration> = readable.iter().filter_map(|it| it.closes_after(now)).min();
    match (windows.kind, closes) {
        (SyncWindowKind::Allow, Some(_)) | (SyncWindowKind::Deny, None) => Gate::Open,
        (SyncWindowKind::Allow, None) => Gate::Closed(readable.iter().filter_map(|it| it.opens_after(now)).min()),
        (SyncWindowKind::Deny, closes) => Gate::Closed(closes),
    }
}

struct Window {
    schedule: Schedule,
    length: Duration,
}

enum Schedule {
    Cron(Box<Cron>, TimeZone),
    Every(Duration),
}

impl Window {
    fn of(window: &SyncWindow) -> Option<Self> {
        let length = window.duration.parse::<GoDuration>().ok()?.positive()?;
        Some(Self { schedule: Schedule::of(&window.schedule)?, length })
    }

    /// How long the window stays open; `None` if it is not.
    fn closes_after(&self, now: Timestamp) -> Option<Duration> {
        let length = SignedDuration::try_from(self.length).ok()?;
        match &self.schedule {
            // Counted from now on, as the original counts: open for good if it opens often enough.
            Schedule::Every(pause) => (*pause <= self.length).then_some(self.length),
            Schedule::Cron(cron, zone) => {
                let opened = cron.find_previous_occurrence(&now.to_zoned(zone.clone()), true).ok()?;
                let left = opened.timestamp().checked_add(length).ok()?.duration_since(now);
                (!left.is_negative()).then(|| left.unsigned_abs())
            }
        }
    }

    /// How long until the window opens anew.
    fn opens_after(&self, now: Timestamp) -> Option<Duration> {
        match &self.schedule {
            Schedule::Every(_) => None,
            Schedule::Cron(cron, zone) => {
                let opens = cron.find_next_occurrence(&now.to_zoned(zone.clone()), false).ok()?;
                Some(opens.timestamp().duration_since(now).unsigned_abs())
            }
        }
    }
}

impl Schedule {
    /// Five fields of cron, `@hourly` and its like, `@every 2h`; before it `CRON_TZ=Europe/Berlin`.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let zoned = ["CRON_TZ=", "TZ="].into_iter().find_map(|it| text.strip_prefix(it));
        let (zone, text) = match zoned {
            None => (TimeZone::UTC, text),
            Some(rest) => {
                let (zone, rest) = rest.split_once(' ')?;
                (if zone == "UTC" { TimeZone::UTC } else { TimeZone::get(zone).ok()? }, rest.trim())
            }
        };
        if let Some(pause) = text.strip_prefix("@every ") {
            return pause.trim().parse::<GoDuration>().ok()?.positive().map(Self::Every);
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).sloppy_ranges(true).build();
        Some(Self::Cron(Box::new(parser.parse(text).ok()?), zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_open_and_close() {
        use SyncWindowKind::{Allow, Deny};
        const fn minutes(n: u64) -> Option<Duration> {
            Some(Duration::from_secs(60 * n))
        }
        // A Thursday.
        let now: Timestamp = "2026-11-19T10:30:00Z".parse().expect("this is a time");
        for (kind, windows, expected) in [
            (Allow, &[("0 10 * * *", "1h")][..], Gate::Open),
            (Allow, &[("0 10 * * *", "30m")], Gate::Open),
            (Allow, &[("0 10 * * *", "29m")], Gate::Closed(minutes(24 * 60 - 30))),
            (Allow, &[("0 12 * * *", "1h"), ("0 11 * * 1-5", "1h")], Gate::Closed(minutes(30))),
            (Allow, &[("0 22 * * *", "12h45m")], Gate::Open),
            (Allow, &[("@hourly", "31m")], Gate::Open),
            (Allow, &[("0 9 1 * 4", "2h")], Gate::Open),
            (Allow, &[("0 9 1 * 3", "2h")], Gate::Closed(minutes(6 * 24 * 60 - 90))),
            (Allow, &[("CRON_TZ=Europe/Berlin 0 11 * * *", "1h")], Gate::Open),
            (Allow, &[("CRON_TZ=UTC 0 11 * * *", "1h")], Gate::Closed(minutes(30))),
            (Allow, &[("@every 1h", "30m")], Gate::Closed(None)),
            (Allow, &[("@every 30m", "1h")], Gate::Open),
            (Allow, &[("nonsense", "1h")], Gate::Closed(None)),
            (Allow, &[("0 10 * * *", "abc")], Gate::Closed(None)),
            (Deny, &[("0 10 * * *", "1h")], Gate::Closed(minutes(30))),
            (Deny, &[("0 10 * * *", "1h"), ("15 10 * * *", "20m")], Gate::Closed(minutes(5))),
            (Deny, &[("0 12 * * *", "1h")], Gate::Open),
            (Deny, &[("nonsense", "1h")], Gate::Open),
        ] {
            let window = |&(schedule, duration): &(&str, &str)| SyncWindow {
                schedule: schedule.to_owned(),
                duration: duration.to_owned(),
            };
            let all = SyncWindows { kind, windows: windows.iter().map(window).collect() };
            assert_eq!(gate(Some(&all), now), expected, "{kind:?} {windows:?}");
        }
        assert_eq!(gate(None, now), Gate::Open);
    }
}
