"""Every error this package raises on purpose.

    RuvLLMError
    ├── ConfigError            a setting or an argument that cannot work            (also a ValueError)
    ├── HostError              this host lacks something; says what and how to get it
    ├── StorageError
    │   ├── CorruptError       the database is damaged; nothing was overwritten
    │   │   └── TamperedError  a sealed record was altered, swapped, cut off or put back; nothing was overwritten
    │   ├── LockedError        the memory is sealed or locked, and what opens it was not given
    │   │   └── PassphraseError    the passphrase is another one
    │   ├── NewerError         the database was written by a newer version; nothing was overwritten
    │   ├── ReadOnlyError      another tab or process holds the writer's lock
    │   ├── FencedError        this writer was replaced by another; its later writes are refused
    │   └── QuotaError         the disk or the origin's quota is full; unsaved changes are still in memory
    ├── EmbeddingError
    │   ├── ModelError         a model file that is missing, truncated or not what its hash says
    │   │   ├── GgufError      a GGUF file that is wrong: names the field
    │   │   └── DownloadError  a model that did not come; what came is kept, and the next try goes on from there, unless said otherwise
    │   │       ├── OfflineError      this device has no network
    │   │       ├── UnreachableError  the server does not answer, or answers that it does not give the file
    │   │       ├── RefusedError      the server (CORS) or this page (its content policy) does not let the page read from there
    │   │       ├── RangeError        the server cannot go on in the middle of a file: only anew from its start
    │   │       ├── ChangedError      the file at the server is another one than when the download began
    │   │       ├── TruncatedError    the answer ended before the file did
    │   │       └── HashError         the file is not the one of its sha256; it was thrown away
    │   └── SpaceError         a vector from another embedding space than the collection's
    ├── KernelError            a kernel that cannot be read, loaded or run
    │   ├── PackError          a pack of kernels that is refused: which check failed; what served before still serves
    │   └── OperandError       an argument of an operation that cannot be              (also a ValueError)
    ├── CacheError
    │   ├── PoolFullError      no room under the budget; nothing was taken              (also a MemoryError)
    │   ├── PersistError       what should go could not be saved; it stays in memory
    │   └── MismatchError      saved state of another model, adapter or version; it is computed anew
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


class TamperedError(CorruptError):
    pass


class LockedError(StorageError):
    pass


class PassphraseError(LockedError):
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


class DownloadError(ModelError):
    pass


class OfflineError(DownloadError):
    pass


class UnreachableError(DownloadError):
    pass


class RefusedError(DownloadError):
    pass


class RangeError(DownloadError):
    pass


class ChangedError(DownloadError):
    pass


class TruncatedError(DownloadError):
    pass


class HashError(DownloadError):
    pass


class SpaceError(EmbeddingError):
    pass


class KernelError(RuvLLMError):
    pass


class PackError(KernelError):
    pass


class OperandError(KernelError, ValueError):
    pass


class CacheError(RuvLLMError):
    pass


class PoolFullError(CacheError, MemoryError):
    pass


class PersistError(CacheError):
    pass


class MismatchError(CacheError):
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
