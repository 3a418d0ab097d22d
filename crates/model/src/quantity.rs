//! Durations and sizes as people write them: `25h`, `1h 30m`, `7d`, `1GiB`, `500MB`.

use jiff::{Span, SpanRelativeTo};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The longest duration that is read: added to any date that a clock may show, it still gives a date.
pub const LONGEST: Duration = Duration::days(36_500);

/// Reads a duration such as `90s`, `15m`, `1h 30m` or `7d` (a day is 24 hours here). A bare number is
/// refused: its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 90s, 15m, 6h or 7d");
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    if span.is_negative() {
        return Err(format!("`{text}` is negative"));
    }
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(format!("`{text}`: months and years differ in length; write days"));
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let duration = Duration::try_from(std::time::Duration::try_from(exact).map_err(|_| wrong())?)
        .map_err(|_| wrong())?;
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than {} days", LONGEST.whole_days()));
    }
    Ok(duration)
}

/// Reads a size in bytes such as `1GiB`, `500MB` or `1048576`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    text.trim()
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("`{text}` is not a size; write for example 500MB, 1GiB or 1048576"))
}

/// A size for people, in binary units: `1.2 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A moment for people and logs: RFC 3339, in the offset that it carries.
pub fn show_time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// A duration for people, in its two largest units: `2d 3h`, `5m 4s`, `0s`.
pub fn show_duration(duration: Duration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let total = duration.whole_seconds().unsigned_abs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = total;
    let mut parts = Vec::with_capacity(2);
    for (length, unit) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
        if parts.len() == 2 || (!parts.is_empty() && count == 0) {
            break;
        }
    }
    if parts.is_empty() {
        parts.push("0s".to_owned());
    }
    format!("{sign}{}", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_people_write_them() {
        assert_eq!(parse_duration("90s"), Ok(Duration::seconds(90)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::minutes(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::days(7)));
        assert_eq!(parse_duration("2w"), Ok(Duration::weeks(2)));
        assert_eq!(parse_duration("36500d"), Ok(LONGEST));
        for wrong in ["", "36501d", "99999999h", "7", "-1h", "1 month", "soon", "1h;"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_sizes_as_people_write_them() {
        assert_eq!(parse_bytes("1GiB"), Ok(1 << 30));
        assert_eq!(parse_bytes("500MB"), Ok(500_000_000));
        assert_eq!(parse_bytes("1048576"), Ok(1 << 20));
        for wrong in ["", "-1", "lots", "1 QB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shows_the_two_largest_units() {
        let shown = |seconds| show_duration(Duration::seconds(seconds));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(61), "1m 1s");
        assert_eq!(shown(3_600), "1h");
        assert_eq!(shown(3_601), "1h");
        assert_eq!(shown(90_061), "1d 1h");
        assert_eq!(shown(-90), "-1m 30s");
        assert_eq!(show_bytes(1 << 30), "1.0 GiB");
    }
}
