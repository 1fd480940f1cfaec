//! What is asked of a storage and held back from it is counted.

use super::*;

#[tokio::test]
async fn writes_are_counted_with_their_requests_and_a_storage_that_is_away_as_failures() {
    let shared = Shared::new();
    let storage = shared.storage();
    let owned = open(&storage).await;
    let opened = storage.figures();
    assert_eq!(opened.groups, 0);
    let budget = OwnedSettings::default().unflushed_bytes_max as u64;
    assert_eq!(opened.unflushed_bytes_max, budget);
    for number in 0..2 {
        put_row(&owned, number, r#"{"n":1}"#).await.unwrap();
    }
    let written = storage.figures();
    let requests = |figures: &crate::StorageFigures, wanted: &str| {
        let mut asked = figures.asked.iter();
        let (_, requests, failures) = asked.find(|(kind, ..)| *kind == wanted).unwrap();
        (*requests, *failures)
    };
    let (puts, failed) = requests(&written, "put");
    assert!(puts >= requests(&opened, "put").0 + 2, "{written:?}");
    assert_eq!((failed, written.failed_ago), (0, None), "{written:?}");
    assert_eq!(written.groups, 2);
    assert!(!written.groups_took.is_zero());
    assert!(written.unflushed_bytes > 0, "of the first write");
    owned.close().await;
    drop(owned);
    let closed = storage.figures();
    let held_back = (closed.unflushed_bytes, closed.unflushed_bytes_max);
    assert_eq!(held_back, (0, 0), "{closed:?}");

    let away = shared.directory.path().with_extension("away");
    std::fs::rename(shared.directory.path(), &away).unwrap();
    assert!(storage.anew().is_err());
    assert!(storage.number(None).await.is_err());
    std::fs::rename(&away, shared.directory.path()).unwrap();
    let failed = storage.figures();
    assert_eq!(requests(&failed, "look"), (1, 1));
    assert_eq!(requests(&failed, "get").1, 1, "{failed:?}");
    assert!(failed.failed_ago.is_some());
}
