//! The HTTP surface as an OpenAPI 3.1 document, made of the types of this crate.
//!
//! Types describe themselves; which path takes and answers which of them is said here, once for
//! each operation. Knows nothing of handlers: tests of the node compare it with what is served.

mod cluster;
mod operation;
mod parts;
mod rows;
mod tables;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem,
    PathsBuilder,
};

const DESCRIPTION: &str = "Tables of rows that stay up and lose nothing when machines fail. Any \
    node takes any request. Whatever takes GET takes HEAD. A path that is not here is answered \
    404 `unknown_path`, a method that a path does not take 405 `method_not_allowed` with `Allow`.";

/// The document as JSON, made once when somebody asks for it.
pub fn json() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| {
        let json = document().to_json();
        json.expect("it has only string keys")
    })
}

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = BTreeMap::new();
    let operations = tables::operations()
        .into_iter()
        .chain(rows::operations())
        .chain(cluster::operations())
        .chain(cluster::of_machines());
    for operation in operations {
        let (path, method, described, schemas): (_, HttpMethod, _, _) = operation.build();
        paths = paths.path(path, PathItem::new(method, described));
        for (name, schema) in schemas {
            // What a request may hold is less than what an answer of a newer node may.
            if !components.get(&name).is_some_and(operation::is_closed) {
                components.insert(name, schema);
            }
        }
    }
    let info = InfoBuilder::new()
        .title("Table Store")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(License::new(env!("CARGO_PKG_LICENSE"))));
    let components = ComponentsBuilder::new().schemas_from_iter(components);
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}
