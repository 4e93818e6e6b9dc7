"""Migrations only add: by their source, and by what they do to the data of the version before."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymongo import IndexModel

from earlybird.identity import migrations as identity
from earlybird.infra.mongo import Client, Database, Migration, apply_migrations, connect_mongo
from earlybird.promotions import migrations as promotions
from earlybird.settings import Settings
from upgrade.expanding import losses, stored
from upgrade.migration_rules import Breach, breaches
from upgrade.versions import SERVICES, NoHistory, before, present, releases, version_before

MIGRATIONS = {"identity": identity.MIGRATIONS, "promotions": promotions.MIGRATIONS}


@pytest.mark.parametrize("service", SERVICES)
def test_no_migration_takes_away_what_the_version_before_reads(service: str) -> None:
    assert breaches(MIGRATIONS[service], before().last[service], present()) == []


def test_the_page_lists_the_newest_release_first_and_its_migrations_are_those_of_its_commit(
    tmp_path: Path,
) -> None:
    assert [release.version for release in releases()] == sorted(
        (release.version for release in releases()),
        key=lambda version: [*map(int, version.split("."))],
        reverse=True,
    )
    try:
        source = version_before(tmp_path).source
    except NoHistory as reason:
        pytest.skip(str(reason))
    for service, last in before().last.items():
        text = (source / "earlybird" / service / "migrations.py").read_text()
        released = re.findall(r"^async def (m\d+_\w+)", text, re.MULTILINE)
        assert released[-1] == last
        assert [migration.__name__ for migration in MIGRATIONS[service]][: len(released)] == released


async def m002_drops_a_collection(database: Database) -> None:
    await database["users"].drop()


async def m002_renames_a_collection(database: Database) -> None:
    await database["users"].rename("people")


async def m002_drops_a_field(database: Database) -> None:
    await database["users"].update_many({}, {"$unset": {"full_name": ""}})


async def m002_renames_a_field(database: Database) -> None:
    await database["users"].update_many({}, [{"$set": {"name": "$full_name"}}, {"$unset": "full_name"}])


async def m002_drops_an_index(database: Database) -> None:
    await database["users"].drop_index("email")


async def m002_removes_documents(database: Database) -> None:
    await database["users"].delete_many({"is_active": 1})


async def m002_writes_another_value(database: Database) -> None:
    await database["users"].update_many({}, {"$set": {"is_active": True}})


async def m002_makes_unique(database: Database) -> None:
    await database["users"].create_indexes([IndexModel("full_name", name="full_name", unique=True)])


async def m002_hides_it(database: Database) -> None:
    await _hidden(database)


async def _hidden(database: Database) -> None:
    await database.command({"collMod": "users", "validator": {"email": {"$exists": True}}})


async def m002_expands(database: Database) -> None:
    await database["users"].update_many({}, {"$set": {"trial": 1}})
    await database["users"].create_indexes([IndexModel("trial", name="trial")])
    await database["trials"].create_indexes([IndexModel("trial", name="trial", unique=True)])


FIRST = identity.m001_one_account_per_person
BAD = (
    m002_drops_a_collection,
    m002_renames_a_collection,
    m002_drops_a_field,
    m002_renames_a_field,
    m002_drops_an_index,
    m002_removes_documents,
    m002_makes_unique,
)


@pytest.mark.parametrize("bad", [*BAD, m002_hides_it])
def test_a_bad_migration_is_found_in_its_source(bad: Migration) -> None:
    found = breaches([FIRST, bad], FIRST.__name__, "0.2.0")
    assert {breach.migration for breach in found} == {bad.__name__}


def test_an_expansion_is_no_breach() -> None:
    assert breaches([FIRST, m002_expands], FIRST.__name__, "0.2.0") == []


def test_a_released_migration_stays_under_its_name() -> None:
    assert breaches([m002_expands], FIRST.__name__, "0.2.0") == [
        Breach(FIRST.__name__, "it was released, and is gone or has another name")
    ]


@pytest.mark.parametrize(("version", "is_allowed"), [("0.3.0", False), ("0.4.0", True), ("0.10.0", True)])
def test_a_contraction_is_allowed_from_the_version_that_is_named(version: str, is_allowed: bool) -> None:
    found = breaches([FIRST, m002_drops_a_field], FIRST.__name__, version, {m002_drops_a_field.__name__: "0.4.0"})
    assert (found == []) is is_allowed


@pytest.fixture
async def trial(settings: Settings) -> AsyncIterator[Database]:
    """A database of this test alone, after the first migration, with two people."""
    async with connect_mongo(settings, "test") as client:
        database = client["trial"]
        await FIRST(database)
        people = [
            {"_id": n, "username": f"{n}", "email": f"{n}@example.com", "phone": f"{n}", "full_name": f"{n}"}
            for n in range(2)
        ]
        await database["users"].insert_many([person | {"is_active": 1} for person in people])
        yield database
        await client.drop_database("trial")


@pytest.mark.parametrize("bad", [*BAD, m002_writes_another_value])
async def test_a_bad_migration_is_found_by_what_it_does(bad: Migration, trial: Database) -> None:
    before_it = await stored(trial)
    await apply_migrations(trial, [bad])
    assert losses(before_it, await stored(trial))


async def test_an_expansion_loses_nothing(trial: Database) -> None:
    before_it = await stored(trial)
    await apply_migrations(trial, [m002_expands])
    assert losses(before_it, await stored(trial)) == set()


@pytest.mark.parametrize("service", SERVICES)
async def test_all_migrations_may_run_again_and_beside_each_other(service: str, mongo: Client) -> None:
    database = mongo[service]
    before_it = await stored(database)
    runs = await asyncio.gather(*(apply_migrations(database, MIGRATIONS[service]) for _ in range(3)))
    assert runs == [[], [], []]
    assert await stored(database) == before_it


@pytest.mark.parametrize("service", SERVICES)
async def test_all_migrations_may_run_for_the_first_time_beside_each_other(
    service: str, settings: Settings
) -> None:
    async with connect_mongo(settings, "test") as client:
        database = client[f"trial_{service}"]
        runs = await asyncio.gather(*(apply_migrations(database, MIGRATIONS[service]) for _ in range(3)))
        assert sorted(name for run in runs for name in run) == [one.__name__ for one in MIGRATIONS[service]]
        await client.drop_database(database.name)
