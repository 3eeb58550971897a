//! Sizes, as people write them.

/// What may follow a number: powers of 1024, by their first letter.
const UNITS: &str = "KMGTPE";

/// Reads `4096`, `0x1000`, `64K`, `2MiB`, `1GB`: `K` and `KiB` are 1024, `KB` is 1000, as dd(1) has it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    const FORM: &str = "write bytes, as 4096 or 0x1000, or a number with K, M, G, T, as 64K or 2MiB";
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, unit) = digits.split_at(end);
    if digits.is_empty() || (radix == 16 && !unit.is_empty()) {
        return Err(FORM.into());
    }
    let unit = unit.trim_start();
    let (factor, rest) = match unit.chars().next().and_then(|letter| UNITS.find(letter.to_ascii_uppercase())) {
        // `B` alone is bytes.
        None => (Some(1_u64), unit),
        Some(power) => {
            let rest = &unit[1..];
            let base: u64 = if rest.eq_ignore_ascii_case("B") { 1000 } else { 1024 };
            (base.checked_pow(power as u32 + 1), rest)
        }
    };
    if !["", "B", "IB"].iter().any(|known| rest.eq_ignore_ascii_case(known)) || unit.eq_ignore_ascii_case("iB") {
        return Err(FORM.into());
    }
    let number = u64::from_str_radix(digits, radix).ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "it is beyond 64 bits".into())
}

/// Writes a size for people: exact where a unit divides it, else to one decimal; below 10,000 in bytes.
pub(crate) fn show(bytes: u64) -> String {
    let power = (bytes.max(1).ilog2() / 10).min(6);
    let unit = 1_u64 << (10 * power);
    let name = power.checked_sub(1).and_then(|index| UNITS.chars().nth(index as usize));
    match name {
        Some(name) if bytes % unit == 0 => format!("{}{name}iB", bytes / unit),
        Some(name) if bytes >= 10_000 => format!("{:.1}{name}iB", bytes as f64 / unit as f64),
        _ => bytes.to_string(),
    }
}

/// Writes a size for people and, where that is another text, in bytes.
pub(crate) fn show_both(bytes: u64) -> String {
    let short = show(bytes);
    if short == bytes.to_string() { short } else { format!("{short} ({bytes} bytes)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("0x1000", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("64KB", 64_000),
            ("2MiB", 2 << 20),
            ("3G", 3 << 30),
            ("1T", 1 << 40),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "K", "-1", "+1", "1.5M", "64Q", "64KK", "64iB", "0x", "0x10K", "1 2", "16E", "99999999999999999999"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_exactly_reads_back_as_the_same() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1024, "1KiB"),
            (4096, "4KiB"),
            (5000, "5000"),
            (65_536, "64KiB"),
            (2 << 20, "2MiB"),
            (u64::MAX - u64::MAX % (1 << 60), "15EiB"),
        ] {
            assert_eq!((show(bytes).as_str(), parse(text)), (text, Ok(bytes)));
        }
        assert_eq!(show(10_001), "9.8KiB");
        assert_eq!(show(123_456_789), "117.7MiB");
        assert_eq!(show_both(65_536), "64KiB (65536 bytes)");
        assert_eq!(show_both(5000), "5000");
    }
}
