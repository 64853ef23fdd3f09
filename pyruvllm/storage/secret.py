"""What opens a sealed memory."""

from dataclasses import dataclass, field

from ..errors import ConfigError


@dataclass(frozen=True)
class Secret:
    """What someone comes with, or what shall open a memory. Both left out: this device's key is tried, and nothing new is sealed."""

    passphrase: str | None = field(default=None, repr=False)  # its Unicode form (NFC) does not matter
    device_key: bool | None = None

    def __post_init__(self) -> None:
        if self.passphrase is None:
            return
        if not isinstance(self.passphrase, str) or not self.passphrase.strip():
            raise ConfigError("a passphrase is a text of at least one character that is no space")
        try:
            self.passphrase.encode()
        except UnicodeEncodeError:
            raise ConfigError("a passphrase is a Unicode text; this one has half of a surrogate pair") from None

    @property
    def given(self) -> bool:
        return self.passphrase is not None or bool(self.device_key)


@dataclass(frozen=True)
class Protection:
    """What opens a sealed memory."""

    passphrase: bool
    device_key: bool  # the key of one device
    this_device: bool  # and that device is this one
