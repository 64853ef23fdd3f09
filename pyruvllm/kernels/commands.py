"""Recorded calls that are replayed in one crossing, with their arguments changed in place between two replays.

A crossing into WASM costs microseconds, so a loop that calls many kernels records them once. Nothing that the buffer holds can make a
replay reach outside the operands that were recorded: the replaying kernel (wasm_kernels/replay.c) checks every command, every struct and
every operand against tables that are written when recording is over, and every kernel checks its sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import KernelError, OperandError
from .kernel import Call, CompiledCall, CompiledKernel, Kernel

OPERANDS = 30  # that a kernel may have, as replay.c has it


class CommandBuffer:
    """A list of calls.

        buffer = CommandBuffer(replay)                  # the kernel of the operation "replay"; None replays one by one
        norm = buffer.record(rms_norm, x=x, ...)
        buffer.replay()
        buffer.patch(norm, tokens=2)

    Commands run in the order they were recorded. Kernels of numpy may be among them: then, and without `replay`, every command is a
    crossing of its own.
    """

    def __init__(self, replay: Kernel | None = None) -> None:
        self._replay = replay if isinstance(replay, CompiledKernel) else None
        self._calls: list[Call] = []
        self._sealed: CompiledCall | None = None
        self._patched: set[int] = set()  # since the last replay
        self._failed = np.zeros(1, np.uint32)
        self._commands = self._failed  # of the sealed buffer, (n, 2)
        self._part = (0, 0)  # that the sealed call runs

    def __len__(self) -> int:
        return len(self._calls)

    def record(self, kernel: Kernel, /, **values: Any) -> int:
        """Appends a call; its number. Raises OperandError."""
        self._calls.append(kernel.bind(**values))
        self._patched.add(len(self._calls) - 1)
        self._sealed = None
        return len(self._calls) - 1

    def patch(self, number: int, **changes: Any) -> None:
        """Gives a recorded call other arguments. Raises OperandError, and then nothing changed."""
        if not 0 <= number < len(self._calls):
            raise OperandError(f"there is no command {number}; {len(self._calls)} were recorded")
        call = self._calls[number]
        before = call.placed
        call.set(**changes)
        self._patched.add(number)
        self._unseal(call.placed != before)

    def replay(self, first: int = 0, end: int | None = None) -> None:
        """Runs all commands, or those from first to before end. Raises OperandError or KernelError naming the command that failed; those
        before it took place.
        """
        end = len(self) if end is None else end
        if self._patched:
            self._prepare()
        if self._sealed is None and not self._seal():
            for number in range(first, end):
                try:
                    self._calls[number]()
                except KernelError as error:
                    raise type(error)(f"command {number} of {len(self)}: {error}") from None
            return
        if self._part != (first, end):
            self._sealed.set(commands=self._commands[first:end], count=end - first)
            self._part = first, end
        status = self._sealed.kernel.function(self._sealed.address)
        if status:
            number = int(self._failed[0])
            number = number if number >= len(self) else first + number
            if number >= len(self._calls):
                raise self._sealed.kernel.operation.error(status, self._sealed.values)
            error = self._calls[number].kernel.operation.error(status, self._calls[number].values)
            raise type(error)(f"command {number} of {len(self)}: {error}")

    def _prepare(self) -> None:
        """Makes the room to work in of what was patched. What does not fit is refused when its turn comes."""
        for number in self._patched:
            call = self._calls[number]
            before = call.placed
            with suppress(OperandError):
                call.prepare()
            self._unseal(call.placed != before)
        self._patched.clear()

    def _unseal(self, moved: bool) -> None:
        """An operand lies elsewhere: the tables are to be made anew."""
        if moved:
            self._sealed = None

    def _seal(self) -> bool:
        """Makes the tables that the replaying kernel reads; False where something recorded can only run by itself."""
        if self._replay is None or not self._calls:
            return False
        memory = self._replay.memory
        calls = [call for call in self._calls if isinstance(call, CompiledCall) and not call.staged and call.kernel.memory is memory]
        if len(calls) != len(self._calls):
            return False
        kinds = {call.kernel.function.index: row for row, call in reversed(list(enumerate(calls)))}
        rows = {index: row for row, index in enumerate(kinds)}
        table = np.zeros((len(kinds), 3 + OPERANDS), np.uint32)
        for index, first in kinds.items():
            operation = calls[first].kernel.operation
            offsets = [operand.offset for operand in operation.operands]
            if len(offsets) > OPERANDS:
                return False
            table[rows[index], : 3 + len(offsets)] = [index, operation.size, len(offsets), *offsets]
        commands = [[rows[call.kernel.function.index], call.address] for call in calls]
        structs = [[call.address, call.struct.nbytes] for call in calls]
        operands = [array for call in calls for array in call.values.values() if isinstance(array, np.ndarray)]
        regions = united([[memory.address(array), array.nbytes] for array in operands if array.nbytes])
        self._failed, self._commands, self._part = memory.empty(1, np.uint32), placed(memory, commands), (0, len(calls))
        values = {
            "commands": self._commands,
            "kernels": placed(memory, table),
            "structs": placed(memory, united(structs)),
            "regions": placed(memory, regions),
            "failed": self._failed,
        }
        counts = {"count": len(calls), "kinds": len(kinds), "areas": len(values["structs"]), "fields": len(values["regions"])}
        self._sealed = self._replay.bind(**values, **counts)
        return True


def placed(memory: Any, rows: Any) -> np.ndarray:
    given = np.asarray(rows, np.uint32)
    array = memory.empty(given.shape, np.uint32)
    array[...] = given
    return array


def united(spans: Sequence[Sequence[int]]) -> np.ndarray:
    """(start, bytes) of spans, ascending, those that touch or overlap made one; (n, 2)."""
    joined: list[list[int]] = []
    for start, size in sorted(map(tuple, spans)):
        if joined and start <= sum(joined[-1]):
            joined[-1][1] = max(joined[-1][1], start + size - joined[-1][0])
        else:
            joined.append([start, size])
    return np.array(joined, np.uint32).reshape(-1, 2)
