"""Reading a WASM module without compiling it: what it imports, exports and asks for.

WebAssembly core specification 2.0, section 5; `dylink.0`: WebAssembly tool conventions, dynamic linking.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import PackError

MAGIC = b"\0asm\1\0\0\0"
CUSTOM, IMPORT, MEMORY, EXPORT, START = 0, 2, 5, 7, 8


@dataclass(frozen=True)
class Dynamic:
    """What a relocatable module asks of its loader."""

    memory: int  # bytes of static data
    table: int  # entries of the function table


class Reader:
    """Bytes read in order. Raises PackError past their end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, count: int) -> bytes:
        part = self.content[self.at : self.at + count]
        if len(part) != count:
            raise PackError(f"the module ends at byte {len(self.content)}, where {count} bytes from {self.at} on belong")
        self.at += count
        return part

    def number(self) -> int:
        """An unsigned LEB128 of at most 32 bits."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise PackError(f"the module has a number of more than 32 bits at byte {self.at}")

    def text(self) -> str:
        return self.take(self.number()).decode("utf-8", "replace")


def sections(module: bytes) -> Iterator[tuple[int, Reader]]:
    """(section id, its content) in order."""
    reader = Reader(module)
    if reader.take(8) != MAGIC:
        raise PackError(f"the module starts with {module[:8]!r}, not with the header of WASM 1")
    while reader.at < len(module):
        kind = reader.take(1)[0]
        yield kind, Reader(reader.take(reader.number()))


def dynamic(module: bytes) -> Dynamic:
    """The `dylink.0` section. Raises PackError where it is not the first, as the convention has it."""
    kind, reader = next(sections(module), (-1, Reader(b"")))
    if kind != CUSTOM or reader.text() != "dylink.0":
        raise PackError("the module is not relocatable: it does not begin with a dylink.0 section")
    while reader.at < len(reader.content):
        kind = reader.take(1)[0]
        part = Reader(reader.take(reader.number()))
        if kind == 1:  # WASM_DYLINK_MEM_INFO
            memory, _, table, _ = (part.number() for _ in range(4))
            return Dynamic(memory, table)
    return Dynamic(0, 0)
