//! Tables and members by name, made once for each version of the cluster map, so that a request
//! finds its table by one lookup.
//!
//! Knows nothing of rows and requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderValue;
use tablestore_placement::{ClusterMap, KeyDefinition, StorageId, TableDefinition, TableId};
use tablestore_store::KeyType;

use crate::api::TableTarget;

/// One part of a table's primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPart {
    /// The attribute.
    pub(crate) name: String,
    /// Its type.
    pub(crate) key_type: KeyType,
}

impl From<&KeyDefinition> for KeyPart {
    fn from(definition: &KeyDefinition) -> Self {
        use tablestore_placement::KeyType as Defined;
        let key_type = match definition.key_type {
            Defined::String => KeyType::String,
            Defined::Number => KeyType::Number,
            Defined::Binary => KeyType::Binary,
        };
        Self {
            name: definition.name.clone(),
            key_type,
        }
    }
}

/// What requests for rows need to know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) target: TableTarget,
    pub(crate) name: String,
    pub(crate) partition_key: KeyPart,
    pub(crate) sort_key: Option<KeyPart>,
}

impl TableEntry {
    pub(crate) fn new(id: TableId, name: &str, definition: &TableDefinition) -> Self {
        Self {
            target: TableTarget::new(id, definition),
            name: name.to_owned(),
            partition_key: KeyPart::from(&definition.partition_key),
            sort_key: definition.sort_key.as_ref().map(KeyPart::from),
        }
    }

    /// Both parts of the key, in order.
    pub(crate) fn key_parts(&self) -> impl Iterator<Item = &KeyPart> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// Whether the attribute is part of the key.
    pub(crate) fn is_key(&self, attribute: &str) -> bool {
        self.key_parts().any(|part| part.name == attribute)
    }
}

/// One version of the map by name.
#[derive(Debug)]
pub(crate) struct Directory {
    map: Arc<ClusterMap>,
    tables: HashMap<String, Arc<TableEntry>>,
    names: BTreeMap<StorageId, HeaderValue>,
}

impl Directory {
    fn new(map: Arc<ClusterMap>) -> Self {
        let tables = map.tables.values().map(|table| {
            let entry = TableEntry::new(table.id, &table.name, &table.definition);
            (table.name.clone(), Arc::new(entry))
        });
        let names = map
            .members
            .values()
            .filter_map(|member| Some((member.storage, HeaderValue::from_str(&member.name).ok()?)));
        Self {
            tables: tables.collect(),
            names: names.collect(),
            map,
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Arc<TableEntry>> {
        self.tables.get(name)
    }

    /// The member's name, or its storage id where the map does not have it.
    pub(crate) fn member(&self, storage: StorageId) -> HeaderValue {
        let name = self.names.get(&storage).cloned();
        name.unwrap_or_else(|| {
            HeaderValue::from_str(&storage.to_string()).expect("hexadecimal is visible ASCII")
        })
    }
}

/// The directory of the newest map that was asked for.
#[derive(Debug)]
pub(crate) struct Catalog(Mutex<Arc<Directory>>);

impl Catalog {
    pub(crate) fn new(map: Arc<ClusterMap>) -> Self {
        Self(Mutex::new(Arc::new(Directory::new(map))))
    }

    /// The directory of this map.
    pub(crate) fn directory(&self, map: Arc<ClusterMap>) -> Arc<Directory> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.map, &map) {
            *current = Arc::new(Directory::new(map));
        }
        Arc::clone(&current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_map_replaces_the_directory_and_the_same_map_does_not() {
        let map = Arc::new(ClusterMap::empty());
        let catalog = Catalog::new(Arc::clone(&map));
        let first = catalog.directory(Arc::clone(&map));
        assert!(Arc::ptr_eq(&first, &catalog.directory(map)));
        let second = catalog.directory(Arc::new(ClusterMap::empty()));
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.member(StorageId(0xab)), "00000000000000ab");
    }
}
