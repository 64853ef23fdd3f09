"""Runs the service's methods as tasks, so that a call can be cancelled and a failure is plain data.

``worker.ts`` is the only caller; ``handle`` is the service's and is in the same namespace.
"""

import asyncio


def launch(name, params, emit):
    """A task for one call. It resolves to {"result": ...} or {"error": {"kind", "message"}} and never raises."""
    return asyncio.ensure_future(outcome(name, params, emit))


async def outcome(name, params, emit):
    params = {key: bytes(value) if isinstance(value, memoryview) else value for key, value in params.items()}  # a buffer arrives as a view
    try:
        return {"result": await handle(name, params, emit)}  # noqa: F821
    except asyncio.CancelledError:
        return {"error": {"kind": "Cancelled", "message": f"{name} was cancelled"}}
    except Exception as error:
        return {"error": {"kind": type(error).__name__, "message": str(error)}}
