"""Generates a client from `/openapi.json` of a node and drives the cluster with it.

Every answer must be parsed into a type of its own and say what it should. The cluster has two
nodes, `n1`, which is asked, and `n2`, which is removed in the end.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TABLE = "orders"
# A node that is told to leave does so in some moments.
BOUND_SECONDS = 60


def generate(url, place):
    """The package of the client, made in this directory."""
    tools = Path(sys.executable).parent
    config = Path(place) / "config.yml"
    # A formatter would only cost time.
    config.write_text("post_hooks: []\n")
    command = [tools / "openapi-python-client", "generate", "--url", f"{url}/openapi.json"]
    command += ["--output-path", Path(place) / "generated", "--meta", "none"]
    command += ["--fail-on-warning", "--config", config]
    subprocess.run(command, check=True)
    sys.path.insert(0, place)


class Caller:
    """Calls operations of the client by the part of the surface and their id."""

    def __init__(self, url):
        client = importlib.import_module("generated.client")
        self.models = importlib.import_module("generated.models")
        self.client = client.Client(base_url=url, raise_on_unexpected_status=True)

    def __call__(self, tag, operation, *arguments, **options):
        module = importlib.import_module(f"generated.api.{tag}.{operation}")
        return module.sync_detailed(*arguments, client=self.client, **options)

    def parsed(self, expected, status, tag, operation, *arguments, **options):
        """The answer, which must have this status and be of the type of this name."""
        answer = self(tag, operation, *arguments, **options)
        assert answer.status_code == status, answer
        kind = type(answer.parsed).__name__
        assert kind == expected, f"{operation}: {kind}, not {expected}: {answer}"
        return answer.parsed

    def rows(self, expected, status, operation, *arguments, **options):
        return self.parsed(expected, status, "rows", operation, TABLE, *arguments, **options)


def tables(call):
    models = call.models
    text = models.KeyType.STRING
    definition = models.TableDefinition(
        partition_key=models.KeyDefinition(name="customer", type_=text),
        sort_key=models.KeyDefinition(name="number", type_=models.KeyType.NUMBER),
        replicas=1,
        partitions=4,
    )
    create = ("tables", "create_table", TABLE)
    made = call.parsed("TableView", 201, *create, body=definition)
    assert (made.name, made.replicas, made.partitions) == (TABLE, 1, 4), made
    assert made.partition_key.type_ is text, made
    assert made.sort_key.name == "number", made
    call.parsed("TableView", 200, *create, body=definition)
    definition.partitions = 8
    other = call.parsed("CreateTableResponse409", 409, *create, body=definition)
    assert other.code.value == "table_exists" and "partitions" in other.difference, other
    assert call.parsed("TableView", 200, "tables", "describe_table", TABLE) == made
    listed = call.parsed("Tables", 200, "tables", "list_tables")
    assert listed.tables == [made], listed
    alteration = models.TableAlteration(min_in_sync=1)
    altered = call.parsed("Altered", 200, "tables", "alter_table", TABLE, body=alteration)
    assert altered.changed is False and altered.table == made, altered


def rows(call):
    models = call.models
    body = models.PutRowSortedBody.from_dict({"total": 12.5, "paid": False})
    put = call("rows", "put_row_sorted", TABLE, "ann", "17", body=body)
    first = put.parsed.version
    assert put.status_code == 200 and first > 0, put
    assert put.headers["etag"] == f'"{first}"', put.headers
    assert put.headers["x-tablestore-partition"], put.headers
    body = models.PatchRowSortedBody.from_dict({"shipped": None})
    patch = ("patch_row_sorted", "ann", "17")
    second = call.rows("Written", 200, *patch, body=body, remove="paid").version
    assert second > first
    row = call.rows("GetRowSortedResponse200", 200, "get_row_sorted", "ann", "17")
    expected = {"customer": "ann", "number": 17, "total": 12.5, "shipped": None}
    assert row.to_dict() == expected, row
    have = {"if_none_match": f'"{second}"'}
    same = call("rows", "get_row_sorted", TABLE, "ann", "17", **have)
    assert same.status_code == 304 and same.parsed is None and same.content == b"", same
    delete = ("delete_row_sorted", "ann", "17")
    late = call.rows("DeleteRowSortedResponse412", 412, *delete, if_match=f'"{first}"')
    assert late.code.value == "precondition_failed" and late.version == second, late
    gone = call.rows("Written", 200, *delete, if_match=f'"{second}"')
    assert (gone.version, gone.deleted) == (0, True), gone
    none = call.rows("GetRowSortedResponse404", 404, "get_row_sorted", "ann", "17")
    assert none.code.value == "unknown_row", none


def ranges(call):
    models = call.models
    keys = [{"customer": "bob", "number": number} for number in (1, 2, 3)]
    batch = models.Batch(
        put=[models.BatchPutItem.from_dict(key) for key in [*keys, {"customer": "bob"}]],
        delete=[models.BatchDeleteItem.from_dict({"customer": "cid", "number": 4})],
    )
    options = {"body": batch, "idempotency_key": "batch-1"}
    results = call.rows("BatchResults", 200, "write_batch", **options).results
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["BatchWritten"] * 3 + ["Problem", "BatchWritten"], results
    assert all(result.version > 0 for result in results[:3]), results
    assert (results[3].status, results[3].field) == (400, "put[3].number"), results
    assert results[4].deleted is False, results
    page = call.rows("Page", 200, "scan_rows", pk="bob", limit=2)
    assert [row.to_dict() for row in page.rows] == keys[:2], page
    options = {"pk": "bob", "limit": 2, "cursor": page.next_cursor}
    page = call.rows("Page", 200, "scan_rows", **options)
    assert [row.to_dict() for row in page.rows] == keys[2:] and page.next_cursor is None, page
    options = {"pk": "bob", "reverse": True, "from_": "2"}
    page = call.rows("Page", 200, "scan_rows", **options)
    assert [row["number"] for row in page.rows] == [3, 2], page


def cluster(call):
    shown = call.parsed("ClusterView", 200, "cluster", "show_cluster")
    assert sorted(node.name for node in shown.nodes) == ["n1", "n2"], shown
    assert shown.controller in ("n1", "n2") and shown.majority.reached, shown
    assert [table.name for table in shown.tables] == [TABLE], shown
    partitions = ("cluster", "show_partitions")
    held = call.parsed("Partitions", 200, *partitions, table=TABLE).partitions
    assert [one.partition for one in held] == [0, 1, 2, 3], held
    assert all(one.primary in one.in_sync and one.primary_live for one in held), held
    unknown = call.parsed("ShowPartitionsResponse404", 404, *partitions, table="none")
    assert unknown.code.value == "unknown_table", unknown
    decisions = ("cluster", "show_decisions")
    kinds = [one.kind for one in call.parsed("Decisions", 200, *decisions).decisions]
    assert {"founded", "joined", "table_created"} <= set(kinds), kinds
    last = call.parsed("Decisions", 200, *decisions, limit=1).decisions
    assert len(last) == 1 and last[0].id > 0, last
    told = call.parsed("Explanation", 200, "cluster", "explain", if_fails="n2")
    assert told.before.partitions == 4 and told.voters == 2, told
    sums = call.parsed("Checksums", 200, "cluster", "show_checksums", table=TABLE)
    assert sums.equal and len(sums.partitions) == 4, sums


def events(call):
    """The generated client has no streams: its connection is used, and its type of an event."""
    request = ("GET", "/v1/cluster/events")
    kinds = []
    with call.client.get_httpx_client().stream(*request, headers={"Last-Event-ID": "0"}) as stream:
        assert stream.headers["content-type"] == "text/event-stream", stream.headers
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = call.models.Event.from_dict(json.loads(line.removeprefix("data: ")))
                assert event.id > 0 and event.at_us >= event.at_ms * 1000, event
                kinds.append(event.kind)
            if "promoted" in kinds:
                return


def system(call):
    assert call.parsed("Health", 200, "system", "healthz").status == "alive"
    assert call.parsed("Health", 200, "system", "readyz").status == "ready"
    metrics = call("system", "metrics")
    assert metrics.status_code == 200 and "tablestore_" in metrics.parsed, metrics
    document = call.parsed("OpenapiResponse200", 200, "system", "openapi")
    assert document["info"]["title"] == "Table Store"
    refused = call.parsed("SqlResponse501", 501, "rows", "sql")
    assert refused.code.value == "not_supported", refused


def leave(call):
    drop = ("tables", "drop_table", TABLE)
    call.parsed("Dropped", 200, *drop)
    unknown = call.parsed("DropTableResponse404", 404, *drop)
    assert unknown.code.value == "unknown_table", unknown
    drained = call.parsed("NodeLeaves", 202, "cluster", "drain_node", "n2")
    assert (drained.node, drained.state) == ("n2", "draining"), drained
    bound = time.monotonic() + BOUND_SECONDS
    remove = ("cluster", "remove_node", "n2")
    # It holds what it had for some moments, and an answer may be lost with a voter that goes.
    later = {409: {"conflict"}, 503: {"outcome_unknown", "no_controller"}}
    while (left := call(*remove)).status_code in later:
        assert left.parsed.code.value in later[left.status_code], left
        assert time.monotonic() < bound, left
        time.sleep(0.05)
    if left.status_code != 404:
        assert left.status_code == 200, left
        assert (left.parsed.node, left.parsed.state) == ("n2", "left"), left
    gone = call.parsed("RemoveNodeResponse404", 404, *remove)
    assert gone.code.value == "unknown_node", gone


def main(url):
    with tempfile.TemporaryDirectory() as place:
        generate(url, place)
        call = Caller(url)
        for part in (tables, rows, ranges, cluster, events, system, leave):
            part(call)
            print(f"{part.__name__}: right")


main(sys.argv[1])
