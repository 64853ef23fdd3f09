"""What a command buffer promises, on every host."""

import numpy as np
import pytest

from pyruvllm.errors import KernelError, OperandError
from pyruvllm.kernels.commands import CommandBuffer
from tests.contracts.kernels import library


def compiled(operation: str):
    return library().kernel(operation, library().names(operation)[0])


def floats(values, dtype=np.float32) -> np.ndarray:
    array = library().memory.empty(len(values), dtype)
    array[:] = values
    return array


def there_and_back(buffer: CommandBuffer, kernel=compiled, n: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records float32 -> float16 -> float32."""
    x, half, y = floats(np.arange(n) / 3), floats(np.zeros(n), np.float16), floats(np.zeros(n))
    buffer.record(kernel("narrow"), x=x, y=half, n=n)
    buffer.record(kernel("widen"), x=half, y=y, n=n)
    return x, half, y


def reference(operation: str):
    return library().kernel(operation, "reference")


class CommandContract:
    @pytest.mark.parametrize("replay", [True, False], ids=["replayed", "one by one"])
    @pytest.mark.parametrize("kernel", [compiled, reference])
    def test_commands_run_in_order_and_again(self, replay, kernel):
        buffer = CommandBuffer(compiled("replay") if replay else None)
        x, half, y = there_and_back(buffer, kernel)
        for shift in (0.0, 1.0, 1000.0):
            x += np.float32(shift)
            buffer.replay()
            assert y.tobytes() == x.astype(np.float16).astype(np.float32).tobytes()

    def test_arguments_are_patched_in_place(self):
        buffer = CommandBuffer(compiled("replay"))
        x, half, y = there_and_back(buffer)
        buffer.replay()
        sealed = buffer._sealed
        x[:] = 7
        buffer.patch(0, n=2)
        buffer.replay()
        assert buffer._sealed is sealed
        assert (y[:2] == 7).all() and (y[2:] != 7).all()
        other = floats(np.zeros(9))
        buffer.patch(1, y=other)
        buffer.replay()
        assert (other == half).all()

    def test_room_to_work_in_grows_with_what_is_patched(self):
        buffer = CommandBuffer(compiled("replay"))
        size = 48
        a, b, c = (library().memory.empty((size, size), np.float32) for _ in range(3))
        a[:], b[:] = np.random.default_rng(3).standard_normal((2, size, size))
        product = buffer.record(compiled("matmul"), a=a, b=b, c=c, m=1, n=1, k=1)
        buffer.replay()
        buffer.patch(product, m=size, n=size, k=size)
        buffer.replay()
        np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)
        buffer.patch(product, m=2**31)
        with pytest.raises(OperandError, match="command 0 of 1: matmul"):
            buffer.replay()

    def test_a_patch_that_does_not_fit_changes_nothing(self):
        buffer = CommandBuffer(compiled("replay"))
        x, half, y = there_and_back(buffer)
        for wrong in ({"n": "9"}, {"y": np.zeros(9)}, {"m": 1}):
            with pytest.raises(OperandError):
                buffer.patch(1, **wrong)
        with pytest.raises(OperandError, match="no command 2"):
            buffer.patch(2, n=1)
        buffer.replay()
        assert (y == half).all()

    def test_a_command_that_fails_is_named_and_ends_the_replay(self):
        buffer = CommandBuffer(compiled("replay"))
        x, half, y = there_and_back(buffer)
        last = floats(np.zeros(9), np.float16)
        buffer.record(compiled("narrow"), x=y, y=last, n=9)
        buffer.replay()
        buffer.patch(1, n=10)
        last[:] = 5
        with pytest.raises(OperandError, match="command 1 of 3: widen: x has 18 bytes; 20 are needed"):
            buffer.replay()
        assert (last == 5).all()
        buffer.patch(1, n=9)
        buffer.replay()
        assert (last == half).all()

    def test_arrays_outside_the_kernels_memory_are_served_too(self):
        buffer = CommandBuffer(compiled("replay"))
        x, y = np.ones(3, np.float16), np.zeros(3, np.float32)
        buffer.record(compiled("widen"), x=x, y=y, n=3)
        buffer.replay()
        assert (y == 1).all()

    def test_an_empty_buffer_does_nothing(self):
        buffer = CommandBuffer(compiled("replay"))
        buffer.replay()
        assert len(buffer) == 0

    def test_no_bytes_of_a_buffer_reach_outside_its_operands(self):
        """Any word of the commands or of a struct altered: refused, or done within what was recorded. What lies around stays."""
        rng = np.random.default_rng(20260118)
        around = [floats(np.full(64, 3.0)) for _ in range(2)]
        buffer = CommandBuffer(compiled("replay"))
        x, half, y = there_and_back(buffer)
        around += [floats(np.full(64, 3.0)) for _ in range(2)]
        buffer.replay()
        tables = [buffer._sealed.values["commands"], *(call.struct.view(np.uint32) for call in buffer._calls)]
        refused = 0
        for table in tables:
            words = table.reshape(-1)
            for at in range(words.size):
                for value in (0, 1, 4, 2**31, 2**32 - 4, int(words[at]) + 4, int(words[at]) - 4, *rng.integers(0, 2**32, 20).tolist()):
                    kept, words[at] = words[at], np.uint32(value % 2**32)
                    try:
                        buffer.replay()
                    except KernelError:
                        refused += 1
                    words[at] = kept
        assert refused > 100
        assert all((each == 3).all() for each in around)
        buffer.replay()
        assert (y == half).all()
