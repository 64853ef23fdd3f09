"""Reading a WASM module without compiling it: what it imports, exports and asks for.

WebAssembly core specification 2.0, section 5; `dylink.0`: WebAssembly tool conventions, dynamic linking. Whatever the bytes are,
nothing but PackError is raised. What a module of ours may hold is in module.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import PackError

MAGIC = b"\0asm\1\0\0\0"
CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT = range(13)
SECTIONS = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)  # in their order
KINDS = ("function", "table", "memory", "global")
VALUES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}
GLOBAL_GET, END = 0x23, 0x0B


@dataclass(frozen=True)
class Dynamic:
    """What a relocatable module asks of its loader."""

    memory: int = 0  # bytes of static data
    table: int = 0  # entries of the function table
    memory_align: int = 0  # as a power of two
    table_align: int = 0
    others: tuple[int, ...] = ()  # kinds of further subsections: libraries it needs, and the like


@dataclass(frozen=True)
class Import:
    module: str
    name: str
    kind: str  # of KINDS
    type: str  # "i32", "var i32", "funcref", or empty
    minimum: int = 0  # pages of a memory, entries of a table


@dataclass(frozen=True)
class Segment:
    base: int  # the global whose value is where it begins
    size: int  # bytes, or table entries


@dataclass
class Module:
    dynamic: Dynamic
    sections: set[int] = field(default_factory=set)
    types: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)  # (parameters, results)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)  # of each own function, its type
    exports: dict[str, tuple[str, int]] = field(default_factory=dict)  # (kind, index) by name
    elements: list[Segment] = field(default_factory=list)
    data: list[Segment] = field(default_factory=list)

    def signature(self, export: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """(parameters, results) of an exported function of its own; None for anything else."""
        kind, index = self.exports[export]
        own = index - sum(each.kind == "function" for each in self.imports)
        if kind != "function" or not 0 <= own < len(self.functions) or self.functions[own] >= len(self.types):
            return None
        return self.types[self.functions[own]]


class Reader:
    """Bytes read in order. Raises PackError past their end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, count: int) -> bytes:
        part = self.content[self.at : self.at + count]
        if len(part) != count:
            raise PackError(f"it ends at byte {len(self.content)} of a part that should have {self.at + count}")
        self.at += count
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """An unsigned LEB128 of at most 32 bits."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128 and value < 2**32:
                return value
        raise PackError(f"it has a number of more than 32 bits before byte {self.at} of a part")

    def text(self) -> str:
        content = self.take(self.number())
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise PackError(f"it has a name that is no UTF-8: {content[:40]!r}") from None

    def values(self) -> tuple[str, ...]:
        """A list of value types."""
        return tuple(self.value() for _ in range(self.number()))

    def value(self) -> str:
        byte = self.byte()
        if byte not in VALUES:
            raise PackError(f"it has a value of the unknown type {byte:#x}")
        return VALUES[byte]

    def minimum(self) -> int:
        """The lower of the limits of a memory or a table."""
        flags = self.byte()
        if flags > 1:
            raise PackError(f"it has a memory or table with flags {flags}, which makes it shared or 64 bits wide")
        least = self.number()
        if flags:
            self.number()
        return least

    def base(self) -> int:
        """An expression that is the value of one global."""
        if self.byte() == GLOBAL_GET:
            index = self.number()
            if self.byte() == END:
                return index
        raise PackError("it has a segment that begins elsewhere than at one of its bases")

    def active(self) -> None:
        """The head of a segment that is copied at the start, into the only memory or table."""
        if flags := self.number():
            raise PackError(f"it has a segment of kind {flags}; only active ones (0) are taken")

    def end(self) -> None:
        if self.at != len(self.content):
            raise PackError(f"it has {len(self.content) - self.at} bytes too many at the end of a section")


def sections(module: bytes) -> Iterator[tuple[int, Reader]]:
    """(section id, its content) in order."""
    reader = Reader(module)
    if module[:8] != MAGIC:
        raise PackError(f"it starts with {module[:8]!r}, not with the header of WASM 1")
    reader.at = len(MAGIC)
    while reader.at < len(module):
        kind = reader.byte()
        yield kind, Reader(reader.take(reader.number()))


def dynamic(module: bytes) -> Dynamic:
    """The `dylink.0` section. Raises PackError where it is not the first, as the convention has it."""
    kind, reader = next(sections(module), (-1, Reader(b"")))
    if kind != CUSTOM or reader.text() != "dylink.0":
        raise PackError("it is not relocatable: it does not begin with a dylink.0 section")
    asked: tuple[int, ...] | None = None
    others = []
    while reader.at < len(reader.content):
        kind = reader.byte()
        part = Reader(reader.take(reader.number()))
        if kind == 1 and asked is None:  # WASM_DYLINK_MEM_INFO
            asked = tuple(part.number() for _ in range(4))
            part.end()
        else:
            others.append(kind)
    memory, memory_align, table, table_align = asked or (0, 0, 0, 0)
    return Dynamic(memory, table, memory_align, table_align, tuple(others))


def read(content: bytes) -> Module:
    """The whole module but for globals of its own and the bodies of functions, which the engine validates."""
    module = Module(dynamic(content))
    place = -1
    for kind, reader in sections(content):
        if kind == CUSTOM:
            reader.text()
            continue
        if kind not in SECTIONS or SECTIONS.index(kind) <= place:
            raise PackError(f"it has a section {kind} that is unknown, not in its place or there twice")
        place = SECTIONS.index(kind)
        module.sections.add(kind)
        if kind in _READ:
            _READ[kind](module, reader)
            reader.end()
    if module.functions and CODE not in module.sections:
        raise PackError(f"it declares {len(module.functions)} functions and has no code")
    return module


def _types(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        if (form := reader.byte()) != 0x60:
            raise PackError(f"it has a type of the unknown form {form:#x}")
        module.types.append((reader.values(), reader.values()))


def _imports(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        origin, name, kind = reader.text(), reader.text(), reader.byte()
        if kind >= len(KINDS):
            raise PackError(f"it imports {name[:40]!r}, which is of the unknown kind {kind}")
        kind_, type_, least = KINDS[kind], "", 0
        if kind_ == "function":
            reader.number()
        elif kind_ == "global":
            type_ = reader.value()
            type_ = f"var {type_}" if reader.byte() else type_
        else:
            type_ = reader.value() if kind_ == "table" else ""
            least = reader.minimum()
        module.imports.append(Import(origin, name, kind_, type_, least))


def _functions(module: Module, reader: Reader) -> None:
    module.functions += (reader.number() for _ in range(reader.number()))


def _exports(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        name, kind, index = reader.text(), reader.byte(), reader.number()
        if kind >= len(KINDS) or name in module.exports:
            raise PackError(f"it exports {name[:40]!r} twice, or as something unknown")
        module.exports[name] = (KINDS[kind], index)


def _elements(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        reader.active()
        base = reader.base()
        size = reader.number()
        for _ in range(size):
            reader.number()
        module.elements.append(Segment(base, size))


def _code(module: Module, reader: Reader) -> None:
    bodies = reader.number()
    if bodies != len(module.functions):
        raise PackError(f"it declares {len(module.functions)} functions and has code for {bodies}")
    for _ in range(bodies):
        reader.take(reader.number())


def _data(module: Module, reader: Reader) -> None:
    for _ in range(reader.number()):
        reader.active()
        base = reader.base()
        module.data.append(Segment(base, len(reader.take(reader.number()))))


_READ = {TYPE: _types, IMPORT: _imports, FUNCTION: _functions, EXPORT: _exports, ELEMENT: _elements, CODE: _code, DATA: _data}
