//! Every file of an engine cut, flipped, emptied or removed: named by the error, or nothing lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;

const PLACES: usize = 300;

/// All files below a directory, in order.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            files(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn filled(path: &Path) {
    let engine = LsmEngine::open(path, &LsmSettings::default()).unwrap();
    for partition in 1..=3 {
        engine.open_partition(partition).unwrap();
        for index in 1..=3 {
            let key = format!("k{index}");
            let value = vec![u8::try_from(index).unwrap(); 3_000];
            let write = RowWrite {
                key: key.as_bytes(),
                value: Some(&value),
            };
            engine.apply(partition, index, &[write]).unwrap();
            engine.checkpoint(partition, &[]).unwrap();
        }
    }
}

fn everything(path: &Path) -> Result<Vec<(u64, u64, Rows)>, EngineError> {
    let engine = LsmEngine::open(path, &LsmSettings::default())?;
    if let Some((_, reason)) = engine.broken().into_iter().next() {
        let path = path.to_owned();
        return Err(EngineError::Corrupt { path, reason });
    }
    let partitions = engine.partitions().into_iter();
    let read = partitions.map(|partition| {
        let page = engine.scan(partition, &Scan::all(usize::MAX, usize::MAX))?;
        Ok((partition, engine.applied(partition), page.rows))
    });
    read.collect()
}

/// Steps of a linear congruence: one seed, one run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn damage_anywhere_is_named_or_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    filled(&whole);
    let expected = everything(&whole).unwrap();
    let mut chance = Chance(7);
    let mut wrong = Vec::new();
    for round in 0..PLACES {
        let damaged = home.path().join("damaged");
        copy(&whole, &damaged);
        let mut found = Vec::new();
        files(&damaged, &mut found);
        let file = &found[chance.below(found.len())];
        let mut content = fs::read(file).unwrap();
        let at = chance.below(content.len().max(1));
        let what = ["cut", "flip", "empty", "remove"][round % 4];
        match what {
            "cut" => content.truncate(at),
            "flip" if !content.is_empty() => content[at] ^= 1 << chance.below(8),
            _ => content.clear(),
        }
        if what == "remove" {
            fs::remove_file(file).unwrap();
        } else {
            fs::write(file, &content).unwrap();
        }
        let name = file.strip_prefix(&damaged).unwrap().display().to_string();
        match catch_unwind(AssertUnwindSafe(|| everything(&damaged))) {
            Err(_) => wrong.push(format!("{what} {name} at {at}: panic")),
            Ok(Ok(rows)) if rows != expected => {
                wrong.push(format!("{what} {name} at {at}: rows are lost"));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let place = damaged.display().to_string();
                if !error.to_string().contains(&place) {
                    wrong.push(format!("{what} {name} at {at}: {error}"));
                }
            }
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_partition_that_is_put_aside_keeps_its_files_and_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("rows");
    filled(&path);
    let engine = LsmEngine::open(&path, &LsmSettings::default()).unwrap();
    let first = engine.put_aside(2).unwrap().unwrap();
    assert_eq!(engine.partitions(), [1, 3]);
    assert_eq!(engine.put_aside(2).unwrap(), None);
    engine.open_partition(2).unwrap();
    let second = engine.put_aside(2).unwrap().unwrap();
    assert_ne!(first, second);
    let mut kept = Vec::new();
    files(&first, &mut kept);
    assert!(
        kept.iter()
            .any(|file| file.parent().unwrap().ends_with("tables"))
    );
    drop(engine);
    assert_eq!(everything(&path).unwrap().len(), 2);
}

#[test]
fn one_broken_partition_leaves_the_others_usable_and_is_opened_only_when_it_was_put_aside() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("rows");
    filled(&path);
    let mut all = Vec::new();
    files(&path, &mut all);
    let of_second = |file: &&PathBuf| file.display().to_string().contains("/0000000000000002.");
    let mut currents = all.iter().filter(|file| file.ends_with("current"));
    let current = currents.find(of_second).unwrap();
    fs::remove_file(current).unwrap();
    let engine = LsmEngine::open(&path, &LsmSettings::default()).unwrap();
    assert_eq!(engine.partitions(), [1, 3]);
    assert!(
        engine.broken()[&2].contains("current"),
        "{:?}",
        engine.broken()
    );
    assert!(engine.get(2, b"k1").is_err());
    assert!(engine.open_partition(2).is_err());
    assert_eq!(engine.get(1, b"k1").unwrap().unwrap().len(), 3_000);
    let place = engine.put_aside(2).unwrap().unwrap();
    assert!(place.join("tables").is_dir() && !current.exists());
    engine.open_partition(2).unwrap();
    assert_eq!(engine.applied(2), 0);
}
