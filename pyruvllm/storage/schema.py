"""The tables, as recorded migrations. What is applied once is never edited: a change is a further migration.

A record is a row of any collection; ``number`` is its short name, given once and never again (AUTOINCREMENT), so that nothing that
was deleted can be mistaken for something new. Times are UTC milliseconds, vectors little-endian float16, checksums below 2**32.
"""

from .migrate import Migration
from .tables import AUDIT_TABLES, CACHE_TABLES, GRAPH_TABLES, KERNEL_TABLES, ROLE_TABLES, STORE_TABLES, TAB_TABLES

COLLECTION_TABLES = (
    """CREATE TABLE collections (
        name TEXT PRIMARY KEY,
        space TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE records (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        collection TEXT NOT NULL,
        text TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    )""",
    "CREATE INDEX records_by_collection ON records (collection, created_at)",
    # The checksum stands before the blob so that summing it up reads no overflow page.
    """CREATE TABLE vectors (
        number INTEGER PRIMARY KEY,
        checksum INTEGER NOT NULL,
        embedding BLOB NOT NULL
    )""",
    """CREATE TABLE postings (
        number INTEGER PRIMARY KEY,
        terms BLOB NOT NULL
    )""",
    """CREATE TABLE edges (
        source TEXT NOT NULL,
        target TEXT NOT NULL,
        relation TEXT NOT NULL,
        weight REAL NOT NULL,
        confidence REAL NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (source, relation, target)
    ) WITHOUT ROWID""",
    "CREATE INDEX edges_by_target ON edges (target, relation)",
    """CREATE TABLE index_states (
        collection TEXT PRIMARY KEY,
        space TEXT NOT NULL,
        count INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE index_segments (
        collection TEXT NOT NULL,
        name TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (collection, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE embeddings (
        space TEXT NOT NULL,
        hash BLOB NOT NULL,
        vector BLOB NOT NULL,
        used_at INTEGER NOT NULL,
        PRIMARY KEY (space, hash)
    ) WITHOUT ROWID""",
    "CREATE INDEX embeddings_by_use ON embeddings (used_at)",
)

# What changed of a collection since its index was saved; ``vectors`` and ``checksum`` are by how much the sums over its rows changed.
# A codec of NULL is for the memory to choose.
INDEX_TABLES = (
    """CREATE TABLE index_changes (
        collection TEXT NOT NULL,
        number INTEGER NOT NULL,
        vectors INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (collection, number)
    ) WITHOUT ROWID""",
    "ALTER TABLE index_states ADD COLUMN codec TEXT NOT NULL DEFAULT 'float32'",
    "ALTER TABLE collections ADD COLUMN codec TEXT",
)

# What goes through a collection in slices goes on from a number: by the other index all of its rows would be sorted at each of them.
ORDER_TABLES = ("CREATE INDEX records_by_number ON records (collection)",)

MIGRATIONS = (
    Migration(1, "collections, records, vectors, graph and stores", COLLECTION_TABLES + STORE_TABLES),
    Migration(2, "installed packs of kernels", KERNEL_TABLES),
    Migration(3, "what a saved index has yet to take in, and how it keeps vectors", INDEX_TABLES),
    Migration(4, "patterns, pins, the audit of the witness log, a compact graph", AUDIT_TABLES + ROLE_TABLES + GRAPH_TABLES),
    Migration(5, "keys and values of conversations, adapters", CACHE_TABLES),
    Migration(6, "what tabs that follow the writer need", TAB_TABLES),
    Migration(7, "records of a collection by number", ORDER_TABLES),
)
