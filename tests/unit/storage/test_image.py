import sqlite3

from pyruvllm.storage.image import canonical


def test_what_sqlite_counts_in_the_header_is_not_in_a_copy(tmp_path):
    """Two files of the same content by different ways are the same bytes, and still a database."""
    images = []
    for name, pragmas in (("plain", ()), ("logged", ("journal_mode = WAL",))):
        database = sqlite3.connect(tmp_path / name, isolation_level=None)
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        for pragma in pragmas:
            database.execute(f"PRAGMA {pragma}")
        for _ in range(3 if pragmas else 1):
            database.execute("INSERT OR REPLACE INTO t VALUES (1, 'one')")
        images.append(database.serialize())
        database.close()
    assert images[0] != images[1]
    assert canonical(images[0]) == canonical(images[1])
    copy = sqlite3.connect(":memory:")
    copy.deserialize(canonical(images[1]))
    assert copy.execute("SELECT body FROM t").fetchall() == [("one",)]
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copy.close()
