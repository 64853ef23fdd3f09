import pytest

from pyruvllm import host
from pyruvllm.cache import Pool
from pyruvllm.cache.budget import LEAST, Follower, allowed
from pyruvllm.errors import ConfigError
from pyruvllm.host.files import Device

GB, MB = 1 << 30, 1 << 20


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((512 * MB, 8 * GB, 300 * MB), 512 * MB),
        ((512 * MB, 1 * GB, 100 * MB), 256 * MB),  # a quarter of a small device
        ((512 * MB, 1 * GB, 400 * MB), 112 * MB),  # whose other half is what else there is
        ((512 * MB, None, None), 512 * MB),
        ((512 * MB, 8 * GB, 300 * MB, "serious"), 256 * MB),
        ((512 * MB, 8 * GB, 300 * MB, "critical"), 128 * MB),
        ((512 * MB, GB // 4, 300 * MB, "critical"), LEAST),
        ((8 * MB, GB // 4, 300 * MB, "critical"), 8 * MB),
        ((2 * GB, None, 3 * GB, "nominal", 4 * GB), int(3.6 * GB) - 3 * GB),  # what 32 bits can address
    ],
)
def test_the_budget_follows_device_heap_and_pressure(given, expected):
    assert allowed(*given) == expected


class Machine:
    def __init__(self, memory, held):
        self.memory, self.held = memory, held

    def device(self):
        return Device(self.memory, self.held, None)


def test_a_pool_gives_way_and_comes_back():
    pool, device = Pool(256 * MB), Machine(2 * GB, 100 * MB)
    follower = Follower(pool, device)
    assert follower.look() == 256 * MB
    gone = []
    holding = pool.hold("kv", "a", release=lambda: (gone.append(pool.used), pool.give(0)))
    pool.take(holding, 128 * MB)
    device.held = 1088 * MB  # grew, but 256 of it is the pool's region
    assert follower.look() == 192 * MB and not gone
    assert follower.look("serious") == 96 * MB and gone
    stays = pool.hold("adapter", "b")
    pool.charge(stays, 90 * MB)
    device.held += 90 * MB  # the same
    assert follower.look("critical") == 96 * MB  # less cannot be had
    assert follower.look() == 192 * MB
    assert Follower(pool, device, least=150 * MB).look("critical") == 150 * MB


def test_a_pressure_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="'grave'; one of nominal, fair, serious, critical"):
        allowed(MB, None, None, "grave")


def test_this_host_tells_what_it_has():
    assert host.current().device().memory > 16 * MB
