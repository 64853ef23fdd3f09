"""What only the native driver has: files, other processes, and files that are not ours."""

import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pyruvllm.errors import CorruptError, QuotaError, ReadOnlyError, StorageError
from pyruvllm.storage import delete_database, open_driver
from pyruvllm.storage.sqlite import database_path

HOLD = """
import asyncio, sys
from pyruvllm.storage import open_driver
driver = asyncio.run(open_driver(sys.argv[1]))
print("writer" if driver.writable else "reader", flush=True)
sys.stdin.read()
"""
WRITE = """
import asyncio, sys
from pyruvllm.storage import open_driver
async def main():
    driver = await open_driver(sys.argv[1])
    driver.execute("CREATE TABLE IF NOT EXISTS batches (batch INTEGER, body BLOB)")
    batch = driver.query("SELECT coalesce(max(batch), 0) FROM batches")[0][0]
    while True:
        batch += 1
        driver.executemany("INSERT INTO batches VALUES (?, zeroblob(3000))", [(batch,)] * 20)
        await driver.flush()
        print(batch, flush=True)
asyncio.run(main())
"""


def python(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


async def test_another_process_is_the_writer(path):
    other = python(HOLD, str(path))
    assert other.stdout.readline() == "writer\n"
    driver = await open_driver(str(path))
    assert not driver.writable
    with pytest.raises(ReadOnlyError):
        driver.execute("CREATE TABLE t (x)")
    with pytest.raises(ReadOnlyError):
        await delete_database(str(path))
    await driver.close()
    other.kill()
    other.wait()
    driver = await open_driver(str(path))
    assert driver.writable
    await driver.close()


async def test_a_killed_writer_loses_nothing_that_it_reported(path):
    for _ in range(3):
        writer = python(WRITE, str(path))
        first = int(writer.stdout.readline())
        time.sleep(random.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        reported = max([first, *map(int, writer.stdout.read().split())])
        writer.wait()
        driver = await open_driver(str(path))
        assert driver.writable
        assert driver.query("PRAGMA integrity_check") == [("ok",)]
        found = driver.query("SELECT batch, count(*) FROM batches GROUP BY batch ORDER BY batch")
        assert [batch for batch, _ in found] == list(range(1, len(found) + 1))
        assert {count for _, count in found} == {20}
        assert len(found) >= reported
        await driver.close()


@pytest.mark.parametrize("readonly", [False, True])
async def test_a_database_of_another_application_is_left_alone(path, readonly):
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another application"):
        await open_driver(str(path), readonly=readonly)
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
async def test_a_file_that_is_no_database_is_left_alone(path, readonly):
    path.write_bytes(b"dear diary " * 500)
    with pytest.raises(CorruptError):
        await open_driver(str(path), readonly=readonly)
    assert path.read_bytes() == b"dear diary " * 500


async def test_damage_in_the_middle_is_reported(path):
    driver = await open_driver(str(path))
    driver.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    driver.executemany("INSERT INTO t (body) VALUES (?)", [("x" * 500,)] * 500)
    await driver.close()
    image = bytearray(path.read_bytes())
    image[5 * 4096 : 40 * 4096] = b"\xff" * (35 * 4096)
    path.write_bytes(image)
    driver = await open_driver(str(path))
    with pytest.raises(CorruptError):
        driver.query("SELECT * FROM t")
    await driver.close()
    assert path.read_bytes() == bytes(image)


async def test_a_full_disk_is_a_quota_error_and_keeps_what_was_saved(path):
    driver = await open_driver(str(path))
    driver.execute("CREATE TABLE t (body BLOB)")
    driver.execute("INSERT INTO t VALUES (x'01')")
    driver.query("PRAGMA max_page_count = 20")  # SQLite's own way of running out of space
    with pytest.raises(QuotaError), driver.transaction(), driver.transaction():
        driver.executemany("INSERT INTO t VALUES (zeroblob(4000))", [()] * 40)
    assert driver.query("SELECT count(*) FROM t") == [(1,)]
    driver.execute("INSERT INTO t VALUES (x'02')")
    await driver.close()
    driver = await open_driver(str(path))
    assert driver.query("SELECT hex(body) FROM t") == [("01",), ("02",)]
    await driver.close()


async def test_export_and_import_are_ordinary_single_files(path, tmp_path):
    driver = await open_driver(str(path))
    driver.execute("CREATE TABLE t (x)")
    driver.execute("INSERT INTO t VALUES (1)")
    (tmp_path / "copy.db").write_bytes(await driver.export())
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.executescript("PRAGMA page_size = 1024; VACUUM")  # as another tool may write it
    copy.close()
    await driver.replace((tmp_path / "copy.db").read_bytes(), lambda candidate: None)
    assert driver.query("SELECT x FROM t") == [(1,)]
    assert driver.query("PRAGMA journal_mode") == [("wal",)]
    await driver.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "memory.db", "memory.db.lock"]
    await delete_database(str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["copy.db"]


async def test_commits_are_synchronous_and_logged(path):
    driver = await open_driver(str(path))
    assert driver.query("PRAGMA journal_mode") == [("wal",)]
    assert driver.query("PRAGMA synchronous") == [(2,)]
    await driver.close()


def test_a_bare_name_lives_in_the_data_folder_and_a_path_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert database_path("notes") == tmp_path / "data" / "pyruvllm" / "notes.db"
    assert database_path("notes.db") == tmp_path / "notes.db"
    assert database_path("sub/notes") == tmp_path / "sub" / "notes"
    assert database_path("~/sub/notes") == tmp_path / "sub" / "notes"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert database_path("my notes") == tmp_path / ".local" / "share" / "pyruvllm" / "my notes.db"


@pytest.mark.parametrize("name", ["missing/folder/notes.db", "a\0b", ""])
def test_a_place_that_cannot_be_is_a_storage_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError):
        database_path(name)


async def test_scrubbed_rows_are_in_no_file(tmp_path):
    path = tmp_path / "memory.db"
    driver = await open_driver(str(path))
    driver.execute("CREATE TABLE notes (words TEXT)")
    driver.execute("INSERT INTO notes VALUES ('Zanzibar-7741')")
    files = lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: E731
    assert b"Zanzibar-7741" in files()
    driver.execute("DELETE FROM notes")
    await driver.scrub()
    assert b"Zanzibar-7741" not in files()
    await driver.close()
