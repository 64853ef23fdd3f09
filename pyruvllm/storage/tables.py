"""The side tables of the typed stores: what has a column of its own because it is sorted, compared or summed.

A session, a policy and a witness entry is a record of its collection first (text, metadata, vector, edges); its side row has the
record's ``number`` and goes with it, whoever deletes it: that is what the triggers are for. Column names differ from those of
``records`` so that a compiled filter may stand in a join. Times are UTC milliseconds.
"""

DOCUMENT_TABLES = (
    """CREATE TABLE documents (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        title TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        added_at INTEGER NOT NULL,
        details TEXT NOT NULL,
        content TEXT NOT NULL
    )""",
    "CREATE INDEX documents_by_time ON documents (added_at)",
    """CREATE TABLE passages (
        number INTEGER PRIMARY KEY,
        document TEXT NOT NULL,
        ordinal INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX passages_by_document ON passages (document, ordinal)",
    """CREATE TRIGGER passages_go AFTER DELETE ON records WHEN old.collection = 'documents' BEGIN
        DELETE FROM passages WHERE number = old.number;
    END""",
)

SESSION_TABLES = (
    """CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        user_id TEXT,
        active_adapter TEXT,
        kv_cache TEXT,
        turn_count INTEGER NOT NULL,
        embedded_turns INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        last_active INTEGER NOT NULL
    )""",
    "CREATE INDEX sessions_by_activity ON sessions (last_active)",
    "CREATE INDEX sessions_by_user ON sessions (user_id, last_active) WHERE user_id IS NOT NULL",
    """CREATE TABLE turns (
        session INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
        said_at INTEGER NOT NULL,
        witness TEXT,
        details TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (session, ordinal)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER sessions_go AFTER DELETE ON records WHEN old.collection = 'sessions' BEGIN
        DELETE FROM turns WHERE session = old.number;
        DELETE FROM sessions WHERE number = old.number;
    END""",
)

POLICY_TABLES = (
    """CREATE TABLE policies (
        number INTEGER PRIMARY KEY,
        policy_type TEXT NOT NULL,
        confidence REAL NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('instant_loop', 'background_loop', 'deep_loop', 'federated', 'bundled')),
        learned_at INTEGER NOT NULL,
        last_accessed INTEGER NOT NULL,
        parameters TEXT NOT NULL,
        fisher_diagonal BLOB
    )""",
    "CREATE INDEX policies_by_type ON policies (policy_type, learned_at)",
    """CREATE TRIGGER policies_go AFTER DELETE ON records WHEN old.collection = 'policies' BEGIN
        DELETE FROM policies WHERE number = old.number;
    END""",
)

WITNESS_TABLES = (
    """CREATE TABLE witness (
        number INTEGER PRIMARY KEY,
        timestamp INTEGER NOT NULL,
        session TEXT NOT NULL,
        model TEXT,
        quality REAL,
        context_size INTEGER,
        temperature REAL,
        top_p REAL,
        confidence REAL,
        policy TEXT,
        model_probs TEXT,
        embedding_ms REAL NOT NULL,
        retrieval_ms REAL NOT NULL,
        routing_ms REAL NOT NULL,
        attention_ms REAL NOT NULL,
        generation_ms REAL NOT NULL,
        total_ms REAL NOT NULL,
        error_kind TEXT,
        error_message TEXT,
        response_embedding BLOB
    )""",
    "CREATE INDEX witness_by_time ON witness (timestamp)",
    "CREATE INDEX witness_by_session ON witness (session, timestamp)",
    "CREATE INDEX witness_by_quality ON witness (quality) WHERE quality IS NOT NULL",
    "CREATE INDEX witness_by_error ON witness (error_kind, timestamp) WHERE error_kind IS NOT NULL",
    """CREATE TRIGGER witness_goes AFTER DELETE ON records WHEN old.collection = 'witness' BEGIN
        DELETE FROM witness WHERE number = old.number;
    END""",
)

# The files of installed packs of kernels, which are verified whenever they are read. ``place`` is "current" or "previous".
KERNEL_TABLES = (
    """CREATE TABLE kernel_packs (
        pack TEXT NOT NULL,
        place TEXT NOT NULL CHECK (place IN ('current', 'previous')),
        file TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (pack, place, file)
    )""",
)

# The witness log's chain has one row per event, and none is ever changed or removed; see ``memory.audit.chain``. ``salt`` makes the digest
# of an entry that was removed say nothing about it, ``hold`` is why an entry may not be removed. Archived entries are sealed in files;
# their keys are here, one for each session in each archive, so that forgetting is to destroy a key; see ``memory.audit.archive``.
AUDIT_TABLES = (
    "ALTER TABLE witness ADD COLUMN user_id TEXT",
    "ALTER TABLE witness ADD COLUMN hold TEXT",
    "ALTER TABLE witness ADD COLUMN salt BLOB",
    "CREATE INDEX witness_by_model ON witness (model, timestamp)",
    "CREATE INDEX witness_by_user ON witness (user_id) WHERE user_id IS NOT NULL",
    "CREATE INDEX witness_by_hold ON witness (timestamp) WHERE hold IS NOT NULL",
    """CREATE TRIGGER witness_held BEFORE DELETE ON records WHEN old.collection = 'witness'
        AND (SELECT hold FROM witness WHERE number = old.number) IS NOT NULL BEGIN
        SELECT RAISE(ABORT, 'the witness entry is on legal hold: release it first');
    END""",
    """CREATE TABLE witness_chain (
        ordinal INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        happened_at INTEGER NOT NULL,
        digest BLOB NOT NULL,
        hash BLOB NOT NULL
    )""",
    "CREATE INDEX witness_chain_by_entry ON witness_chain (number, ordinal)",
    *(
        f"""CREATE TRIGGER witness_chain_no_{verb.lower()} BEFORE {verb} ON witness_chain BEGIN
        SELECT RAISE(ABORT, 'the chain of the witness log is append-only');
    END"""
        for verb in ("UPDATE", "DELETE")
    ),
    """CREATE TABLE witness_archives (
        id TEXT PRIMARY KEY,
        made_at INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        digest BLOB NOT NULL,
        chained INTEGER NOT NULL
    )""",
    """CREATE TABLE witness_keys (
        id TEXT PRIMARY KEY,
        archive TEXT NOT NULL,
        session TEXT NOT NULL,
        user_id TEXT,
        key BLOB NOT NULL
    )""",
    "CREATE INDEX witness_keys_by_session ON witness_keys (session)",
    "CREATE INDEX witness_keys_by_user ON witness_keys (user_id) WHERE user_id IS NOT NULL",
    """CREATE TABLE witness_archived (
        archive TEXT NOT NULL,
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (archive, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX witness_archived_by_id ON witness_archived (id)",
    "CREATE INDEX witness_archived_by_key ON witness_archived (key)",
    """CREATE TABLE witness_retention (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        max_age_ms INTEGER,
        max_entries INTEGER
    )""",
)

# What the roles of ADR-002 need beyond their first columns.
ROLE_TABLES = (
    "ALTER TABLE sessions ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE patterns (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        quality REAL NOT NULL,
        size INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        learned_at INTEGER NOT NULL,
        last_used INTEGER NOT NULL,
        decayed_at INTEGER NOT NULL
    )""",
    "CREATE INDEX patterns_by_kind ON patterns (kind)",
    """CREATE TRIGGER patterns_go AFTER DELETE ON records WHEN old.collection = 'patterns' BEGIN
        DELETE FROM patterns WHERE number = old.number;
    END""",
    *(
        f"""CREATE TRIGGER edges_of_{table}_go AFTER DELETE ON {table} BEGIN
        DELETE FROM edges WHERE source = old.id;
        DELETE FROM edges WHERE target = old.id;
    END"""
        for table in ("records", "documents")
    ),
)

# For tabs that follow the one that writes. ``changes`` has a row per commit: which records of which collections the indexes are to take
# in anew, as JSON {collection: [numbers], or null for all}; the latest ones are kept. ``operations`` says what was done at whose request,
# so that it is done once however often it is asked for; ids and counts, nothing of what a user wrote.
TAB_TABLES = (
    """CREATE TABLE changes (
        ordinal INTEGER PRIMARY KEY,
        token TEXT NOT NULL,
        records TEXT NOT NULL
    )""",
    """CREATE TABLE operations (
        id TEXT PRIMARY KEY,
        done_at INTEGER NOT NULL,
        result TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX operations_by_time ON operations (done_at)",
)

STORE_TABLES: tuple[str, ...] = DOCUMENT_TABLES + SESSION_TABLES + POLICY_TABLES + WITNESS_TABLES
