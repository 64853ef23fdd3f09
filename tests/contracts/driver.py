"""What every storage driver promises, tried through ``open_driver`` on whichever host this is.

A test class that derives from DriverContract has a fixture ``name``: a database name that nobody else uses, removed afterwards.
"""

import math
import sys
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.errors import CorruptError, NewerError, ReadOnlyError, StorageError
from pyruvllm.storage import Migration, Secret, check, delete_database, migrate, open_driver
from pyruvllm.storage.identity import APPLICATION_ID

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # NUL and astral planes too; no lone surrogates
TABLE = "CREATE TABLE items (id INTEGER PRIMARY KEY, whole INTEGER, part REAL, words TEXT, bytes BLOB)"
KINDS = st.sampled_from(["put", "remove", "many", "undo", "flush", "reopen"])
CHANGES = st.lists(st.tuples(KINDS, st.integers(1, 8), TEXTS, st.integers(0, 200)), max_size=12)  # what, key, text, how many
STEPS = (
    Migration(1, "items", (TABLE,)),
    Migration(2, "marks", ("CREATE TABLE marks (item INTEGER)", "CREATE INDEX marks_by_item ON marks (item)")),
)


async def opened(name, *, readonly=False):
    """How the contract opens a database: one that is sealed has another way."""
    return await open_driver(name, readonly=readonly)


def allow(driver):
    """A check that has no objection."""


def refuse(driver):
    raise ValueError("not wanted")


async def made(name, rows=()):
    """An open database with the table of items and these (id, words)."""
    driver = await opened(name)
    driver.execute(TABLE)
    driver.executemany("INSERT INTO items (id, words) VALUES (?, ?)", rows)
    await driver.flush()
    return driver


def words(driver):
    return dict(driver.query("SELECT id, words FROM items"))


class DriverContract:
    # values

    @pytest.mark.parametrize("whole", [0, -1, 2**31, -(2**31) - 1, 1_700_000_000_000, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), True, None])
    @pytest.mark.parametrize("blob", [b"", b"\0", bytes(range(256)) * 40])
    async def test_integers_and_blobs_come_back_as_they_went(self, name, whole, blob):
        driver = await made(name)
        assert driver.execute("INSERT INTO items (whole, bytes) VALUES (?, ?)", (whole, blob)) == 1
        [(read, content)] = driver.query("SELECT whole, bytes FROM items")
        assert (read, content) == (whole, blob)
        assert type(content) is bytes
        await driver.close()

    @given(rows=st.lists(st.tuples(INT64, FLOATS, TEXTS, st.binary(max_size=64)), max_size=20))
    async def test_every_value_comes_back_as_it_went(self, rows):
        driver = await made(":memory:")
        assert driver.executemany("INSERT INTO items (whole, part, words, bytes) VALUES (?, ?, ?, ?)", iter(rows)) == len(rows)
        assert driver.query("SELECT whole, part, words, bytes FROM items ORDER BY id") == rows
        await driver.close()

    @given(rows=st.lists(st.tuples(INT64, st.binary(max_size=64), st.booleans()), max_size=20))
    async def test_blobs_are_read_in_one_run(self, rows):
        driver = await made(":memory:")
        driver.executemany("INSERT INTO items (whole, bytes) VALUES (?, ?)", (row[:2] for row in rows))
        read = driver.blobs("SELECT whole, bytes FROM items WHERE id > ? ORDER BY id", [0])
        assert read.numbers.tolist() == [whole for whole, _, _ in rows] and read.numbers.dtype == np.int64
        assert read.sizes.tolist() == [len(content) for _, content, _ in rows]
        assert bytes(read.content) == b"".join(content for _, content, _ in rows)
        kept = read.kept(np.array([stays for _, _, stays in rows], bool))
        assert kept.numbers.tolist() == [whole for whole, _, stays in rows if stays]
        assert bytes(kept.content) == b"".join(content for _, content, stays in rows if stays)
        await driver.close()

    @pytest.mark.parametrize("columns", ["id, words", "id", "bytes, id", "id, NULL"])
    async def test_blobs_that_are_none_are_refused(self, name, columns):
        driver = await made(name)
        driver.execute("INSERT INTO items (words, bytes) VALUES ('x', x'00')")
        with pytest.raises(StorageError, match="an integer and a blob"):
            driver.blobs(f"SELECT {columns} FROM items")
        await driver.close()

    async def test_not_a_number_becomes_null_and_infinity_stays(self, name):
        driver = await made(name)
        driver.executemany("INSERT INTO items (part) VALUES (?)", [(math.nan,), (math.inf,), (-math.inf,), (-0.0,)])
        read = [part for (part,) in driver.query("SELECT part FROM items ORDER BY id")]
        assert read == [None, math.inf, -math.inf, 0.0]
        await driver.close()

    async def test_large_integers_compare_with_stored_ones(self, name):
        driver = await made(name)
        driver.executemany("INSERT INTO items (whole) VALUES (?)", [(1_700_000_000_000 + n,) for n in range(5)])
        assert driver.query("SELECT count(*) FROM items WHERE whole >= ?", (1_700_000_000_003,)) == [(2,)]
        assert driver.query("SELECT count(*) FROM items WHERE whole + 0 < ?", (1_700_000_000_003,)) == [(3,)]
        await driver.close()

    async def test_a_row_of_mixed_kinds_in_one_column(self, name):
        driver = await opened(name)
        rows = driver.query("SELECT column1, column2 FROM (VALUES (1, 'a'), (2.5, x'00'), (NULL, ''), ('x', -3))")
        assert rows == [(1, "a"), (2.5, b"\0"), (None, ""), ("x", -3)]
        assert driver.query("SELECT 1 WHERE 0") == []
        await driver.close()

    # statements

    async def test_changed_rows_are_counted(self, name):
        driver = await made(name, [(n, "x") for n in range(10)])
        assert driver.execute("UPDATE items SET words = 'y' WHERE id < ?", (4,)) == 4
        assert driver.execute("CREATE TABLE other (x)") == 0
        assert driver.executemany("DELETE FROM items WHERE id = ?", [(0,), (1,), (99,)]) == 2
        assert driver.executemany("DELETE FROM items WHERE id = ?", []) == 0
        assert len(words(driver)) == 8
        await driver.close()

    @pytest.mark.parametrize(
        "act",
        [
            lambda driver: driver.execute("SELEKT 1"),
            lambda driver: driver.query("SELECT * FROM nowhere"),
            lambda driver: driver.execute("INSERT INTO items (id) VALUES (1)"),
            lambda driver: driver.execute("INSERT INTO items (id) VALUES (?)"),
            lambda driver: driver.execute("INSERT INTO items (id) VALUES (?)", (2, 3)),
            lambda driver: driver.execute("INSERT INTO items (id) VALUES (2); DELETE FROM items"),
            lambda driver: driver.execute("INSERT INTO items (whole) VALUES (?)", (2**63,)),
            lambda driver: driver.execute("INSERT INTO items (words) VALUES (?)", ("\ud800",)),
            lambda driver: driver.execute("INSERT INTO items (words) VALUES (?)", ([],)),
            lambda driver: driver.executemany("INSERT INTO items (id) VALUES (?)", [(7,), (8,), (1,)]),
        ],
    )
    async def test_a_statement_that_fails_is_a_storage_error_and_changes_nothing(self, name, act):
        driver = await made(name, [(1, "one")])
        with pytest.raises(StorageError):
            act(driver)
        assert words(driver) == {1: "one"}
        await driver.close()

    @pytest.mark.parametrize("rows", [3, 1200])  # in one crossing, in several
    async def test_many_rows_of_which_one_fails_leave_what_else_a_transaction_wrote(self, name, rows):
        driver = await made(name, [(1, "one")])
        with driver.transaction():
            driver.execute("INSERT INTO items (id, words) VALUES (5000, 'before')")
            with pytest.raises(StorageError):
                driver.executemany("INSERT INTO items (id) VALUES (?)", [(rows - n,) for n in range(rows)])
            driver.executemany("INSERT INTO items (id, words) VALUES (?, 'after')", [(5001,), (5002,)])
        assert words(driver) == {1: "one", 5000: "before", 5001: "after", 5002: "after"}
        await driver.close()

    async def test_two_thousand_different_statements(self, name):
        driver = await made(name)
        for n in range(2000):  # more than any cache of compiled statements holds
            driver.execute(f"INSERT INTO items (id, words) VALUES ({n}, 'x')")
        assert len(words(driver)) == 2000
        await driver.close()

    # transactions

    async def test_a_transaction_that_fails_leaves_nothing(self, name):
        driver = await made(name, [(1, "one")])
        with pytest.raises(KeyError), driver.transaction():
            driver.execute("UPDATE items SET words = 'changed'")
            driver.execute("CREATE TABLE other (x)")
            raise KeyError
        assert words(driver) == {1: "one"}
        assert driver.query("SELECT name FROM sqlite_schema WHERE name = 'other'") == []
        await driver.close()

    async def test_a_failed_transaction_larger_than_any_cache_leaves_nothing(self, name):
        driver = await made(name, [(n, "kept") for n in range(100)])
        with pytest.raises(KeyError), driver.transaction():
            driver.execute("UPDATE items SET words = 'changed'")
            driver.executemany("INSERT INTO items (bytes) VALUES (zeroblob(100000))", [()] * 150)  # 15 MB
            raise KeyError
        driver.execute("INSERT INTO items (id, words) VALUES (1000, 'after')")
        await driver.close()
        driver = await opened(name)
        assert words(driver) == {n: "kept" for n in range(100)} | {1000: "after"}
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        await driver.close()

    async def test_an_inner_transaction_fails_alone(self, name):
        driver = await made(name)
        with driver.transaction():
            driver.execute("INSERT INTO items (id, words) VALUES (1, 'outer')")
            with pytest.raises(StorageError), driver.transaction():
                driver.execute("INSERT INTO items (id, words) VALUES (2, 'inner')")
                driver.execute("INSERT INTO items (id, words) VALUES (1, 'again')")
            with driver.transaction():
                driver.execute("INSERT INTO items (id, words) VALUES (3, 'inner')")
        assert words(driver) == {1: "outer", 3: "inner"}
        await driver.close()

    async def test_an_outer_failure_takes_the_inner_success_with_it(self, name):
        driver = await made(name)
        with pytest.raises(KeyError), driver.transaction():
            with driver.transaction():
                driver.execute("INSERT INTO items (id) VALUES (1)")
            raise KeyError
        assert words(driver) == {}
        await driver.close()

    async def test_a_commit_that_fails_rolls_back(self, name):
        driver = await made(name)
        driver.execute("CREATE TABLE marks (item INTEGER REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(StorageError), driver.transaction():
            driver.execute("INSERT INTO marks VALUES (77)")
        assert driver.query("SELECT * FROM marks") == []
        with driver.transaction():
            driver.execute("INSERT INTO items (id, words) VALUES (77, 'x')")
            driver.execute("INSERT INTO marks VALUES (77)")
        assert driver.query("SELECT * FROM marks") == [(77,)]
        await driver.close()

    # lasting

    async def test_what_was_flushed_is_there_after_reopening(self, name):
        driver = await made(name, [(n, "é" * n) for n in range(300)])
        await driver.close()
        await driver.close()  # twice is fine
        with pytest.raises(StorageError):
            driver.query("SELECT 1")
        driver = await opened(name)
        assert driver.writable
        assert words(driver) == {n: "é" * n for n in range(300)}
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        await driver.close()

    async def test_flush_tells_how_long_it_took(self, name):
        driver = await made(name, [(1, "one")])
        assert driver.durable_ms > 0
        assert driver.size() >= 4096
        await driver.close()

    async def test_deleting_leaves_nothing(self, name):
        driver = await made(name, [(1, "one")])
        await driver.close()
        await delete_database(name)
        await delete_database(name)  # what is not there needs no deleting
        with pytest.raises(StorageError):
            await opened(name, readonly=True)
        driver = await opened(name)
        assert driver.query("SELECT count(*) FROM sqlite_schema") == [(0,)]
        await driver.close()

    @settings(max_examples=20, suppress_health_check=[HealthCheck.differing_executors])  # each class brings its own way of opening
    @given(changes=CHANGES)
    async def test_any_sequence_of_changes_reads_back_like_a_dict(self, changes):
        name = f"changes-{uuid.uuid4()}"
        driver, expected = await made(name), {}
        try:
            for change, key, text, count in changes:
                if change == "put":
                    driver.execute("INSERT OR REPLACE INTO items (id, words) VALUES (?, ?)", (key, text))
                    expected[key] = text
                elif change == "remove":
                    assert driver.execute("DELETE FROM items WHERE id = ?", (key,)) == (expected.pop(key, None) is not None)
                elif change == "many":
                    rows = {key + n: text * n for n in range(count)}
                    driver.executemany("INSERT OR REPLACE INTO items (id, words) VALUES (?, ?)", rows.items())
                    expected |= rows
                elif change == "undo":
                    with pytest.raises(KeyError), driver.transaction():
                        driver.execute("DELETE FROM items")
                        driver.execute("INSERT INTO items (id, bytes) VALUES (1, zeroblob(50000))")
                        raise KeyError
                elif change == "flush":
                    await driver.flush()
                    reader = await opened(name, readonly=True)
                    assert words(reader) == expected
                    await reader.close()
                else:
                    await driver.close()
                    driver = await opened(name)
                assert words(driver) == expected
        finally:
            await driver.close()
            await delete_database(name)

    # one writer

    async def test_the_second_open_reads_and_cannot_write(self, name):
        writer = await made(name, [(1, "one")])
        second = await opened(name)
        assert (writer.writable, second.writable) == (True, False)
        for attempt in (
            lambda: second.execute("INSERT INTO items (id) VALUES (2)"),
            lambda: second.executemany("INSERT INTO items (id) VALUES (?)", [(2,)]),
            lambda: second.execute("DROP TABLE items"),
        ):
            with pytest.raises(ReadOnlyError):
                attempt()
        with pytest.raises(ReadOnlyError):
            await second.replace(await writer.export(), allow)
        assert words(second) == {1: "one"}
        await second.close()
        await writer.close()
        third = await opened(name)
        assert third.writable
        assert words(third) == {1: "one"}
        await third.close()

    async def test_a_reader_keeps_seeing_the_moment_it_opened(self, name):
        writer = await made(name, [(1, "one")])
        reader = await opened(name, readonly=True)
        writer.execute("UPDATE items SET words = 'changed'")
        await writer.flush()
        with reader.transaction():
            assert words(reader) == {1: "one"}
        assert words(reader) == {1: "one"}
        later = await opened(name, readonly=True)
        assert words(later) == {1: "changed"}
        for driver in (reader, later, writer):
            await driver.close()

    async def test_reading_what_is_not_there_makes_nothing(self, name):
        for _ in range(2):
            with pytest.raises(StorageError):
                await opened(name, readonly=True)

    @pytest.mark.parametrize("name", ["", "  "])
    async def test_a_database_needs_a_name(self, name):
        with pytest.raises(StorageError):
            await opened(name)

    async def test_what_was_deleted_is_scrubbed_from_the_file(self, name):
        driver = await made(name, [(n, f"secret {n}") for n in range(300)])
        driver.execute("DELETE FROM items WHERE id < 299")
        await driver.scrub()
        assert driver.writable and words(driver) == {299: "secret 299"}
        assert (await driver.export()).count(b"secret ") == 1
        await driver.close()
        driver = await opened(name)
        assert words(driver) == {299: "secret 299"}
        await driver.close()

    # export and import

    async def test_an_exported_file_replaces_another_database(self, name):
        source = await made(":memory:", [(n, "row" * n) for n in range(400)])
        image = await source.export()
        await source.close()
        assert image.startswith(b"SQLite format 3\0")
        driver = await made(name, [(1, "old")])
        seen = []
        await driver.replace(image, lambda candidate: seen.append((candidate.writable, words(candidate)[2])))
        assert seen == [(False, "rowrow")]
        assert len(words(driver)) == 400
        driver.execute("INSERT INTO items (id, words) VALUES (1000, 'new')")
        await driver.close()
        driver = await opened(name)
        assert len(words(driver)) == 401
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        again = await driver.export()
        await driver.replace(again, allow)
        assert words(driver)[1000] == "new"
        await driver.close()

    async def test_a_file_that_was_in_wal_mode_replaces_another(self, name):
        source = await made(":memory:", [(1, "one")])
        image = bytearray(await source.export())
        await source.close()
        image[18:20] = b"\2\2"  # what SQLite leaves in the header of a database in WAL mode
        driver = await made(name)
        await driver.replace(bytes(image), allow)
        driver.execute("INSERT INTO items (id, words) VALUES (2, 'two')")
        assert (await driver.export())[18:20] == b"\1\1"
        await driver.close()
        driver = await opened(name)
        assert words(driver) == {1: "one", 2: "two"}
        await driver.close()

    async def test_an_exported_file_is_of_the_moment(self, name):
        driver = await made(name, [(1, "one")])
        driver.execute("UPDATE items SET words = 'two'")  # not flushed
        other = await opened(":memory:")
        await other.replace(await driver.export(), allow)
        assert words(other) == {1: "two"}
        await other.close()
        await driver.close()

    async def test_what_is_refused_leaves_everything_as_it_was(self, name):
        source = await made(":memory:", [(n, "row" * 100) for n in range(400)])
        image = await source.export()
        await source.close()
        driver = await made(name, [(1, "kept")])
        damaged = bytearray(image)
        damaged[3 * 4096 : 5 * 4096] = bytes(8192)
        foreign = bytearray(image)
        foreign[68:72] = b"ELSE"
        for refused, kind in (
            (b"", CorruptError),
            (b"no database at all" * 100, CorruptError),
            (image[:1000], CorruptError),
            (image[:-4096], CorruptError),
            (bytes(damaged), CorruptError),
            (bytes(foreign), StorageError),
        ):
            with pytest.raises(kind):
                await driver.replace(refused, allow)
        with pytest.raises(ValueError, match="not wanted"):
            await driver.replace(image, refuse)
        with pytest.raises(ReadOnlyError):
            await driver.replace(image, lambda candidate: candidate.execute("DELETE FROM items"))
        assert words(driver) == {1: "kept"}
        await driver.close()
        driver = await opened(name)
        assert words(driver) == {1: "kept"}
        await driver.close()

    async def test_a_database_is_not_replaced_inside_a_transaction(self, name):
        driver = await made(name, [(1, "kept")])
        image = await driver.export()
        with pytest.raises(StorageError), driver.transaction():
            await driver.replace(image, allow)
        assert words(driver) == {1: "kept"}
        await driver.close()

    # migrations

    async def test_migrations_are_applied_once_and_recorded(self, name):
        driver = await opened(name)
        assert driver.query("PRAGMA application_id") == [(APPLICATION_ID,)]
        assert migrate(driver, STEPS[:1]) == 1
        assert migrate(driver, STEPS) == 2
        assert migrate(driver, STEPS) == 2
        assert driver.query("SELECT version, name FROM migrations ORDER BY version") == [(1, "items"), (2, "marks")]
        assert driver.query("PRAGMA user_version") == [(2,)]
        await driver.close()

    async def test_a_migration_that_fails_is_undone_and_the_ones_before_stay(self, name):
        driver = await opened(name)
        broken = Migration(2, "broken", ("CREATE TABLE half (x)", "CREATE TABLE items (x)"))
        with pytest.raises(StorageError):
            migrate(driver, (STEPS[0], broken))
        assert check(driver, STEPS) == 1
        assert driver.query("SELECT name FROM sqlite_schema WHERE name = 'half'") == []
        assert migrate(driver, STEPS) == 2
        await driver.close()

    async def test_a_newer_database_is_reported_and_left_alone(self, name):
        driver = await opened(name)
        migrate(driver, STEPS)
        with pytest.raises(NewerError, match="version 2"):
            migrate(driver, STEPS[:1])
        image = await driver.export()
        older = await opened(":memory:")
        migrate(older, STEPS[:1])
        with pytest.raises(NewerError):
            await older.replace(image, lambda candidate: check(candidate, STEPS[:1]))
        assert check(older, STEPS) == 1
        await older.close()
        assert check(driver, STEPS) == 2
        await driver.close()

    async def test_a_reader_checks_and_does_not_migrate(self, name):
        driver = await opened(name)
        migrate(driver, STEPS[:1])
        await driver.flush()
        reader = await opened(name, readonly=True)
        assert migrate(reader, STEPS[:1]) == 1
        with pytest.raises(ReadOnlyError, match="version 1"):
            migrate(reader, STEPS)
        await reader.close()
        await driver.close()

    async def test_a_version_without_its_record_is_reported(self, name):
        driver = await opened(name)
        driver.execute("PRAGMA user_version = 1")
        with pytest.raises(StorageError):
            migrate(driver, STEPS)
        await driver.close()


class SealedDriverContract(DriverContract):
    """The same over databases that are sealed for this device."""

    test_every_value_comes_back_as_it_went = test_blobs_are_read_in_one_run = None  # of databases in memory, which are never sealed

    @pytest.fixture(autouse=True)
    def sealed(self, monkeypatch):
        async def open_sealed(name, *, readonly=False):
            driver = await open_driver(name, readonly=readonly, secret=Secret(device_key=True) if name != ":memory:" else None)
            assert (driver.protection is not None) == (name != ":memory:")
            return driver

        monkeypatch.setattr(sys.modules[__name__], "opened", open_sealed)
