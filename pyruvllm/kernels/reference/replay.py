import numpy as np

from ...errors import KernelError


def replay(commands: np.ndarray, failed: np.ndarray, count: int, **tables) -> None:
    """Without compiled kernels there is nothing to call by address: ``CommandBuffer`` runs its commands one by one."""
    if count:
        raise KernelError(f"{count} commands cannot be replayed without compiled kernels")
    failed[0] = 2**32 - 1
