"""A SQLite file as bytes that depend on its content alone.

SQLite counts in the header what happened to a file (changes, schemas, which version wrote it), and says whether there is a log beside it.
A copy has none of that history: so a memory that goes from a browser to a file and back is the same to the last bit. The twin of this is in
web/src/bridge/database.ts. Format: https://www.sqlite.org/fileformat2.html#the_database_header
"""

ROLLBACK = b"\x01\x01"  # at 18: written and read without a write-ahead log
FIRST = (1).to_bytes(4, "big")  # at 24, 40, 92: change counter, schema cookie, and for which change counter the size at 28 holds
WRITER = (3_000_000).to_bytes(4, "big")  # at 96: the version that wrote it


def canonical(image: bytes) -> bytes:
    return image[:18] + ROLLBACK + image[20:24] + FIRST + image[28:40] + FIRST + image[44:92] + FIRST + WRITER + image[100:]
