"""A file system for the standard library's SQLite whose files are ``PagedFile`` objects, so that each write of a page is seen.

It is registered through ctypes in the very SQLite library that Python's ``_sqlite3`` uses (https://www.sqlite.org/vfs.html). Some builds
of Python hide that library's functions; ``connect`` then raises HostError, and ``sealedfile`` finds the changed pages by comparing.
"""

import ctypes as c
import itertools
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

from ..errors import HostError
from .pagedfile import PagedFile

NAME = b"pyruvllm-paged"
OK, IO_ERROR, NOT_FOUND, CANNOT_OPEN, SHORT_READ = 0, 10, 12, 14, 10 | 2 << 8
MAIN_DB = 0x100
LONGEST_NAME = 64

pointer, integer, offset = c.c_void_p, c.c_int, c.c_int64
FILE_METHODS: list[tuple[str, Any]] = [
    ("close", c.CFUNCTYPE(integer, pointer)),
    ("read", c.CFUNCTYPE(integer, pointer, pointer, integer, offset)),
    ("write", c.CFUNCTYPE(integer, pointer, pointer, integer, offset)),
    ("truncate", c.CFUNCTYPE(integer, pointer, offset)),
    ("sync", c.CFUNCTYPE(integer, pointer, integer)),
    ("file_size", c.CFUNCTYPE(integer, pointer, c.POINTER(offset))),
    ("lock", c.CFUNCTYPE(integer, pointer, integer)),
    ("unlock", c.CFUNCTYPE(integer, pointer, integer)),
    ("check_reserved_lock", c.CFUNCTYPE(integer, pointer, c.POINTER(integer))),
    ("file_control", c.CFUNCTYPE(integer, pointer, integer, pointer)),
    ("sector_size", c.CFUNCTYPE(integer, pointer)),
    ("device_characteristics", c.CFUNCTYPE(integer, pointer)),
]
SYSTEM_METHODS: list[tuple[str, Any]] = [
    ("open", c.CFUNCTYPE(integer, pointer, c.c_char_p, pointer, integer, c.POINTER(integer))),
    ("delete", c.CFUNCTYPE(integer, pointer, c.c_char_p, integer)),
    ("access", c.CFUNCTYPE(integer, pointer, c.c_char_p, integer, c.POINTER(integer))),
    ("full_pathname", c.CFUNCTYPE(integer, pointer, c.c_char_p, integer, pointer)),
    *((name, pointer) for name in ("dl_open", "dl_error", "dl_sym", "dl_close", "randomness", "sleep", "current_time", "last_error")),
]


class FileMethods(c.Structure):
    _fields_ = [("version", integer), *FILE_METHODS]


class File(c.Structure):  # SQLite allocates it
    _fields_ = [("methods", c.POINTER(FileMethods)), ("number", c.c_int64)]


class System(c.Structure):
    _fields_ = [
        ("version", integer),
        ("file_bytes", integer),
        ("longest_path", integer),
        ("next", pointer),
        ("name", c.c_char_p),
        ("data", pointer),
        *SYSTEM_METHODS,
    ]


files: dict[int, PagedFile] = {}  # by number, which is also the name SQLite opens it by
numbers = itertools.count(1)
kept_alive: list[Any] = []  # what SQLite points to for as long as the process runs


def connect(file: PagedFile) -> tuple[sqlite3.Connection, Callable[[], None]]:
    """A connection whose database is that file, and what is to be called after it was closed. HostError where there is no way."""
    if not registered():
        raise HostError("this Python's SQLite takes no file system from outside")
    number = next(numbers)
    files[number] = file
    try:
        connection = sqlite3.connect(f"file:{number}?vfs={NAME.decode()}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        del files[number]
        raise HostError(f"this Python's SQLite did not take a file system from outside: {error}") from error
    return connection, lambda: files.pop(number, None) and None


@cache
def registered() -> bool:
    """Registers the file system, once; False where SQLite's functions cannot be reached."""
    try:
        import _sqlite3

        library = c.CDLL(_sqlite3.__file__)  # its dependencies are looked through too
        library.sqlite3_vfs_find.restype = c.POINTER(System)
        default = library.sqlite3_vfs_find(None).contents
        methods = FileMethods(1, *(kind(safe(globals()[f"file_{name}"])) for name, kind in FILE_METHODS))
        kept_alive.append(methods)
        borrowed = {name: getattr(default, name) for name in ("randomness", "sleep", "current_time", "last_error")}
        own = {name: kind(safe(globals()[f"system_{name}"])) for name, kind in SYSTEM_METHODS[:4]}
        system = System(version=1, file_bytes=c.sizeof(File), longest_path=LONGEST_NAME, name=NAME, **own, **borrowed)
        kept_alive.append(system)
        return library.sqlite3_vfs_register(c.byref(system), 0) == OK
    except (ImportError, AttributeError, OSError, ValueError):
        return False


def safe(work: Callable[..., int]) -> Callable[..., int]:
    """An exception cannot pass through SQLite: it becomes an I/O error there."""

    def call(*arguments: Any) -> int:
        try:
            return work(*arguments)
        except BaseException:  # noqa: BLE001
            return IO_ERROR

    return call


def of(file: int) -> PagedFile:
    return files[File.from_address(file).number]


def system_open(_: int, name: bytes | None, file: int, flags: int, flags_out: Any) -> int:
    opened = File.from_address(file)
    opened.methods = c.POINTER(FileMethods)()
    if not flags & MAIN_DB or name is None or int(name) not in files:
        return CANNOT_OPEN
    opened.number = int(name)
    opened.methods = c.pointer(kept_alive[0])
    if flags_out:
        flags_out[0] = flags
    return OK


def system_delete(_: int, name: bytes, sync: int) -> int:
    return OK


def system_access(_: int, name: bytes, what: int, answer: Any) -> int:
    answer[0] = int(name.isdigit() and int(name) in files)
    return OK


def system_full_pathname(_: int, name: bytes, room: int, out: int) -> int:
    if len(name) >= room:
        return CANNOT_OPEN
    c.memmove(out, name + b"\0", len(name) + 1)
    return OK


def file_close(file: int) -> int:
    return OK


def file_read(file: int, into: int, count: int, start: int) -> int:
    content = of(file).read(start, count)
    c.memmove(into, content, len(content))
    if len(content) == count:
        return OK
    c.memset(into + len(content), 0, count - len(content))
    return SHORT_READ


def file_write(file: int, source: int, count: int, start: int) -> int:
    of(file).write(start, c.string_at(source, count))
    return OK


def file_truncate(file: int, size: int) -> int:
    of(file).truncate(size)
    return OK


def file_sync(file: int, flags: int) -> int:
    return OK


def file_file_size(file: int, size: Any) -> int:
    size[0] = of(file).size
    return OK


def file_lock(file: int, level: int) -> int:
    return OK


def file_unlock(file: int, level: int) -> int:
    return OK


def file_check_reserved_lock(file: int, answer: Any) -> int:
    answer[0] = 0
    return OK


def file_file_control(file: int, operation: int, argument: int | None) -> int:
    return NOT_FOUND


def file_sector_size(file: int) -> int:
    return 4096


def file_device_characteristics(file: int) -> int:
    return 0
