"""Sealed databases as files: what an attacker could do to them, processes that are killed, and plain copies that must not stay."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pyruvllm.errors import CorruptError, FencedError, LockedError, NewerError, PassphraseError, ReadOnlyError, StorageError
from pyruvllm.storage import Secret, delete_database, open_driver, protection_of, sealing
from pyruvllm.storage.devicekey import device_key, key_path
from pyruvllm.storage.pagestore import LOG, is_sealed

NOTE = "The ferryman of Zanzibar-7741 sings at noon."
DEVICE = Secret(device_key=True)
WRITE = """
import asyncio, sys
from pyruvllm.storage import Secret, open_driver
async def main():
    driver = await open_driver(sys.argv[1], secret=Secret(device_key=True))
    driver.execute("CREATE TABLE IF NOT EXISTS batches (batch INTEGER, body BLOB)")
    batch = driver.query("SELECT coalesce(max(batch), 0) FROM batches")[0][0]
    while True:
        batch += 1
        driver.executemany("INSERT INTO batches VALUES (?, randomblob(3000))", [(batch,)] * 100)
        await driver.flush()
        print(batch, flush=True)
asyncio.run(main())
"""
CONVERT = """
import asyncio, sys
from pyruvllm.storage import Secret, open_driver
async def main():
    driver = await open_driver(sys.argv[1])
    print("begun", flush=True)
    while True:
        await (driver.unprotect() if driver.protection else driver.protect(Secret(device_key=True)))
asyncio.run(main())
"""
READ = """
import asyncio, sys
from pyruvllm.storage import open_driver
driver = asyncio.run(open_driver(sys.argv[1], readonly=True))
print("reads", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "memory.db"


def python(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def on_disk(path):
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


async def noted(path, secret=DEVICE, rows=20):
    driver = await open_driver(str(path), secret=secret)
    driver.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, words TEXT)")
    driver.executemany("INSERT INTO notes (words) VALUES (?)", [(f"{NOTE} {'x' * 3000}",)] * rows)
    await driver.flush()
    return driver


def count(driver):
    return driver.query("SELECT count(*) FROM notes")[0][0]


async def test_no_file_holds_a_word_while_it_is_open_or_after(path):
    driver = await noted(path)
    assert is_sealed(path) and b"Zanzibar" not in on_disk(path)
    await driver.scrub()
    await driver.close()
    assert b"Zanzibar" not in on_disk(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["memory.db", "memory.db.lock"]
    await delete_database(str(path))
    assert list(path.parent.iterdir()) == []


async def test_sealing_leaves_no_word_of_the_plain_file_behind(path):
    driver = await noted(path, None)
    assert b"Zanzibar" in on_disk(path)
    old = path.open("rb")  # the file that was, as whoever reads the disk would find it
    await driver.protect(DEVICE)
    assert b"Zanzibar" not in on_disk(path) + old.read()
    assert count(driver) == 20
    await driver.unprotect()
    assert b"Zanzibar" in on_disk(path) and not is_sealed(path)
    await driver.close()


async def test_another_name_of_the_plain_file_keeps_its_content(path):
    driver = await noted(path, None)
    await driver.scrub()
    os.link(path, path.with_name("backup.db"))
    await driver.protect(DEVICE)
    await driver.close()
    assert b"Zanzibar" in path.with_name("backup.db").read_bytes()


async def test_while_another_process_reads_the_plain_file_it_is_not_sealed(path):
    driver = await noted(path, None)
    reader = python(READ, str(path))
    assert reader.stdout.readline() == "reads\n"
    with pytest.raises(ReadOnlyError, match="another process"):
        await driver.protect(DEVICE)
    driver.execute("DELETE FROM notes WHERE id = 1")
    assert (driver.protection, count(driver)) == (None, 19)
    reader.kill()
    reader.wait()
    await driver.protect(DEVICE)
    assert count(driver) == 19
    await driver.close()


async def test_another_passphrase_leaves_every_data_record_as_it_is(path, monkeypatch):
    monkeypatch.setattr(sealing, "ROUNDS", 100_000)
    driver = await noted(path, Secret("old"), 200)
    await driver.scrub()
    driver.execute("DELETE FROM notes WHERE id = 3")
    await driver.flush()
    before = contents(path)
    await driver.rekey(Secret("old"), Secret("new"))
    after = contents(path)
    changed = {what for what in before if before[what] != after.get(what)} | (after.keys() - before.keys())
    assert changed == {"meta 1", "meta 5"}  # head and keys
    await driver.close()


async def test_the_passphrase_is_stretched_as_said(path):
    await (await noted(path, Secret("a"), 1)).close()
    assert b'"rounds": 600000' in path.read_bytes()


async def test_a_killed_writer_loses_nothing_that_it_reported(path):
    for _ in range(3):
        writer = python(WRITE, str(path))
        first = int(writer.stdout.readline())
        time.sleep(random.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        reported = max([first, *map(int, writer.stdout.read().split())])
        writer.wait()
        driver = await open_driver(str(path))
        assert driver.writable and driver.query("PRAGMA integrity_check") == [("ok",)]
        found = driver.query("SELECT batch, count(*) FROM batches GROUP BY batch ORDER BY batch")
        assert [batch for batch, _ in found] == list(range(1, len(found) + 1))
        assert {size for _, size in found} == {100}
        assert len(found) >= reported
        await driver.close()


async def test_killed_while_sealing_it_is_sealed_or_plain_and_whole(path):
    await (await noted(path, None, 300)).close()
    for _ in range(3):
        converter = python(CONVERT, str(path))
        assert converter.stdout.readline() == "begun\n"
        time.sleep(random.uniform(0, 0.2))
        converter.kill()
        converter.wait()
        driver = await open_driver(str(path))
        assert (count(driver), driver.query("PRAGMA integrity_check")) == (300, [("ok",)])
        await driver.close()


async def test_a_full_disk_keeps_what_changed_in_memory(path):
    driver = await noted(path)
    driver.execute("DELETE FROM notes WHERE id = 1")
    store = driver._sealed._store
    room = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {room}")  # SQLite's own way of running out of space
    driver.executemany("INSERT INTO notes (words) VALUES (?)", [(NOTE * 100,)] * 200)
    with pytest.raises(StorageError):
        await driver.flush()
    assert count(driver) == 219
    reader = await open_driver(str(path), readonly=True)
    assert count(reader) == 20
    await reader.close()
    store._connection.execute("PRAGMA max_page_count = 1000000")
    await driver.close()
    driver = await open_driver(str(path))
    assert count(driver) == 219
    await driver.close()


async def test_a_writer_that_was_replaced_is_fenced(path):
    driver = await noted(path)
    path.with_name("memory.db.lock").unlink()  # so that a second one believes that it writes
    second = await open_driver(str(path))
    second.execute("DELETE FROM notes WHERE id < 5")
    await second.flush()
    driver.execute("DELETE FROM notes")
    with pytest.raises(FencedError):
        await driver.flush()
    with pytest.raises(FencedError):
        await driver.close()
    await second.close()
    driver = await open_driver(str(path))
    assert count(driver) == 16
    await driver.close()


async def test_the_log_is_folded_and_commits_write_what_changed(path):
    driver = await noted(path, rows=500)
    sizes = []
    for _ in range(12):
        driver.execute("UPDATE notes SET words = words || '!'")
        await driver.flush()
        sizes.append(sum(len(value) for what, value in contents(path).items() if what.startswith("log")))
    assert max(sizes) < 9 << 20  # bytes; 4 MB is the limit, a commit adds 2, and a step takes away what the last one added
    driver.execute("UPDATE notes SET words = 'x' WHERE id = 500")
    before = set(contents(path))
    await driver.flush()
    new = [what for what in contents(path) if what not in before]
    assert len(new) == 1 and new[0].startswith("log")
    await driver.close()


async def test_the_device_key_is_for_its_owner_only_and_stays_the_same(path):
    key = device_key()
    assert key == device_key()
    assert key_path().stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in key_path().parent.iterdir()) == ["device.key"]
    assert key.key.hex() not in repr(key)
    await (await noted(path)).close()
    key_path().unlink()
    with pytest.raises(LockedError, match="not here"):
        await open_driver(str(path))
    assert (await protection_of(str(path))).this_device is False
    key_path().write_bytes(b"short")
    with pytest.raises(StorageError, match="5 bytes"):
        await open_driver(str(path))


# Attacks: a database with every kind of record, as it was at two moments, and another one.


def contents(path):
    """Every record of a sealed file, and of meta its numbers too."""
    connection = sqlite3.connect(path)
    found = {f"meta {kind}": row for kind, *row in connection.execute("SELECT * FROM meta")}
    found |= {f"{table} {key}": value for table in ("log", "base") for key, value in connection.execute(f"SELECT * FROM {table}")}
    connection.close()
    return found


def put(path, what, value):
    table, key = what.split()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (key,))
    if value is not None:
        row = value if table == "meta" else [value]
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * (len(row) + 1))})", (key, *row))
    connection.close()


def record(value):
    return value[2] if isinstance(value, list) else value


def with_record(value, content):
    return [*value[:2], content] if isinstance(value, list) else content


class Attacked:
    """A sealed file that is attacked, expected to be refused unchanged, and put right again."""

    def __init__(self, path):
        self.path, self.whole = path, path.read_bytes()
        self.records = contents(path)
        self.tried = 0

    async def refused(self, *changes, kinds=(CorruptError, NewerError)):
        for what, value in changes:
            put(self.path, what, value)
        before = hashlib.sha256(self.path.read_bytes()).digest()
        for readonly in (False, True):
            with pytest.raises(kinds):
                await open_driver(str(self.path), readonly=readonly)
        assert hashlib.sha256(self.path.read_bytes()).digest() == before
        self.path.write_bytes(self.whole)
        self.tried += 1


async def prepared(path):
    """(the file, records of an earlier moment)"""
    driver = await noted(path, rows=250)
    await driver.scrub()
    old = contents(path)
    driver.execute("UPDATE notes SET words = words || '!'")
    await driver.flush()
    await driver.scrub()
    for _ in range(3):
        driver.execute("UPDATE notes SET words = 'last' WHERE id < 40")
        await driver.flush()
    await driver.rekey(Secret(), DEVICE)
    await driver.close()
    return Attacked(path), old


async def test_a_flipped_bit_a_cut_record_and_a_missing_one_are_found(path):
    victim, _ = await prepared(path)
    kinds = {what.split()[0] for what in victim.records}
    assert kinds == {"meta", "log", "base"} and len(victim.records) >= 10
    for what, value in victim.records.items():
        content = record(value)
        for place in (0, 13, 40, len(content) // 2, len(content) - 1):
            flipped = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
            await victim.refused((what, with_record(value, flipped)))
        for other in (content[:-1], content[:20], b"", content + b"\0", None, "text", 7):
            await victim.refused((what, with_record(value, other)))
        await victim.refused((what, None))


async def test_swapped_older_foreign_and_surplus_records_are_found(path):
    victim, old = await prepared(path)
    for table in ("log", "base"):
        some = [(what, value) for what, value in victim.records.items() if what.startswith(table)]
        for (a, value_a), (b, value_b) in zip(some, some[1:], strict=False):
            await victim.refused((a, value_b), (b, value_a))
    log = [what for what in victim.records if what.startswith("log")]
    for keep in range(len(log)):
        await victim.refused(*((what, None) for what in log[keep:]))
    await victim.refused((log[-1], victim.records[log[0]]))
    await victim.refused((f"log {int(log[-1].split()[1]) + 65536}", victim.records[log[-1]]))
    replayed = [what for what in old if what in victim.records]
    assert {what.split()[0] for what in replayed} == {"meta", "base"}
    for what in replayed:
        await victim.refused((what, old[what]))
    epoch, sequence, head = victim.records["meta 1"]
    for numbers in ((epoch + 1, sequence), (epoch, sequence - 1), (epoch, sequence + 1), ("x", sequence)):
        await victim.refused(("meta 1", [*numbers, head]))
    stranger, _ = await prepared(path.with_name("other.db"))
    for what in stranger.records.keys() & victim.records.keys():
        await victim.refused((what, stranger.records[what]))
    driver = await open_driver(str(path))  # put right again, it opens
    assert count(driver) == 250
    await driver.close()


async def test_a_wrong_passphrase_and_forged_keys_change_nothing(path, monkeypatch):
    monkeypatch.setattr(sealing, "ROUNDS", 100_000)
    await (await noted(path, Secret("right"))).close()
    victim = Attacked(path)
    with pytest.raises(PassphraseError):
        await open_driver(str(path), secret=Secret("wrong"))
    assert path.read_bytes() == victim.whole
    generation, zero, keys = victim.records["meta 5"]
    rest = keys[32:].replace(b'"generation": 1', b'"generation": 2')
    forged = hashlib.sha256(rest).digest() + rest
    put(path, "meta 5", [generation, zero, forged])
    with pytest.raises(CorruptError):
        await open_driver(str(path), secret=Secret("right"))
    for rounds in (b"1", b"99999999999"):
        rest = keys[32:].replace(b'"rounds": 100000', b'"rounds": ' + rounds)
        put(path, "meta 5", [generation, zero, hashlib.sha256(rest).digest() + rest])
        with pytest.raises(CorruptError, match="form"):
            await open_driver(str(path), secret=Secret("right"))


@pytest.mark.parametrize(("version", "kind"), [(1, CorruptError), (3, NewerError)])
async def test_another_format_is_refused(path, version, kind):
    await (await noted(path)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(kind):
        await open_driver(str(path))
    assert path.read_bytes() == before


async def test_a_plain_file_in_the_place_of_a_sealed_one_is_refused_with_a_secret(path):
    await (await noted(path, None)).close()
    with pytest.raises(StorageError, match="not sealed"):
        await open_driver(str(path), secret=DEVICE)


def test_labels_are_part_of_what_is_authenticated():
    sealer = sealing.Sealer(bytes(32), bytes(16))
    sealed = sealer.seal((LOG, 7, 1), b"pages")
    assert sealer.unseal((LOG, 7, 1), sealed) == b"pages"
    for other in ((LOG, 7, 2), (LOG, 8, 1), (sealing.EXTENT, 7, 1)):
        with pytest.raises(CorruptError):
            sealer.unseal(other, sealed)
    with pytest.raises(CorruptError):
        sealing.Sealer(bytes(32), bytes(15) + b"\1").unseal((LOG, 7, 1), sealed)
