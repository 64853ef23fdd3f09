"""Migrations: the schema's history as a list of steps, each applied once, in its own transaction, and recorded."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Clock
from ..errors import NewerError, ReadOnlyError, StorageError
from .driver import Driver
from .identity import claim, number

RECORD = "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL)"


@dataclass(frozen=True)
class Migration:
    version: int  # 1, 2, 3 ... without gaps
    name: str  # what it brings, in words
    statements: tuple[str, ...]


def migrate(driver: Driver, migrations: Sequence[Migration] | None = None, clock: Clock | None = None) -> int:
    """Brings the database to the newest schema (``schema.MIGRATIONS``) and returns its version. A read-only driver is checked only.

    NewerError if a later version of this package wrote it, ReadOnlyError if it is older and cannot be written here. In both
    cases, and if a step fails, it stays as it was before that step.
    """
    steps = schema() if migrations is None else migrations
    version = check(driver, steps)
    for step in steps[version:]:
        if not driver.writable:
            raise ReadOnlyError(f"{driver.name!r} has schema version {version}, this package needs {len(steps)}: open it for writing once")
        with driver.transaction():
            driver.execute(RECORD)
            for statement in step.statements:
                driver.execute(statement)
            driver.execute("INSERT INTO migrations VALUES (?, ?, ?)", (step.version, step.name, (clock or Clock()).now_ms()))
            driver.execute(f"PRAGMA user_version = {step.version}")
    return len(steps)


def check(driver: Driver, migrations: Sequence[Migration] | None = None) -> int:
    """The schema version of a database that this package can use, as it is or after ``migrate``; changes nothing in it.

    NewerError if it is too new, StorageError if it is another application's or its record does not agree with its version.
    """
    steps = schema() if migrations is None else migrations
    claim(driver)
    version = number(driver, "PRAGMA user_version")
    if version > len(steps):
        raise NewerError(
            f"{driver.name!r} has schema version {version}, this version of pyruvllm knows up to {len(steps)}: "
            "update pyruvllm to use it; nothing in it was changed"
        )
    recorded = driver.query("SELECT max(version) FROM migrations")[0][0] if version else 0
    if recorded != version:
        raise StorageError(f"{driver.name!r} says schema version {version}, but its record of migrations ends with {recorded!r}")
    return version


def schema() -> Sequence[Migration]:
    from .schema import MIGRATIONS  # schema.py takes Migration from here

    return MIGRATIONS
