"""Records in SQL: rows with their vector and their words. No index and no rule lives here; ``unified`` holds both."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, NotFoundError
from ..storage.driver import Blobs, Driver, Value
from ..types import Metadata, Record
from .filters import Clause, compile_filter, order_by

COLUMNS = "id, collection, text, metadata, created_at, updated_at"
JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
SLICE = 2000  # rows read at a time when everything is loaded


@dataclass(slots=True)
class Row:
    """A record as it is written: with its encoded words, its metadata as JSON, and its vector (dimension,) float32, if it has one."""

    record: Record
    words: bytes
    metadata: str
    vector: np.ndarray | None = None
    blob: bytes | None = None  # the vector in float16
    checksum: int | None = None  # of that and the number
    number: int = 0  # that it gets when it is written

    def place(self, number: int) -> None:
        self.number, self.checksum = number, None if self.blob is None else checksum(number, self.blob)


def dump(metadata: Mapping[str, Any]) -> str:
    """Metadata as the JSON that is stored. Raises ConfigError for what JSON cannot say, or SQLite cannot find again."""
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise ConfigError(f"metadata is a dict with strings as keys, not {metadata!r}")
    try:
        text = JSON.encode(metadata)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"metadata is JSON (strings, finite numbers, booleans, None, lists and dicts of them): {error}") from None
    return text


def to_blob(vector: np.ndarray) -> bytes:
    return vector.astype("<f2").tobytes()


def checksum(number: int, blob: bytes) -> int:
    return zlib.crc32(blob, number & 0xFFFFFFFF)


class Records:
    """Over the tables records, vectors and postings. Callers open the transactions."""

    def __init__(self, driver: Driver):
        self._driver = driver

    def next_number(self) -> int:
        rows = self._driver.query("SELECT seq FROM sqlite_sequence WHERE name = 'records'")
        return int(rows[0][0]) + 1 if rows else 1  # type: ignore[arg-type]

    def taken(self, ids: Sequence[str]) -> list[str]:
        """Those of ``ids`` that are there."""
        sql = "SELECT id FROM records WHERE id IN (SELECT value FROM json_each(?))"
        return [str(id) for (id,) in self._driver.query(sql, [json.dumps(list(ids))])]

    def insert(self, rows: Sequence[Row]) -> None:
        self._driver.executemany(
            f"INSERT INTO records (number, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(row.number, r.id, r.collection, r.text, row.metadata, r.created_at, r.updated_at) for row in rows for r in (row.record,)],
        )
        self._driver.executemany("INSERT INTO postings (number, terms) VALUES (?, ?)", [(row.number, row.words) for row in rows])
        self._write_blobs([(row.number, row.checksum, row.blob) for row in rows if row.blob is not None])

    def write_vectors(self, vectors: Sequence[tuple[int, np.ndarray]]) -> None:
        blobs = [(number, to_blob(vector)) for number, vector in vectors]
        self._write_blobs([(number, checksum(number, blob), blob) for number, blob in blobs])

    def _write_blobs(self, rows: Sequence[tuple[Value, ...]]) -> None:
        self._driver.executemany("INSERT OR REPLACE INTO vectors (number, checksum, embedding) VALUES (?, ?, ?)", rows)

    def rewrite(self, row: Row, *, vector: bool) -> None:
        """Puts a row in the place of the one with its number; its vector only when that changed."""
        record = row.record
        self._driver.execute(
            "UPDATE records SET text = ?, metadata = ?, updated_at = ? WHERE number = ?",
            [record.text, row.metadata, record.updated_at, row.number],
        )
        self._driver.execute("UPDATE postings SET terms = ? WHERE number = ?", [row.words, row.number])
        if vector and row.blob is not None:
            self._write_blobs([(row.number, row.checksum, row.blob)])

    def drop_vectors(self, collection: str) -> None:
        self._driver.execute("DELETE FROM vectors WHERE number IN (SELECT number FROM records WHERE collection = ?)", [collection])

    def checksums(self, numbers: Sequence[int]) -> dict[int, int]:
        """Those of the numbers that have a vector, and its checksum."""
        sql = "SELECT number, checksum FROM vectors WHERE number IN (SELECT value FROM json_each(?))"
        return dict(self._driver.query(sql, [json.dumps(list(numbers))]))  # type: ignore[arg-type]

    def delete(self, numbers: Sequence[int]) -> None:
        listed = json.dumps(list(numbers))
        for table in ("vectors", "postings", "records"):
            self._driver.execute(f"DELETE FROM {table} WHERE number IN (SELECT value FROM json_each(?))", [listed])

    def places(self, ids: Sequence[str]) -> list[tuple[int, str]]:
        """(number, collection) of each id, in their order. NotFoundError names the first that is not there."""
        sql = "SELECT id, number, collection FROM records WHERE id IN (SELECT value FROM json_each(?))"
        found = {id: (number, collection) for id, number, collection in self._driver.query(sql, [json.dumps(list(ids))])}
        missing = next((id for id in ids if id not in found), None)
        if missing is not None:
            raise NotFoundError(f"no record {missing!r}")
        return [found[id] for id in ids]  # type: ignore[misc]

    def get(self, id: str) -> tuple[int, Record]:
        rows = self._driver.query(f"SELECT number, {COLUMNS} FROM records WHERE id = ?", [id])
        if not rows:
            raise NotFoundError(f"no record {id!r}")
        return int(rows[0][0]), record_of(rows[0][1:])  # type: ignore[arg-type]

    def vector_of(self, number: int) -> np.ndarray | None:
        rows = self._driver.query("SELECT embedding FROM vectors WHERE number = ?", [number])
        return np.frombuffer(rows[0][0], "<f2").astype(np.float32) if rows else None  # type: ignore[call-overload]

    def vectors_of(self, numbers: Sequence[int] | np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray]:
        """(found numbers (n,) int64, their vectors (n, dimension) float32), in ascending order of number."""
        found = self._blobs("vectors", "embedding", np.unique(np.asarray(numbers, np.int64)))
        return found.numbers, np.frombuffer(found.content, "<f2").astype(np.float32).reshape(len(found), dimension)

    def _blobs(self, table: str, column: str, numbers: np.ndarray) -> Blobs:
        """A column of the numbers (n,), ascending, that are in a table. Numbers close together are read in one run."""
        if not len(numbers):
            return Blobs(numbers, np.empty(0, np.int64), b"")
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first < 2 * len(numbers):
            sql = f"SELECT number, {column} FROM {table} WHERE number BETWEEN ? AND ? ORDER BY number"
            found = self._driver.blobs(sql, [first, last])
            return found.kept(np.isin(found.numbers, numbers, assume_unique=True))
        sql = f"SELECT t.number, t.{column} FROM json_each(?) AS j JOIN {table} AS t ON t.number = j.value ORDER BY t.number"
        return self._driver.blobs(sql, [json.dumps(numbers.tolist())])

    def originals(self, numbers: np.ndarray, dimension: int) -> np.ndarray:
        """The vectors of numbers (n,) in their order, (n, dimension) float32; ones for a number that has none."""
        found, vectors = self.vectors_of(numbers, dimension)
        places = np.searchsorted(found, numbers)
        if len(found) == len(numbers):
            return vectors[places]
        rows = np.ones((len(numbers), dimension), np.float32)
        there = np.isin(numbers, found)
        rows[there] = vectors[places[there]]
        return rows

    def shown(self, numbers: Sequence[int]) -> dict[int, tuple[Value, ...]]:
        """number -> (id, collection, text, metadata as JSON); numbers that are not there are left out."""
        sql = "SELECT r.number, r.id, r.collection, r.text, r.metadata FROM json_each(?) AS j JOIN records AS r ON r.number = j.value"
        rows = self._driver.query(sql, [json.dumps([int(number) for number in numbers])])
        return {int(row[0]): row[1:] for row in rows}  # type: ignore[arg-type]

    def select(
        self, collection: str, where: Mapping[str, Any] | None, order: str, descending: bool, limit: int | None, offset: int
    ) -> list[Record]:
        (condition, values), (key, path) = compile_filter(where), order_by(order)
        way = "DESC" if descending else "ASC"
        rows = self._driver.query(
            f"SELECT {COLUMNS} FROM records WHERE collection = ? AND {condition} ORDER BY {key} {way}, number {way} LIMIT ? OFFSET ?",
            [collection, *values, *path, -1 if limit is None else limit, offset],
        )
        return [record_of(row) for row in rows]

    def count(self, collection: str, where: Mapping[str, Any] | None = None) -> int:
        condition, values = compile_filter(where)
        rows = self._driver.query(f"SELECT count(*) FROM records WHERE collection = ? AND {condition}", [collection, *values])
        return int(rows[0][0])  # type: ignore[arg-type]

    def counts(self) -> dict[str, int]:
        return dict(self._driver.query("SELECT collection, count(*) FROM records GROUP BY collection ORDER BY collection"))  # type: ignore[arg-type]

    def matching(self, collection: str, condition: Clause) -> np.ndarray:
        """Numbers that a compiled filter holds for, (n,) int64 ascending."""
        rows = self._driver.query(
            f"SELECT number FROM records WHERE collection = ? AND {condition[0]} ORDER BY number", [collection, *condition[1]]
        )
        return np.array([row[0] for row in rows], np.int64)

    def ids_where(self, collection: str, where: Mapping[str, Any] | None) -> list[str]:
        condition, values = compile_filter(where)
        sql = f"SELECT id FROM records WHERE collection = ? AND {condition} ORDER BY number"
        return [str(id) for (id,) in self._driver.query(sql, [collection, *values])]

    def texts(self, collection: str) -> list[tuple[int, str]]:
        return self._driver.query(  # type: ignore[return-value]
            "SELECT number, text FROM records WHERE collection = ? ORDER BY number", [collection]
        )

    def words_of(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """The encoded words of those of the numbers that are there."""
        sql = "SELECT number, terms FROM postings WHERE number IN (SELECT value FROM json_each(?))"
        return dict(self._driver.query(sql, [json.dumps(list(numbers))]))  # type: ignore[arg-type]

    def words(self, collection: str) -> Iterator[Blobs]:
        """The encoded words of every record, in slices by ascending number."""
        return self._slices("postings", "terms", collection)

    def vectors(self, collection: str, dimension: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers (n,) int64 and vectors (n, dimension) float32 of all that have one, in slices by ascending number."""
        for found in self._slices("vectors", "embedding", collection):
            yield found.numbers, np.frombuffer(found.content, "<f2").astype(np.float32).reshape(len(found), dimension)

    def _slices(self, table: str, column: str, collection: str) -> Iterator[Blobs]:
        rows = self._driver.query("SELECT number FROM records WHERE collection = ?", [collection])
        numbers = np.sort(np.array([row[0] for row in rows], np.int64))
        for start in range(0, len(numbers), SLICE):
            yield self._blobs(table, column, numbers[start : start + SLICE])

    def fingerprint(self, collection: str) -> tuple[int, int]:
        """(how many vectors, sum of their checksums): what a saved index must have been made of."""
        rows = self._driver.query(
            "SELECT count(*), coalesce(sum(v.checksum), 0) FROM records AS r JOIN vectors AS v ON v.number = r.number "
            "WHERE r.collection = ?",
            [collection],
        )
        return int(rows[0][0]), int(rows[0][1])  # type: ignore[arg-type]


def record_of(row: Sequence[Value]) -> Record:
    id, collection, text, metadata, created_at, updated_at = row
    loaded: Metadata = json.loads(metadata)  # type: ignore[arg-type]
    return Record(id, collection, text, loaded, created_at, updated_at)  # type: ignore[arg-type]
