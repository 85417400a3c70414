//! The date as mail and HTTP write it. Always UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment, taken apart.
pub(super) struct Date {
    year: u64,
    month: usize,
    day: u64,
    weekday: &'static str,
    time: String,
}

impl Date {
    pub(super) fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// Times before 1970 count as 1970.
    pub(super) fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        let second = seconds % 86_400;
        let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        Self { year, month, day, weekday: DAYS[(days % 7) as usize], time }
    }

    /// `Thu, 10 Oct 2024 22:49:55 +0000` (RFC 5322 section 3.3).
    pub(super) fn mail(&self) -> String {
        let month = MONTHS[self.month];
        format!("{}, {} {month} {} {} +0000", self.weekday, self.day, self.year, self.time)
    }

    /// `10-Oct-2024 22:49:55 +0000`, the day padded with a space (RFC 3501, date-time).
    pub(super) fn internal(&self) -> String {
        format!("{:>2}-{}-{:04} {} +0000", self.day, MONTHS[self.month], self.year, self.time)
    }

    /// `2024-10-10 22:49:55Z`, as Microsoft's token endpoint writes it.
    pub(super) fn stamp(&self) -> String {
        format!("{:04}-{:02}-{:02} {}Z", self.year, self.month + 1, self.day, self.time)
    }
}

/// Year, month from 0 and day from 1 of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, usize, u64) {
    let mut left = days;
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    (year, month, left + 1)
}

const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Date {
        Date::of(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn known_moments_are_written_right() {
        assert_eq!(at(1_728_600_595).mail(), "Thu, 10 Oct 2024 22:49:55 +0000");
        assert_eq!(at(0).internal(), " 1-Jan-1970 00:00:00 +0000");
        assert_eq!(at(951_782_400).stamp(), "2000-02-29 00:00:00Z");
        assert_eq!(at(951_868_799 + 86_400).mail(), "Wed, 1 Mar 2000 23:59:59 +0000");
        assert_eq!(at(1_735_689_599).stamp(), "2024-12-31 23:59:59Z");
    }
}
