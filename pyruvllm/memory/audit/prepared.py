"""Witness entries as they will lie in the tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...storage.driver import Value
from ...types import Draft
from ..columns import to_blob
from ..records import Row
from .chain import Chain, digest
from .entry import COLLECTION, WitnessEntry, columns_of, metadata_of

if TYPE_CHECKING:
    from ..unified import UnifiedMemory


@dataclass(slots=True)
class Prepared:
    """An entry but for its number."""

    row: Row
    columns: tuple[Value, ...]
    response: bytes | None  # its embedding, float16
    salt: bytes
    digest: bytes


def prepared(memory: "UnifiedMemory", chain: Chain, entries: Sequence[WitnessEntry], users: Mapping[str, str | None]) -> Iterator[Prepared]:
    """All of these, in their order; users: of their sessions. ConfigError, SpaceError for one that cannot be stored."""
    drafts = [Draft(e.query, e.request_id, metadata_of(e, users.get(e.session_id)), e.query_embedding) for e in entries]
    rows, salts = memory.rows_of(COLLECTION, drafts), chain.salts(len(entries))
    for entry, draft, row, salt in zip(entries, drafts, rows, salts, strict=True):
        response, record = to_blob(entry.response_embedding, "<f2"), row.record
        content = digest(salt, record.id, record.text, row.metadata, record.created_at, row.blob, response)
        yield Prepared(row, columns_of(draft.metadata), response, salt, content)
