//! The list of permitted offences against limits. It may only shrink.
//!
//! A line is `amount path subject`. Knows nothing about what is measured.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::{Measure, Offence};

/// Where the list lies, as seen from the root.
pub(crate) const FILE: &str = "xtask/tidy-allowed.txt";

type Key<'a> = (&'a str, &'a str);

fn parse(list: &str) -> Result<BTreeMap<Key<'_>, usize>> {
    let mut entries = BTreeMap::new();
    for line in list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut fields = line.splitn(3, ' ');
        let (Some(amount), Some(path), Some(subject)) =
            (fields.next(), fields.next(), fields.next())
        else {
            anyhow::bail!("{FILE}: not `amount path subject`: {line}");
        };
        let amount = amount.parse().with_context(|| format!("{FILE}: {line}"))?;
        ensure!(
            entries.insert((path, subject), amount).is_none(),
            "{FILE}: twice: {line}"
        );
    }
    Ok(entries)
}

fn measures<'a>(offences: &'a [Offence]) -> BTreeMap<Key<'a>, usize> {
    let keyed = |offence: &'a Offence| -> Option<(Key<'a>, usize)> {
        let Measure { subject, amount } = offence.measure.as_ref()?;
        Some(((offence.path.as_str(), subject.as_str()), *amount))
    };
    offences.iter().filter_map(keyed).collect()
}

/// What of `offences` the list does not permit, and what of the list is no longer needed.
pub(crate) fn apply(list: &str, offences: &[Offence]) -> Result<Vec<Offence>> {
    let permitted = parse(list)?;
    let found = measures(offences);
    let mut left: Vec<Offence> = Vec::new();
    for ((path, subject), amount) in &permitted {
        let now = found.get(&(*path, *subject)).copied().unwrap_or(0);
        if now < *amount {
            let what = format!(
                "permits {amount} of {path} {subject}, but there are {now}: run \
                 `cargo xtask tidy --shrink`"
            );
            left.push(Offence {
                path: FILE.to_owned(),
                line: 0,
                what,
                measure: None,
            });
        }
    }
    let exceeds = |offence: &Offence| match &offence.measure {
        None => true,
        Some(Measure { subject, amount }) => {
            let limit = permitted.get(&(offence.path.as_str(), subject.as_str()));
            limit.is_none_or(|limit| amount > limit)
        }
    };
    left.extend(offences.iter().filter(|offence| exceeds(offence)).cloned());
    Ok(left)
}

/// The head of a list that is begun anew.
const HEAD: &str = "\
# Offences against limits that are permitted for the time being: amount, path, subject.
# This list may only shrink: `cargo xtask tidy --shrink` lowers it to what is left.
";

/// The list with every amount lowered to what is there, and without what is not. Where there is
/// no list yet, one with all there is.
pub(crate) fn shrunk(list: Option<&str>, offences: &[Offence]) -> Result<String> {
    let permitted = list.map(parse).transpose()?;
    let comments = list
        .unwrap_or(HEAD)
        .lines()
        .filter(|line| line.starts_with('#'));
    let mut out: String = comments.map(|line| format!("{line}\n")).collect();
    for (key, now) in measures(offences) {
        let limit = permitted
            .as_ref()
            .map_or(Some(now), |all| all.get(&key).copied());
        if let (Some(limit), (path, subject)) = (limit, key) {
            out += &format!("{} {path} {subject}\n", limit.min(now));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offence(path: &str, amount: usize) -> Offence {
        let measure = Some(Measure {
            subject: "file-lines".to_owned(),
            amount,
        });
        Offence {
            path: path.to_owned(),
            line: 0,
            what: "too long".to_owned(),
            measure,
        }
    }

    fn paths(left: Vec<Offence>) -> Vec<String> {
        left.into_iter().map(|offence| offence.path).collect()
    }

    const LIST: &str = "# why\n500 a.rs file-lines\n";

    #[test]
    fn what_is_on_the_list_passes_as_long_as_it_does_not_grow() -> Result<()> {
        assert!(apply(LIST, &[offence("a.rs", 500)])?.is_empty());
        assert_eq!(paths(apply(LIST, &[offence("a.rs", 501)])?), ["a.rs"]);
        assert_eq!(paths(apply("", &[offence("a.rs", 401)])?), ["a.rs"]);
        Ok(())
    }

    #[test]
    fn a_list_that_permits_too_much_must_shrink() -> Result<()> {
        assert_eq!(paths(apply(LIST, &[])?), [FILE]);
        assert_eq!(paths(apply(LIST, &[offence("a.rs", 450)])?), [FILE]);
        assert_eq!(
            shrunk(Some(LIST), &[offence("a.rs", 450)])?,
            "# why\n450 a.rs file-lines\n"
        );
        assert_eq!(
            shrunk(Some(LIST), &[offence("a.rs", 900), offence("b.rs", 900)])?,
            LIST
        );
        assert_eq!(shrunk(Some(LIST), &[])?, "# why\n");
        let begun = shrunk(None, &[offence("b.rs", 900)])?;
        assert!(begun.ends_with("left.\n900 b.rs file-lines\n"), "{begun}");
        Ok(())
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused() {
        for list in ["x a.rs lines", "5 a.rs", "5 a.rs l\n6 a.rs l"] {
            assert!(apply(list, &[]).is_err(), "{list}");
        }
    }
}
