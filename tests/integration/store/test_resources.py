"""Resources, requests, references and pages, on SQLite and on Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from simulacra.errors import (
    InvalidArgument,
    PermissionDenied,
    RequestIdReused,
    ResourceInUse,
    ResourceNotFound,
    ResumeTokenInvalid,
)
from simulacra.rpc.auth import Principal
from simulacra.store import (
    Database,
    add_reference,
    body_hash,
    encode_token,
    forget_old_requests,
    idempotent,
    references_to,
    remember,
    remove_reference,
    require_unused,
)
from simulacra.store.database import utc_now
from simulacra.store.tables import grants
from tests.kernel_service.tables import THINGS, things

ANN = Principal(user_id="u1", user_name="ann")
BOB = Principal(user_id="u2", user_name="bob")
SERVICE = Principal.of_service("trainer")


async def make(database: Database, *names: str, owner: Principal = ANN) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.begin() as tx:
        for number, name in enumerate(names):
            moment = start + timedelta(microseconds=number // 2)  # two at the same moment
            document = {"n": number}
            await THINGS.insert(
                tx, owner, id=name, name=name, document=document, created_at=moment, status="NEW"
            )


async def grant(database: Database, name: str, level: str) -> None:
    async with database.begin() as tx:
        row = {
            "resource_id": name,
            "user_id": "u2",
            "user_name": "bob",
            "level": level,
            "created_at": utc_now(),
        }
        await tx.execute(grants.insert().values(row))


async def test_row_is_read_back_as_written_and_changed(database: Database) -> None:
    async with database.begin() as tx:
        document = {"text": "ä\x00\U0001f600", "order": {"b": 1, "a": [None, 1.5]}}
        first = await THINGS.insert(tx, ANN, id="a", name="a", document=document, status="NEW")
        second = await THINGS.update(tx, "a", name="b", status="DONE")
    async with database.read() as connection:
        row = await THINGS.get(connection, ANN, "a")
    assert (row["document"], list(row["document"]["order"])) == (document, ["b", "a"])
    assert (row["name"], row["status"], row["owner_name"], row["revision"]) == ("b", "DONE", "ann", second)
    assert second > first
    assert row["created_at"].tzinfo is UTC


async def test_others_see_only_what_is_shared(database: Database) -> None:
    await make(database, "a", "b")
    async with database.read() as connection:
        with pytest.raises(ResourceNotFound, match="there is no thing 'a'"):
            await THINGS.get(connection, BOB, "a")
        assert (await THINGS.page(connection, BOB)).total_count == 0
        assert (await THINGS.page(connection, SERVICE)).total_count == 2
    await grant(database, "a", "VIEW")
    await grant(database, "b", "ADMIN")
    async with database.begin() as tx:
        assert (await THINGS.page(tx.connection, BOB)).total_count == 2
        with pytest.raises(PermissionDenied, match="view thing 'a' but not change it"):
            await THINGS.get_for_change(tx, BOB, "a")
        for viewer in (BOB, ANN, SERVICE):
            await THINGS.get_for_change(tx, viewer, "b")


async def test_delete_takes_its_shares_along(database: Database) -> None:
    await make(database, "a")
    await grant(database, "a", "VIEW")
    async with database.begin() as tx:
        await THINGS.delete(tx, "a")
        assert (await tx.execute(grants.select())).all() == []
        with pytest.raises(ResourceNotFound):
            await THINGS.update(tx, "a", name="x")


async def test_pages_hold_each_row_once_while_rows_are_added(database: Database) -> None:
    names = [f"t{number}" for number in range(7)]
    await make(database, *names)
    seen: list[str] = []
    token = ""
    while True:
        async with database.read() as connection:
            found = await THINGS.page(connection, ANN, page_size=3, page_token=token)
        seen += [row["id"] for row in found.rows]
        async with database.begin() as tx:
            await THINGS.insert(tx, ANN, id=f"new{len(seen)}", name="n", document={}, status="NEW")
        token = found.next_page_token
        if not token:
            break
    assert seen == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]


async def test_search_takes_letters_for_letters(database: Database) -> None:
    await make(database, "50% of People", "50 of people", "a_b", "aXb")
    async with database.read() as connection:

        async def found(term: str) -> list[str]:
            return sorted(row["id"] for row in (await THINGS.page(connection, ANN, search_term=term)).rows)

        assert await found("PEOPLE") == ["50 of people", "50% of People"]
        assert await found("0%") == ["50% of People"]
        assert await found("_") == ["a_b"]


async def test_wrong_pages_are_refused(database: Database) -> None:
    async with database.read() as connection:
        with pytest.raises(InvalidArgument, match="page_size: must be 0 or more, got -1"):
            await THINGS.page(connection, ANN, page_size=-1)
        for token in ("x", encode_token("2026", "a"), encode_token("no time", "a"), encode_token(1, "a")):
            with pytest.raises(ResumeTokenInvalid):
                await THINGS.page(connection, ANN, page_token=token)


async def test_repeated_request_gets_the_first_answer(database: Database) -> None:
    first = ("u1", "CreateThing", "r1", body_hash({"name": "a", "n": 1}))
    async with database.begin() as tx:
        assert await idempotent(tx, *first) is None
        await remember(tx, *first, response="thing-1")
    async with database.begin() as tx:
        assert await idempotent(tx, "u1", "CreateThing", "r1", body_hash({"n": 1, "name": "a"})) == "thing-1"
        assert await idempotent(tx, "u2", *first[1:]) is None
        assert await idempotent(tx, "u1", "StartThing", *first[2:]) is None
        with pytest.raises(RequestIdReused, match="use a new one"):
            await idempotent(tx, "u1", "CreateThing", "r1", body_hash({"name": "b"}))
        assert await idempotent(tx, "u1", "CreateThing", None, "h") is None
        await remember(tx, "u1", "CreateThing", "", "h", response="x")


async def test_requests_are_forgotten_after_seven_days(database: Database) -> None:
    async with database.begin() as tx:
        await remember(tx, "u1", "CreateThing", "r1", "h", response="thing-1")
        assert await forget_old_requests(tx, now=utc_now() + timedelta(days=6.9)) == 0
        assert await forget_old_requests(tx, now=utc_now() + timedelta(days=7.1)) == 1


async def test_what_is_in_use_cannot_be_deleted(database: Database) -> None:
    async with database.begin() as tx:
        for _ in range(2):
            await add_reference(tx, "a", user_uri="generators/g1", user_name="people")
        assert await references_to(tx.connection, "a") == {"generators/g1": "people"}
        with pytest.raises(
            ResourceInUse, match=r"thing 'a' is used by 'people' \(generators/g1\); delete these first"
        ):
            await require_unused(tx, "a", what="thing 'a'")
        await remove_reference(tx, "a", user_uri="generators/g1")
        await remove_reference(tx, "a", user_uri="generators/g1")
        await require_unused(tx, "a", what="thing 'a'")


def test_table_has_what_every_resource_has() -> None:
    assert {"id", "owner_id", "owner_name", "name", "created_at", "revision", "document"} < set(
        things.c.keys()
    )
