"""How a SQLite file is known to be one of ours: by the application id in its header."""

from ..errors import StorageError
from .driver import Driver

APPLICATION_ID = 0x5052764C  # "PRvL"
SEALED_ID = 0x50527653  # "PRvS", of the SQLite file that the records of a sealed database lie in


def is_sealed_file(content: bytes) -> bool:
    """Whether a file is a sealed database, told by its first 72 bytes."""
    return content[:16] == b"SQLite format 3\0" and content[68:72] == SEALED_ID.to_bytes(4, "big")


def claim(driver: Driver) -> None:
    """Marks a database that has nothing in it as ours; StorageError for one that another application made, which stays as it is."""
    application = number(driver, "PRAGMA application_id")
    if application == APPLICATION_ID:
        return
    if application or number(driver, "SELECT count(*) FROM sqlite_schema"):
        raise StorageError(
            f"{driver.name!r} is a SQLite database of another application (application id {application:#x}, ours is {APPLICATION_ID:#x}); "
            "nothing in it was changed"
        )
    if driver.writable:
        driver.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def number(driver: Driver, sql: str) -> int:
    """The one integer that a statement gives."""
    value = driver.query(sql)[0][0]
    assert isinstance(value, int)
    return value
