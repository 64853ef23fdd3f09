"""The kernels of one pack in one memory: what there is for an operation. Modules are compiled at the first use of their family."""

import logging
from collections.abc import Callable, Mapping

from ..errors import KernelError, PackError
from . import pack as packs
from . import reference, signature
from .kernel import CompiledKernel, Kernel, ReferenceKernel
from .manifest import Manifest, ModuleEntry
from .memory import Function, KernelMemory
from .operation import Operation

log = logging.getLogger("pyruvllm")


class Library:
    """manifest and files: of a pack that was verified (pack.py); memory: where its modules go."""

    def __init__(self, manifest: Manifest, files: Mapping[str, bytes], memory: KernelMemory) -> None:
        self.manifest = manifest
        self.memory = memory
        self._files = files
        self._loaded: dict[str, Callable[[str], Function]] = {}
        self._kernels: dict[tuple[str, str], CompiledKernel] = {}

    @property
    def key(self) -> str | None:
        """Id of the key that signed the pack; None where there is none and the twins serve."""
        return signature.read(self._files[signature.FILE]).key if signature.FILE in self._files else None

    @property
    def compiled(self) -> list[str]:
        """Files of the modules that were needed so far."""
        return sorted(self._loaded)

    @property
    def operations(self) -> Mapping[str, Operation]:
        return self.manifest.operations

    def modules(self, family: str) -> list[ModuleEntry]:
        """Of a family, those that this host can run; the one that needs most comes first."""
        fit = [each for each in self.manifest.modules if each.family == family and set(each.features) <= self.memory.features]
        return sorted(fit, key=lambda each: -len(each.features))

    def names(self, operation: str) -> list[str]:
        """Of all kernels for an operation on this host, compiled ones first: "matmul_tiled.relaxed" ... "reference"."""
        declared = self.operations[operation]
        variants = [each.file.split(".")[1] for each in self.modules(declared.family)]
        return [f"{kernel}.{variant}" for variant in variants for kernel in declared.kernels] + ["reference"]

    def kernel(self, operation: str, name: str) -> Kernel:
        """One of ``names``. Raises KernelError where its module does not load."""
        declared = self.operations[operation]
        if name == "reference":
            return ReferenceKernel(declared, reference.twin(declared))
        if (operation, name) not in self._kernels:
            export, variant = name.split(".")
            function = self._module(f"{declared.family}.{variant}.wasm")(export)
            self._kernels[operation, name] = CompiledKernel(declared, name, self.memory, function)
        return self._kernels[operation, name]

    def _module(self, file: str) -> Callable[[str], Function]:
        if file not in self._loaded:
            self._loaded[file] = self.memory.load(self._files[file], file)
        return self._loaded[file]


def twins(memory: KernelMemory | None = None) -> Library:
    """A library without modules. KernelError where this installation declares no operations."""
    try:
        manifest = packs.declared()
    except PackError as error:
        once(str(error))
        raise KernelError(str(error)) from None
    return Library(manifest, {}, memory)


_said: set[str] = set()


def once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        log.warning("%s", message)
