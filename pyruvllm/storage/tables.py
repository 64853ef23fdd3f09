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

# What the roles of ADR-002 need beyond their first columns. ``live_since`` is NULL for a session of which no live state is kept.
ROLE_TABLES = (
    "ALTER TABLE sessions ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE sessions ADD COLUMN live_since INTEGER",
    "CREATE INDEX sessions_live ON sessions (last_active, live_since) WHERE live_since IS NOT NULL AND NOT pinned",
    "CREATE INDEX sessions_by_adapter ON sessions (active_adapter, last_active) WHERE active_adapter IS NOT NULL",
    "ALTER TABLE policies ADD COLUMN version INTEGER NOT NULL DEFAULT 1",
    "CREATE INDEX policies_by_use ON policies (last_accessed)",
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
)

# The graph. What has an edge is a node, and an edge is six numbers: by names, two indexes over UUIDs would take four times the place.
# ``edges`` shows them by their names. ``link_progress`` says up to which record the edges are laid that need a search.
GRAPH_TABLES = (
    "CREATE TABLE nodes (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
    "CREATE TABLE relations (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE links (
        source INTEGER NOT NULL,
        relation INTEGER NOT NULL,
        target INTEGER NOT NULL,
        weight REAL NOT NULL,
        confidence REAL NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (source, relation, target)
    ) WITHOUT ROWID""",
    "CREATE INDEX links_by_target ON links (target, relation)",
    "INSERT INTO nodes (id) SELECT source FROM edges UNION SELECT target FROM edges",
    "INSERT INTO relations (name) SELECT DISTINCT relation FROM edges",
    """INSERT INTO links SELECT s.number, r.number, t.number, e.weight, e.confidence, e.created_at
        FROM edges AS e JOIN nodes AS s ON s.id = e.source JOIN relations AS r ON r.name = e.relation JOIN nodes AS t ON t.id = e.target""",
    "DROP TABLE edges",
    """CREATE VIEW edges AS SELECT s.id AS source, t.id AS target, r.name AS relation, l.weight, l.confidence, l.created_at
        FROM links AS l JOIN nodes AS s ON s.number = l.source JOIN relations AS r ON r.number = l.relation
        JOIN nodes AS t ON t.number = l.target""",
    """CREATE TRIGGER nodes_go AFTER DELETE ON nodes BEGIN
        DELETE FROM links WHERE source = old.number;
        DELETE FROM links WHERE target = old.number;
    END""",
    *(
        f"""CREATE TRIGGER nodes_of_{table}_go AFTER DELETE ON {table} BEGIN
        DELETE FROM nodes WHERE id = old.id;
    END"""
        for table in ("records", "documents")
    ),
    """CREATE TABLE link_progress (
        collection TEXT PRIMARY KEY,
        number INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

# Conversations' keys and values that left memory, and adapters. ``identity`` says of which model and adapter; ``chain`` is the key of a
# full page, NULL for the one that is not.
CACHE_TABLES = (
    """CREATE TABLE kv_sessions (
        session TEXT PRIMARY KEY,
        identity BLOB NOT NULL,
        version INTEGER NOT NULL,
        setting TEXT NOT NULL,
        saved_at INTEGER NOT NULL,
        size INTEGER NOT NULL,
        tokens BLOB NOT NULL,
        state BLOB NOT NULL
    )""",
    "CREATE INDEX kv_sessions_by_time ON kv_sessions (saved_at)",
    """CREATE TABLE kv_pages (
        number INTEGER PRIMARY KEY,
        session TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        tier TEXT NOT NULL CHECK (tier IN ('old', 'tail')),
        chain BLOB,
        content BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX kv_pages_by_session ON kv_pages (session, ordinal)",
    """CREATE TRIGGER kv_pages_go AFTER DELETE ON kv_sessions BEGIN
        DELETE FROM kv_pages WHERE session = old.session;
    END""",
    """CREATE TRIGGER kv_sessions_go AFTER DELETE ON records WHEN old.collection = 'sessions' BEGIN
        DELETE FROM kv_sessions WHERE session = old.id;
    END""",
    """CREATE TABLE adapters (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        base BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        details TEXT NOT NULL,
        content BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX adapters_by_name ON adapters (name, version)",
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
