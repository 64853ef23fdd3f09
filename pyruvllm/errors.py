"""Every error this package raises on purpose.

    RuvLLMError
    ├── ConfigError            a setting or an argument that cannot work            (also a ValueError)
    ├── HostError              this host lacks something; says what and how to get it
    ├── StorageError
    │   ├── CorruptError       the database is damaged; nothing was overwritten
    │   ├── NewerError         the database was written by a newer version; nothing was overwritten
    │   ├── ReadOnlyError      another tab or process holds the writer's lock
    │   ├── FencedError        this writer was replaced by another; its later writes are refused
    │   └── QuotaError         the disk or the origin's quota is full; unsaved changes are still in memory
    ├── EmbeddingError
    │   ├── ModelError         a model file that is missing, truncated or not what its hash says
    │   │   └── GgufError      a GGUF file that is wrong: names the field
    │   └── SpaceError         a vector from another embedding space than the collection's
    ├── KernelError            a kernel that cannot be read, loaded or run
    │   ├── PackError          a pack of kernels that is refused: which check failed; what served before still serves
    │   └── OperandError       an argument of an operation that cannot be              (also a ValueError)
    └── MemoryStoreError
        ├── NotFoundError      no such record                                      (also a KeyError)
        ├── DuplicateError     an id that is taken                                 (also a ValueError)
        ├── FilterError        a filter that does not parse or has the wrong type  (also a ValueError)
        ├── HeldError          what is to go is on legal hold; ``entries`` names it
        └── ArchiveError       a file that is no sound archive of the witness log

A message names the value that was wrong, what would be right, and what was kept.
"""


class RuvLLMError(Exception):
    """The root: ``except RuvLLMError`` catches all that is listed above."""

    def __str__(self) -> str:  # KeyError would put the message in quotes
        return str(self.args[0]) if self.args else self.__class__.__name__


class ConfigError(RuvLLMError, ValueError):
    pass


class HostError(RuvLLMError):
    pass


class StorageError(RuvLLMError):
    pass


class CorruptError(StorageError):
    pass


class NewerError(StorageError):
    pass


class ReadOnlyError(StorageError):
    pass


class FencedError(StorageError):
    pass


class QuotaError(StorageError):
    pass


class EmbeddingError(RuvLLMError):
    pass


class ModelError(EmbeddingError):
    pass


class GgufError(ModelError):
    pass


class SpaceError(EmbeddingError):
    pass


class KernelError(RuvLLMError):
    pass


class PackError(KernelError):
    pass


class OperandError(KernelError, ValueError):
    pass


class MemoryStoreError(RuvLLMError):
    pass


class NotFoundError(MemoryStoreError, KeyError):
    pass


class DuplicateError(MemoryStoreError, ValueError):
    pass


class FilterError(MemoryStoreError, ValueError):
    pass


class HeldError(MemoryStoreError):
    def __init__(self, message: str, entries: tuple[str, ...] = ()):
        super().__init__(message)
        self.entries = entries  # ids


class ArchiveError(MemoryStoreError):
    pass
