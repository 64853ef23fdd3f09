"""This user's device key: a file of 32 random bytes that nobody else may read, apart from the memories it opens."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StorageError

SIZE = 32  # bytes


@dataclass(frozen=True)
class DeviceKey:
    id: str
    key: bytes = field(repr=False)


def existing_device_key() -> DeviceKey | None:
    """The key of this device, if it has one. StorageError for a file that is none."""
    path = key_path()
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"the device key {path} cannot be read: {error}") from error
    if len(key) != SIZE:
        raise StorageError(f"{path} is no device key: it has {len(key)} bytes instead of {SIZE}; nothing was changed")
    return DeviceKey(hashlib.sha256(key).hexdigest()[:16], key)


def device_key() -> DeviceKey:
    """The key of this device, made when there is none."""
    path = key_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(SIZE))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)  # wholly there or not at all, and never over another
        except FileExistsError:
            pass
        finally:
            made.unlink()
    except OSError as error:
        raise StorageError(f"the device key {path} cannot be made: {error}") from error
    key = existing_device_key()
    assert key is not None
    return key


def key_path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "pyruvllm" / "device.key"
