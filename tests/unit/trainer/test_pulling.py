"""Tables of one connector are read together, and the children of a sample follow it."""

from typing import Any

from simulacra.domain import SourceTable
from simulacra_trainer.pulling import pull_payloads
from simulacra_trainer.spec import TableSpec


def table(name: str, connector: str, *, sample: int | None = None, parent: str = "") -> SourceTable:
    columns = ["id", "parent_id", "x"]
    return SourceTable(
        id=name,
        name=name,
        location=f"public.{name}",
        source_connector={"id": connector, "name": connector, "uri": f"connectors/{connector}"},
        primary_key="id",
        columns=[
            {"id": column, "name": column, "included": True, "model_encoding_type": "AUTO"}
            for column in columns
        ],
        foreign_keys=[{"id": "k", "column": "parent_id", "referenced_table": parent, "is_context": True}]
        if parent
        else None,
        model_configuration={"max_sample_size": sample} if sample else None,
    )


def payloads(*tables: SourceTable) -> dict[int, dict[str, Any]]:
    return pull_payloads(tables, [TableSpec.of(each, seed=1, initial_bundle=None) for each in tables])


def test_the_first_of_a_connector_reads_for_all() -> None:
    found = payloads(table("a", "one"), table("b", "two"), table("c", "one"), table("d", "one"))
    assert found[2] == found[3] == {"leader": 0}
    assert [read["index"] for read in found[0]["group"]] == [0, 2, 3]
    assert 1 not in found


def test_children_of_a_sample_follow_it_whatever_the_order() -> None:
    found = payloads(
        table("payment", "one", parent="loan"),
        table("loan", "one", parent="account", sample=7),
        table("account", "one", sample=5),
        table("card", "one", sample=3),
    )
    reads = {read["index"]: read for read in found[0]["group"]}
    assert list(reads) == [2, 1, 0, 3]
    keys = {"columns": ["parent_id"], "referenced_columns": ["id"]}
    assert reads[1]["within"] == {"index": 2, **keys}
    assert reads[0]["within"] == {"index": 1, **keys}
    assert [reads[index]["max_rows"] for index in (2, 1, 0, 3)] == [5, None, None, 3]


def test_children_of_a_whole_table_are_read_whole() -> None:
    found = payloads(table("account", "one"), table("loan", "one", parent="account", sample=7))
    [account, loan] = found[0]["group"]
    assert (account["max_rows"], loan["max_rows"]) == (None, 7)
    assert "within" not in loan
