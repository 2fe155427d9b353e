//! Times, laid out as Go lays them out. The local zone is UTC; others are those that the system knows.

use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;

use super::{Answer, Call, Fault, Function, exactly};
use crate::template::exec::Budget;
use crate::template::value::{Value, Width};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("ago", 1, |call| {
        let then = moment(call, 0);
        let seconds = (call.surroundings.now - then.nanoseconds + 500_000_000).div_euclid(SECOND);
        Ok(Value::text(spell_duration(seconds * SECOND)))
    }),
    exactly("date", 2, |call| in_zone(call.text(0)?.lossy().as_ref(), moment(call, 1), "Local")),
    exactly("dateInZone", 3, |call| in_zone(&call.text(0)?.lossy(), moment(call, 1), &call.text(2)?.lossy())),
    exactly("dateModify", 2, |call| modify(call, false)),
    exactly("date_in_zone", 3, |call| in_zone(&call.text(0)?.lossy(), moment(call, 1), &call.text(2)?.lossy())),
    exactly("date_modify", 2, |call| modify(call, false)),
    exactly("duration", 1, |call| {
        let seconds = match &call.arguments[0] {
            Value::Text(text) => std::str::from_utf8(text).ok().and_then(|it| it.parse().ok()).unwrap_or(0),
            Value::Int(Width::Int64, n) => *n,
            _ => 0,
        };
        Ok(Value::text(spell_duration(i128::from(seconds.wrapping_mul(SECOND as i64)))))
    }),
    exactly("durationRound", 1, |call| {
        let nanoseconds = match &call.arguments[0] {
            Value::Text(text) => parse_duration(&text.lossy()).unwrap_or(0),
            Value::Int(Width::Int64, n) => *n,
            Value::Time(time) => (call.surroundings.now - time.nanoseconds) as i64,
            _ => 0,
        };
        Ok(Value::text(round_duration(nanoseconds.unsigned_abs())))
    }),
    exactly("htmlDate", 1, |call| in_zone("2006-01-02", moment(call, 0), "Local")),
    exactly("htmlDateInZone", 2, |call| in_zone("2006-01-02", moment(call, 0), &call.text(1)?.lossy())),
    exactly("mustDateModify", 2, |call| modify(call, true)),
    exactly("mustToDate", 2, |call| {
        let (layout, text) = (call.text(0)?, call.text(1)?);
        let time =
            parse(&layout.lossy(), &text.lossy()).ok_or_else(|| Fault::new("the text is not laid out like that"))?;
        Ok(Value::Time(Rc::new(time)))
    }),
    exactly("must_date_modify", 2, |call| modify(call, true)),
    exactly("now", 0, |call| Ok(Value::Time(Rc::new(Time { nanoseconds: call.surroundings.now, offset: 0 })))),
    exactly("toDate", 2, |call| {
        let (layout, text) = (call.text(0)?, call.text(1)?);
        let time = parse(&layout.lossy(), &text.lossy()).unwrap_or(Time { nanoseconds: YEAR_ONE, offset: 0 });
        Ok(Value::Time(Rc::new(time)))
    }),
    exactly("unixEpoch", 1, |call| match &call.arguments[0] {
        Value::Time(time) => Ok(Value::text(time.nanoseconds.div_euclid(SECOND).to_string())),
        _ => Err(call.wrong(0, "time.Time")),
    }),
];

const SECOND: i128 = 1_000_000_000;

/// Go's zero time.
const YEAR_ONE: i128 = -62_135_596_800 * SECOND;

/// A point in time and the offset from UTC that it is shown with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::template) struct Time {
    nanoseconds: i128,
    /// In seconds.
    offset: i32,
}

impl Time {
    fn civil(&self) -> DateTime {
        let shown = self.nanoseconds + i128::from(self.offset) * SECOND;
        let (seconds, nanoseconds) = (shown.div_euclid(SECOND) as i64, shown.rem_euclid(SECOND) as i64);
        let (days, seconds) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
        // The years that jiff knows: up to four digits.
        let days = days.clamp(-4_371_587, 2_932_896);
        let span = jiff::Span::new().days(days).seconds(seconds).nanoseconds(nanoseconds);
        date(1970, 1, 1).at(0, 0, 0, 0).saturating_add(span)
    }

    /// As Go's RFC 3339 with a fraction as long as it has to be.
    pub(in crate::template) fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    fn zone_name(&self) -> String {
        if self.offset == 0 { "UTC".into() } else { self.spell_offset("") }
    }

    fn spell_offset(&self, colon: &str) -> String {
        let minutes = self.offset.abs() / 60;
        format!("{}{:02}{colon}{:02}", if self.offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
    }

    /// As Go's `Time.Format`.
    fn format(&self, layout: &str) -> String {
        self.format_in(layout, &self.zone_name())
    }

    fn format_in(&self, layout: &str, zone: &str) -> String {
        let at = self.civil();
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let Some((element, spelt)) =
                ELEMENTS.iter().copied().chain([(Element::Fraction, "")]).find_map(|(element, text)| {
                    let n = element.length(text, rest)?;
                    Some((element, &rest[..n]))
                })
            else {
                let c = rest.chars().next().expect("there is a rest");
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            rest = &rest[spelt.len()..];
            let hour12 = match at.hour() % 12 {
                0 => 12,
                n => n,
            };
            match element {
                Element::Year => out.push_str(&format!("{:04}", at.year())),
                Element::Year2 => out.push_str(&format!("{:02}", at.year().rem_euclid(100))),
                Element::Month => out.push_str(MONTHS[at.month() as usize - 1]),
                Element::MonthShort => out.push_str(&MONTHS[at.month() as usize - 1][..3]),
                Element::Month2 => out.push_str(&format!("{:02}", at.month())),
                Element::Month1 => out.push_str(&at.month().to_string()),
                Element::Weekday => out.push_str(WEEKDAYS[at.weekday().to_sunday_zero_offset() as usize]),
                Element::WeekdayShort => out.push_str(&WEEKDAYS[at.weekday().to_sunday_zero_offset() as usize][..3]),
                Element::DayOfYear => out.push_str(&format!("{:03}", at.day_of_year())),
                Element::Day2 => out.push_str(&format!("{:02}", at.day())),
                Element::DaySpace => out.push_str(&format!("{:>2}", at.day())),
                Element::Day1 => out.push_str(&at.day().to_string()),
                Element::Hour24 => out.push_str(&format!("{:02}", at.hour())),
                Element::Hour2 => out.push_str(&format!("{hour12:02}")),
                Element::Hour1 => out.push_str(&hour12.to_string()),
                Element::Minute2 => out.push_str(&format!("{:02}", at.minute())),
                Element::Minute1 => out.push_str(&at.minute().to_string()),
                Element::Second2 => out.push_str(&format!("{:02}", at.second())),
                Element::Second1 => out.push_str(&at.second().to_string()),
                Element::Half => out.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
                Element::HalfLower => out.push_str(if at.hour() < 12 { "am" } else { "pm" }),
                Element::ZoneName => out.push_str(zone),
                Element::OffsetZColon | Element::OffsetZ if self.offset == 0 => out.push('Z'),
                Element::OffsetZColon | Element::OffsetColon => out.push_str(&self.spell_offset(":")),
                Element::OffsetZ | Element::Offset => out.push_str(&self.spell_offset("")),
                Element::OffsetHour => out.push_str(&self.spell_offset("")[..3]),
                Element::Fraction => {
                    let digits = format!("{:09}", at.subsec_nanosecond());
                    let digits = &digits[..(spelt.len() - 1).min(9)];
                    let shown = if spelt.ends_with('9') { digits.trim_end_matches('0') } else { digits };
                    if !shown.is_empty() {
                        out.push_str(&spelt[..1]);
                        out.push_str(shown);
                    }
                }
            }
        }
        out
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// What Go's reference time can be spelt with in a layout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Element {
    Year,
    Year2,
    Month,
    MonthShort,
    Month2,
    Month1,
    Weekday,
    WeekdayShort,
    DayOfYear,
    Day2,
    DaySpace,
    Day1,
    Hour24,
    Hour2,
    Hour1,
    Minute2,
    Minute1,
    Second2,
    Second1,
    Half,
    HalfLower,
    ZoneName,
    OffsetZColon,
    OffsetZ,
    OffsetColon,
    Offset,
    OffsetHour,
    /// A point or comma and as many digits as there are zeros or nines.
    Fraction,
}

impl Element {
    /// How much of `rest` spells this element, if it begins with it.
    fn length(self, text: &str, rest: &str) -> Option<usize> {
        let lower_next = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_lowercase);
        match self {
            Self::Fraction => {
                let after = rest.strip_prefix(['.', ','])?;
                let digit = after.chars().next().filter(|it| matches!(it, '0' | '9'))?;
                let n = after.chars().take_while(|it| *it == digit).count();
                (!after[n..].starts_with(|it: char| it.is_ascii_digit())).then_some(n + 1)
            }
            // "Jan" inside of a word such as "Janet" is no month, and "Mon" in "Month" no day.
            Self::MonthShort | Self::WeekdayShort if lower_next(3) => None,
            Self::DaySpace if rest.starts_with("_2006") => None,
            _ => rest.starts_with(text).then_some(text.len()),
        }
    }
}

/// Longer spellings before the shorter ones that they begin with.
const ELEMENTS: &[(Element, &str)] = &[
    (Element::Month, "January"),
    (Element::MonthShort, "Jan"),
    (Element::Weekday, "Monday"),
    (Element::WeekdayShort, "Mon"),
    (Element::ZoneName, "MST"),
    (Element::DayOfYear, "002"),
    (Element::Month2, "01"),
    (Element::Day2, "02"),
    (Element::Hour2, "03"),
    (Element::Minute2, "04"),
    (Element::Second2, "05"),
    (Element::Year2, "06"),
    (Element::Hour24, "15"),
    (Element::Month1, "1"),
    (Element::Year, "2006"),
    (Element::Day1, "2"),
    (Element::DaySpace, "_2"),
    (Element::Hour1, "3"),
    (Element::Minute1, "4"),
    (Element::Second1, "5"),
    (Element::Half, "PM"),
    (Element::HalfLower, "pm"),
    (Element::OffsetColon, "-07:00"),
    (Element::Offset, "-0700"),
    (Element::OffsetHour, "-07"),
    (Element::OffsetZColon, "Z07:00"),
    (Element::OffsetZ, "Z0700"),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// As Go's `time.Parse`.
fn parse(layout: &str, text: &str) -> Option<Time> {
    let (mut year, mut month, mut day, mut hour, mut minute, mut second) = (0_i16, 1_i8, 1_i8, 0_i8, 0_i8, 0_i8);
    let (mut nanosecond, mut offset, mut half, mut day_of_year) = (0_i32, 0_i32, None, None);
    let (mut layout, mut text) = (layout, text);
    while !layout.is_empty() {
        let found = ELEMENTS
            .iter()
            .copied()
            .chain([(Element::Fraction, "")])
            .find_map(|(element, spelt)| Some((element, element.length(spelt, layout)?)));
        let Some((element, n)) = found else {
            let c = layout.chars().next()?;
            text = text.strip_prefix(c)?;
            layout = &layout[c.len_utf8()..];
            continue;
        };
        layout = &layout[n..];
        let mut number = |least: usize, most: usize| -> Option<i32> {
            let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let value = (digits >= least).then(|| text[..digits].parse().ok())??;
            text = &text[digits..];
            Some(value)
        };
        match element {
            Element::Year => year = number(4, 4)? as i16,
            Element::Year2 => year = number(2, 2).map(|it| if it >= 69 { 1900 + it } else { 2000 + it })? as i16,
            Element::Month2 => month = number(2, 2)? as i8,
            Element::Month1 => month = number(1, 2)? as i8,
            Element::Day2 => day = number(2, 2)? as i8,
            Element::Day1 => day = number(1, 2)? as i8,
            Element::DaySpace => {
                text = text.strip_prefix(' ').unwrap_or(text);
                let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
                day = text[..digits].parse().ok()?;
                text = &text[digits..];
            }
            Element::DayOfYear => day_of_year = Some(number(3, 3)? as i16),
            Element::Hour24 => hour = number(2, 2)? as i8,
            Element::Hour2 => hour = number(2, 2)? as i8,
            Element::Hour1 => hour = number(1, 2)? as i8,
            Element::Minute2 => minute = number(2, 2)? as i8,
            Element::Minute1 => minute = number(1, 2)? as i8,
            Element::Second2 | Element::Second1 => {
                second = if element == Element::Second2 { number(2, 2)? } else { number(1, 2)? } as i8;
                // A fraction may follow even where the layout has none.
                let digits =
                    text.strip_prefix(['.', ',']).map_or(0, |it| it.bytes().take_while(u8::is_ascii_digit).count());
                if digits > 0 && Element::Fraction.length("", layout).is_none() {
                    nanosecond = format!("{:0<9}", &text[1..=digits]).get(..9)?.parse().ok()?;
                    text = &text[digits + 1..];
                }
            }
            Element::Fraction => {
                let digits =
                    text.strip_prefix(['.', ',']).map_or(0, |it| it.bytes().take_while(u8::is_ascii_digit).count());
                if digits > 0 {
                    nanosecond = format!("{:0<9}", &text[1..=digits]).get(..9)?.parse().ok()?;
                    text = &text[digits + 1..];
                }
            }
            Element::Half | Element::HalfLower => {
                let (am, pm) = if element == Element::Half { ("AM", "PM") } else { ("am", "pm") };
                half = Some(text.starts_with(pm));
                text = text.strip_prefix(am).or_else(|| text.strip_prefix(pm))?;
            }
            Element::Month | Element::MonthShort => {
                let n = MONTHS.iter().position(|it| starts_with(text, name(it, element == Element::Month)))?;
                month = n as i8 + 1;
                text = &text[name(MONTHS[n], element == Element::Month).len()..];
            }
            Element::Weekday | Element::WeekdayShort => {
                let n = WEEKDAYS.iter().position(|it| starts_with(text, name(it, element == Element::Weekday)))?;
                text = &text[name(WEEKDAYS[n], element == Element::Weekday).len()..];
            }
            Element::ZoneName => text = text.strip_prefix("UTC").or_else(|| text.strip_prefix("GMT"))?,
            Element::OffsetZColon | Element::OffsetZ if text.starts_with('Z') => text = &text[1..],
            Element::OffsetZColon | Element::OffsetColon | Element::OffsetZ | Element::Offset | Element::OffsetHour => {
                let sign = if text.starts_with('-') { -1 } else { 1 };
                text = text.strip_prefix(['+', '-'])?;
                let hours: i32 = text.get(..2)?.parse().ok()?;
                text = &text[2..];
                let mut minutes: i32 = 0;
                if element != Element::OffsetHour {
                    if matches!(element, Element::OffsetZColon | Element::OffsetColon) {
                        text = text.strip_prefix(':')?;
                    }
                    minutes = text.get(..2)?.parse().ok()?;
                    text = &text[2..];
                }
                if hours > 24 || minutes >= 60 {
                    return None;
                }
                offset = sign * (hours * 3600 + minutes * 60);
            }
        }
    }
    if !text.is_empty() {
        return None;
    }
    match half {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let day = match day_of_year {
        None => jiff::civil::Date::new(year, month, day).ok()?,
        Some(n) => jiff::civil::Date::new(year, 1, 1).ok()?.with().day_of_year(n).build().ok()?,
    };
    let at = day.to_datetime(jiff::civil::Time::new(hour, minute, second, nanosecond).ok()?);
    let days = i128::from(days_since_1970(at.date()));
    let seconds = days * 86400 + i128::from(hour) * 3600 + i128::from(minute) * 60 + i128::from(second);
    Some(Time { nanoseconds: (seconds - i128::from(offset)) * SECOND + i128::from(nanosecond), offset })
}

fn days_since_1970(day: jiff::civil::Date) -> i32 {
    (day - date(1970, 1, 1)).get_days()
}

fn name(full: &str, whole: bool) -> &str {
    if whole { full } else { &full[..3] }
}

fn starts_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name))
}

/// What sprig takes for a time: times, and seconds since 1970; all else is now.
fn moment(call: &Call<'_, '_>, n: usize) -> Time {
    match &call.arguments[n] {
        Value::Time(time) => (**time).clone(),
        Value::Int(Width::Int | Width::Int64, seconds) => {
            Time { nanoseconds: i128::from(*seconds) * SECOND, offset: 0 }
        }
        _ => Time { nanoseconds: call.surroundings.now, offset: 0 },
    }
}

fn in_zone(layout: &str, time: Time, zone: &str) -> Answer {
    match zone {
        "" | "UTC" | "Local" => {}
        name => match TimeZone::get(name) {
            Ok(zone) => {
                let at =
                    Timestamp::from_nanosecond(time.nanoseconds).map_err(|_| Fault::new("no such time is known"))?;
                let there = zone.to_offset_info(at);
                let time = Time { offset: there.offset().seconds(), ..time };
                return Ok(Value::text(time.format_in(layout, there.abbreviation())));
            }
            Err(_) if jiff::tz::db().is_definitively_empty() => {
                return Err(Fault::new("UTC is the only time zone that is known here: the system has no zoneinfo"));
            }
            // As Go takes a zone that it does not know.
            Err(_) => {}
        },
    }
    Ok(Value::text(Time { offset: 0, ..time }.format(layout)))
}

fn modify(call: &mut Call<'_, '_>, must: bool) -> Answer {
    let text = call.text(0)?;
    let Value::Time(time) = &call.arguments[1] else { return Err(call.wrong(1, "time.Time")) };
    match parse_duration(&text.lossy()) {
        Some(by) => Ok(Value::Time(Rc::new(Time { nanoseconds: time.nanoseconds + i128::from(by), ..**time }))),
        None if must => Err(Fault::new("invalid duration")),
        None => Ok(Value::Time(Rc::clone(time))),
    }
}

/// As Go's `time.ParseDuration`, in nanoseconds.
fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let n = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(n);
        let m = after.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(m);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
            return None;
        }
        sum += whole.parse::<i128>().unwrap_or(0) * unit;
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            sum += fraction.parse::<i128>().ok()? * unit / 10_i128.pow(fraction.len() as u32);
        }
        rest = after;
    }
    i64::try_from(sign * sum).ok()
}

/// As Go's `Duration.String`, for whole seconds.
fn spell_duration(nanoseconds: i128) -> String {
    let seconds = nanoseconds.unsigned_abs() / SECOND.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{}{seconds}s", if seconds == 0 { "" } else { sign }),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// As sprig's `durationRound`.
fn round_duration(nanoseconds: u64) -> String {
    const HOUR: u64 = 3600 * SECOND as u64;
    for (unit, size) in [
        ("y", 24 * 365 * HOUR),
        ("mo", 24 * 30 * HOUR),
        ("d", 24 * HOUR),
        ("h", HOUR),
        ("m", HOUR / 60),
        ("s", SECOND as u64),
    ] {
        if nanoseconds > size {
            return format!("{}{unit}", nanoseconds / size);
        }
    }
    "0s".into()
}

/// The methods of a time that templates use.
pub(super) fn call_method(time: &Rc<Time>, name: &str, arguments: &[Value], budget: &mut Budget) -> Option<Answer> {
    let at = time.civil();
    if let [Value::Text(layout)] = arguments {
        return (name == "Format").then(|| {
            budget.allocate(layout.len() * 8)?;
            Ok(Value::text(time.format(&layout.lossy())))
        });
    }
    if !arguments.is_empty() {
        return None;
    }
    Some(Ok(match name {
        "Unix" => Value::int64(time.nanoseconds.div_euclid(SECOND) as i64),
        "UnixMilli" => Value::int64(time.nanoseconds.div_euclid(SECOND / 1000) as i64),
        "UnixMicro" => Value::int64(time.nanoseconds.div_euclid(1000) as i64),
        "UnixNano" => Value::int64(time.nanoseconds as i64),
        "Year" => Value::int(i64::from(at.year())),
        "Day" => Value::int(i64::from(at.day())),
        "YearDay" => Value::int(i64::from(at.day_of_year())),
        "Hour" => Value::int(i64::from(at.hour())),
        "Minute" => Value::int(i64::from(at.minute())),
        "Second" => Value::int(i64::from(at.second())),
        "Nanosecond" => Value::int(i64::from(at.subsec_nanosecond())),
        "IsZero" => Value::Bool(time.nanoseconds == YEAR_ONE),
        "UTC" | "Local" => Value::Time(Rc::new(Time { nanoseconds: time.nanoseconds, offset: 0 })),
        "String" => Value::text(time.to_string()),
        _ => return None,
    }))
}
