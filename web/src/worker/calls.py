"""Runs the service's methods as tasks, so that a call can be cancelled and a failure is plain data.

``worker.ts`` is the only caller; ``handle`` is the service's and is in the same namespace.
"""

import asyncio
import traceback

from pyruvllm.errors import RuvLLMError

running = {}  # tasks by the number of their call; they stay on this side, as awaiting a task's proxy destroys it


def launch(number, name, params, emit):
    """A task for one call. It resolves to {"result": ...} or {"error": {"kind", "message"}} and never raises."""
    task = running[number] = asyncio.ensure_future(outcome(name, params, emit))
    task.add_done_callback(lambda _: running.pop(number))
    return task


def cancel(number):
    """Stops that call at its next pause; one that has ended already is left alone."""
    if number in running:
        running[number].cancel()


async def outcome(name, params, emit):
    params = {key: bytes(value) if isinstance(value, memoryview) else value for key, value in params.items()}  # a buffer arrives as a view
    try:
        return {"result": await handle(name, params, emit)}  # noqa: F821
    except asyncio.CancelledError:
        return {"error": {"kind": "Cancelled", "message": f"{name} was cancelled"}}
    except RuvLLMError as error:
        return {"error": {"kind": type(error).__name__, "message": str(error)}}
    except Exception as error:  # a mistake of ours: whoever copies the details tells us where it is
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in reversed(frames))
        return {"error": {"kind": type(error).__name__, "message": f"{error} ({where})"}}
