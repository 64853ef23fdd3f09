import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyruvllm.cache.pool import HIGH, LOW, Pool
from pyruvllm.cache.region import rounded
from pyruvllm.config import Clock
from pyruvllm.errors import ConfigError, PersistError, PoolFullError


class Ticking(Clock):
    def __init__(self):
        self.ms = 0.0

    def elapsed_ms(self):
        return self.ms

    def now_ms(self):
        return 1_700_000_000_000 + int(self.ms)


class Owner:
    """Something with blocks that may go: what it had is in ``saved`` first."""

    def __init__(self, pool, name, priority=0.5, fails=False, kind="kv"):
        self.pool, self.blocks, self.saved, self.fails = pool, [], [], fails
        self.holding = pool.hold(kind, name, priority=priority, persist=self.persist, release=self.release)

    def take(self, size):
        start = self.pool.take(self.holding, size)
        self.pool.view(start, size)[:] = len(self.holding.name) % 256
        self.blocks.append(start)
        return start

    def persist(self):
        if self.fails:
            raise OSError("the disk is full")
        self.saved = list(self.blocks)

    def release(self):
        for start in self.blocks:
            self.pool.give(start)
        self.blocks = []


@pytest.fixture
def pool():
    return Pool(1_000_000, clock=Ticking())


def test_blocks_are_aligned_and_apart(pool):
    owner = Owner(pool, "a")
    starts = [owner.take(1000) for _ in range(50)]
    assert all(start % 256 == 0 for start in starts) and len(set(starts)) == 50
    assert pool.used == owner.holding.taken == 50 * 1024 and pool.wasted == 50 * 24
    assert pool.report()["kinds"]["kv"] == 50 * 1024


def test_above_the_high_watermark_it_evicts_to_the_low_one(pool):
    owners = [Owner(pool, str(number)) for number in range(10)]
    for number, owner in enumerate(owners):
        pool.clock.ms = number * 1000
        pool.touch(owner.holding)
        owner.take(88_000)
    assert not owners[0].saved and pool.used < HIGH * pool.budget
    pool.clock.ms = 20_000
    late = Owner(pool, "late")
    late.take(50_000)
    assert pool.used <= LOW * pool.budget
    gone = [bool(owner.saved) for owner in owners]
    assert gone == [True] * sum(gone) + [False] * (10 - sum(gone)) and sum(gone) >= 1  # the ones that were unused for longest
    assert [eviction.step for eviction in pool.evictions] == ["evicted"] * sum(gone)


def test_where_it_is_trimmed_between_allocations_these_need_not_evict(pool):
    pool.trimmed = True
    owners = [Owner(pool, str(number)) for number in range(10)]
    for number, owner in enumerate(owners):
        pool.clock.ms = number * 1000
        pool.touch(owner.holding)
        owner.take(95_000)
    assert not any(owner.saved for owner in owners) and pool.used > HIGH * pool.budget
    pool.clock.elapsed_ms = lambda: setattr(pool.clock, "ms", pool.clock.ms + 6) or pool.clock.ms  # everything takes 6 ms
    assert pool.trim(10) and sum(bool(owner.saved) for owner in owners) == 1
    while pool.trim(10):
        pass
    assert owners[0].saved and pool.used <= LOW * pool.budget and not pool.trim(10)


def test_of_the_same_age_what_is_large_and_matters_little_goes_first(pool):
    small, large, dear = Owner(pool, "small"), Owner(pool, "large"), Owner(pool, "dear", priority=1.0)
    for owner, size in ((small, 100_000), (large, 400_000), (dear, 400_000)):
        owner.take(size)
    pool.clock.ms = 5
    Owner(pool, "new").take(90_000)
    assert large.saved and not small.saved and not dear.saved


def test_what_cannot_be_saved_stays(pool):
    bad = Owner(pool, "bad", fails=True)
    bad.take(500_000)
    pool.clock.ms = 5
    other = Owner(pool, "other")
    with pytest.raises(PersistError, match="'bad' could not be persisted and stays.*the disk is full"):
        other.take(450_000)
    assert bad.holding.taken == rounded(500_000) and not other.blocks
    assert (pool.view(bad.blocks[0], 500_000) == 3).all()
    bad.fails = False
    other.take(450_000)
    assert bad.saved and bad.holding.taken == 0


def test_what_can_never_fit_is_refused_at_once(pool):
    owner = Owner(pool, "a")
    owner.take(200_000)
    stays = pool.hold("router", "weights")
    pool.charge(stays, 600_000)
    with pytest.raises(PoolFullError, match="450560 bytes do not fit a budget of 1000000: 600000 of it"):
        Owner(pool, "b").take(450_000)
    assert not owner.saved and pool.counts["refused"] == 1
    with pytest.raises(PoolFullError, match="1000000"):
        pool.charge(stays, 1_000_001)
    assert stays.charged == 600_000 and issubclass(PoolFullError, MemoryError)


def test_pins_hold_for_at_most_thirty_seconds(pool):
    owner = Owner(pool, "pinned")
    owner.take(800_000)
    pool.pin(owner.holding, 3_600_000)
    with pytest.raises(PoolFullError, match="pinned or stays"):
        Owner(pool, "b").take(300_000)
    pool.clock.ms = 29_999
    with pytest.raises(PoolFullError):
        Owner(pool, "c").take(300_000)
    pool.clock.ms = 30_001
    Owner(pool, "d").take(300_000)
    assert owner.saved
    pool.pin(owner.holding)
    pool.unpin(owner.holding)
    assert not pool.pinned(owner.holding)


def test_what_lies_elsewhere_counts(pool):
    index = pool.hold("index", "codes of patterns")
    pool.charge(index, 700_000)
    owner = Owner(pool, "a")
    owner.take(190_000)
    pool.clock.ms = 1
    pool.charge(index, 800_000)
    assert owner.saved and pool.used == 800_000
    pool.charge(index, 100_000)
    pool.drop(index)
    assert pool.used == 0


def test_a_smaller_budget_evicts_and_one_too_small_changes_nothing(pool):
    owners = [Owner(pool, str(number)) for number in range(8)]
    for owner in owners:
        owner.take(100_000)
    pool.clock.ms = 1
    pool.resize(500_000)
    assert pool.used <= 0.8 * 500_000
    stays = pool.hold("adapter", "in use")
    pool.charge(stays, 200_000)
    with pytest.raises(PoolFullError):
        pool.resize(150_000)
    assert pool.budget == 500_000
    pool.resize(2_000_000)
    assert pool.budget == pool.region.size + 200_000  # no more than was reserved, and lies elsewhere
    with pytest.raises(ConfigError):
        pool.resize(0)


def test_shrinking_comes_before_losing(pool):
    order = []
    first = pool.hold("kv", "first", release=lambda: order.append("released"))
    pool.charge(first, 500_000)

    def shrink():
        order.append("shrunk")
        pool.charge(first, 100_000)
        return True

    first.shrink = shrink
    second = Owner(pool, "second")
    second.take(450_000)
    assert order == ["shrunk"] and pool.evictions[-1].bytes == 400_000


def test_it_tells_what_went_why_and_whether_it_was_saved(pool):
    small = []
    halved = pool.hold("kv", "halved", shrink=lambda: not small and (small.append(pool.give(first)), True)[1], release=lambda: None)
    first = pool.take(halved, 64_000)
    pool.clock.ms = 10
    saved, lost = Owner(pool, "saved"), pool.hold("adapter", "lost", release=lambda: pool.give(last))
    for _ in range(7):
        saved.take(100_000)
    pool.clock.ms = 20
    last = pool.take(lost, 100_000)
    pool.clock.ms = 30
    pool.take(pool.hold("kv", "new"), 150_000)
    told = [(each["kind"], each["name"], each["step"], each["reason"], each["saved"]) for each in pool.report()["evictions"]]
    assert told == [("kv", "halved", "shrunk", "room", False), ("kv", "saved", "evicted", "room", True)]
    assert pool.evictions[0].bytes == rounded(64_000) and pool.evictions[1].bytes == 7 * rounded(100_000)
    assert [each.at for each in pool.evictions] == [1_700_000_000_030] * 2
    pool.resize(260_000)
    assert (pool.evictions[-1].name, pool.evictions[-1].reason, pool.evictions[-1].saved) == ("lost", "budget", False)
    report = pool.report()
    assert (report["budget"], report["high"], report["low"], report["counts"]["evicted"]) == (260_000, 234_000, 208_000, 2)


def test_what_goes_between_two_pieces_of_work_and_for_want_of_one_piece_is_told_apart():
    pool = Pool(1_024_000, clock=Ticking())
    pool.trimmed = True
    owners = [Owner(pool, f"{number}") for number in range(10)]
    for number, owner in enumerate(owners):
        pool.clock.ms = number
        owner.take(100_000)
    pool.trim()
    assert {eviction.reason for eviction in pool.evictions} == {"watermark"}
    for owner in owners[3::3]:
        owner.release()
    pool.take(pool.hold("kv", "large"), 2 * rounded(100_000) + 256 * 400)
    assert pool.evictions[-1].reason == "pieces" and pool.report()["fragmentation"] >= 0


def test_the_unknown_is_refused(pool):
    for wrong in ({"kind": "video"}, {"priority": 2}):
        with pytest.raises(ConfigError):
            pool.hold(**{"kind": "kv", "name": "x", **wrong})
    with pytest.raises(ConfigError):
        Pool(10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_budget_is_never_exceeded_and_nothing_leaks(seed):
    random = np.random.default_rng(seed)
    pool = Pool(300_000, clock=Ticking(), fit=("best", "first")[seed % 2])
    owners = [Owner(pool, str(number), priority=float(random.random())) for number in range(12)]
    for _ in range(150):
        pool.clock.ms += float(random.exponential(50))
        owner = owners[random.integers(len(owners))]
        owner.fails = bool(random.random() < 0.1)
        try:
            match random.integers(5):
                case 0 | 1:
                    owner.take(int(random.integers(1, 60_000)))
                case 2:
                    pool.pin(owner.holding, float(random.exponential(300)))
                case 3:
                    owner.release()
                case 4:
                    pool.charge(owner.holding, int(random.integers(0, 30_000)))
                    if random.random() < 0.3:
                        pool.resize(int(random.integers(100_000, 300_000)))
        except (PoolFullError, PersistError):
            pass
        held = sum(each.holding.bytes for each in owners)
        assert pool.used == held <= pool.budget
        assert pool.region.used == sum(each.holding.taken for each in owners)
    for owner in owners:
        owner.release()
        pool.drop(owner.holding)
    assert (pool.used, pool.region.free, len(pool.region.holes)) == (0, pool.region.size, 1)
