//! Permission bits, as chmod(1) reads them.

/// Reads octal permission bits.
pub(crate) fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && !text.starts_with('+') => Ok(mode),
        _ => Err("write permission bits in octal, from 0 to 0777".into()),
    }
}

/// What to make of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These.
    To(u32),
    /// Each of these in turn: an operator with the bits that it is about and those that it names.
    By(Vec<(char, u32, Bits)>),
}

/// The bits that follow an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    These(u32),
    /// Those that the user (6), the group (3) or others (0) have, by how far theirs are shifted.
    Of(u32),
}

impl Change {
    /// Reads `0640`, `u+rw`, `go-w`, `a=r`, `g=u`, and several of the latter with commas.
    ///
    /// Without a letter for whom, all are meant: a umask plays no part with regions.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return octal(text).map(Self::To);
        }
        let form = || format!("{text:?} is no mode: write octal bits (0640) or changes (u+rw,go-w, a=r, g=u)");
        let mut changes = Vec::new();
        for part in text.split(',') {
            let mut rest = part.trim_start_matches(['u', 'g', 'o', 'a']);
            let whom = &part[..part.len() - rest.len()];
            let mask = whom.chars().fold(0, |mask, who| mask | class(who).map_or(0o777, |shift| 0o7 << shift));
            let mask = if whom.is_empty() { 0o777 } else { mask };
            if rest.is_empty() {
                return Err(form());
            }
            while !rest.is_empty() {
                let operator = rest.chars().next().filter(|c| "+-=".contains(*c)).ok_or_else(form)?;
                let named = &rest[1..];
                let end = named.find(['+', '-', '=']).unwrap_or(named.len());
                changes.push((operator, mask, bits(&named[..end]).ok_or_else(form)?));
                rest = &named[end..];
            }
        }
        Ok(Self::By(changes))
    }

    /// Applies the change to permission bits.
    pub(crate) fn apply(&self, mode: u32) -> u32 {
        let changes = match self {
            Self::To(mode) => return *mode,
            Self::By(changes) => changes,
        };
        changes.iter().fold(mode, |mode, (operator, mask, bits)| {
            let bits = mask
                & match bits {
                    Bits::These(bits) => *bits,
                    Bits::Of(shift) => (mode >> shift & 0o7) * 0o111,
                };
            match operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !mask | bits,
            }
        })
    }
}

fn bits(named: &str) -> Option<Bits> {
    if let [who @ ('u' | 'g' | 'o')] = named.chars().collect::<Vec<_>>()[..] {
        return class(who).map(Bits::Of);
    }
    named
        .chars()
        .try_fold(0, |bits, c| {
            Some(
                bits | match c {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    _ => return None,
                },
            )
        })
        .map(Bits::These)
}

/// How far the bits of a class are shifted; `None` for all.
fn class(who: char) -> Option<u32> {
    match who {
        'u' => Some(6),
        'g' => Some(3),
        'o' => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_applied_as_chmod_does() {
        for (text, before, after) in [
            ("0640", 0o600, 0o640),
            ("0", 0o600, 0),
            ("u+x", 0o600, 0o700),
            ("g=u", 0o640, 0o660),
            ("go-rwx", 0o666, 0o600),
            ("a=r", 0o600, 0o444),
            ("=", 0o777, 0),
            ("+r", 0o200, 0o644),
            ("u=rw,go=r", 0o777, 0o644),
            ("ug+w-x", 0o511, 0o621),
            ("o=g-r", 0o640, 0o640),
        ] {
            assert_eq!(Change::parse(text).unwrap().apply(before), after, "{text}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "u", "8", "01777", "u+q", "rw", "u+r,", "+7", "u+rg", "0o640"] {
            assert!(Change::parse(text).is_err(), "{text}");
        }
    }
}
