"""A pytest plugin for pytest inside Pyodide: coroutine tests and fixtures run on the event loop that is already running.

Tests are written as for pytest-asyncio's auto mode, which cannot work here: the loop belongs to JavaScript. ``run_sync``
suspends the WebAssembly stack (JSPI) until the coroutine is done, so pytest itself stays the synchronous program that it is. The
coroutine runs as a task of its own, where nothing can block: the package is tested as a browser without JSPI would run it.
"""

import asyncio
import functools
import inspect
import os
import types

import pytest
from hypothesis import is_hypothesis_test, settings
from pyodide.ffi import can_run_sync, run_sync

LANE = os.environ["PYRUVLLM_LANE"]  # "node" or "chromium"
EXAMPLES = 8  # of a property here: natively, where an example takes a fifth of the time, as many are tried as the test asks for
LIMIT = 300  # seconds for a coroutine: where it waited then is in the traceback
OVER = object()


def pytest_addoption(parser):
    for name in ("asyncio_mode", "asyncio_default_fixture_loop_scope"):
        parser.addini(name, "read by pytest-asyncio, which runs natively only")


def pytest_configure(config):
    if not can_run_sync():
        raise pytest.UsageError("this JavaScript engine has no WebAssembly stack switching (JSPI): async tests cannot run in it")


def pytest_report_header():
    return f"lane: {LANE}"


def pytest_collection_modifyitems(config, items):
    for item in items:
        if is_hypothesis_test(item.obj):
            few(item.function, EXAMPLES)
    if LANE == "chromium":
        return
    left_out = [item for item in items if item.get_closest_marker("chromium")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def few(test, examples):
    """Tries no more examples of a property than these."""
    asked = test._hypothesis_internal_use_settings
    test._hypothesis_internal_use_settings = settings(asked, max_examples=min(asked.max_examples, examples))


def ended(coroutine):
    """What it returns. TimeoutError."""
    return run_sync(asyncio.wait_for(coroutine, LIMIT))


def waiting(function):
    """A plain function that runs the coroutine function to its end."""

    @functools.wraps(function)
    def run(*arguments, **named):
        return ended(function(*arguments, **named))

    return run


def waiting_generator(function):
    """A plain generator function over an async one, for fixtures that clean up."""

    @functools.wraps(function)
    def run(*arguments, **named):
        steps = function(*arguments, **named)

        async def step():
            return await anext(steps, OVER)

        yield ended(step())
        if ended(step()) is not OVER:
            raise RuntimeError(f"fixture {function.__name__} yielded twice")

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    function = pyfuncitem.obj
    given = getattr(function, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = waiting(given.inner_test)
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    ended(function(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    function = fixturedef.func
    if inspect.iscoroutinefunction(function):
        wrap = waiting
    elif inspect.isasyncgenfunction(function):
        wrap = waiting_generator
    else:
        return (yield)
    if isinstance(function, types.MethodType):  # stay a method, so that pytest binds it to the test's own instance
        fixturedef.func = types.MethodType(wrap(function.__func__), function.__self__)
    else:
        fixturedef.func = wrap(function)
    try:
        return (yield)
    finally:
        fixturedef.func = function
