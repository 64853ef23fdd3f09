"""What the chain of the witness log promises: nothing is altered, added or removed behind its back without showing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruvllm.embed.space import Space
from pyruvllm.errors import ConfigError, NotFoundError, StorageError
from pyruvllm.memory.audit.chain import SALT, digest, link_hash
from pyruvllm.memory.witness import WitnessLog
from pyruvllm.types import ErrorInfo, Latency
from tests.contracts.stores import FullDisk, WordEmbedder, another, entry, vector


async def recorded(open_memory, count=6, name="main"):
    memory = await open_memory(name)
    log = WitnessLog(memory)
    for number in range(count):
        log.record(entry(number, quality_score=0.5, error=None if number % 2 else ErrorInfo("QuotaError", "full")))
    await log.flush()
    return log


def open_to_anything(log):
    """As whoever writes to the database file is: no trigger is in the way."""
    for trigger in ("witness_chain_no_update", "witness_chain_no_delete", "witness_held"):
        log.memory.driver.execute(f"DROP TRIGGER {trigger}")


def links(log):
    return log.memory.driver.query("SELECT event, number FROM witness_chain ORDER BY ordinal")


async def fault(log):
    return (await log.verify()).broken


class UndoError(Exception):
    """Ends a transaction as if nothing had been done in it. Awaiting in one is no danger where nothing else runs."""


NEW = "x'" + "3c" * 1536 + "'"
METADATA = "UPDATE records SET metadata = json_set(metadata, '$.{}', {}) WHERE number = 3"
TAMPERINGS = {
    "question": "UPDATE records SET text = 'something else' WHERE number = 3",
    "id": "UPDATE records SET id = 'another' WHERE number = 3",
    "time of writing": "UPDATE records SET created_at = 1 WHERE number = 3",
    "query embedding": f"UPDATE vectors SET embedding = {NEW} WHERE number = 3",
    "no query embedding": "DELETE FROM vectors WHERE number = 3",
    "response embedding": f"UPDATE witness SET response_embedding = {NEW} WHERE number = 3",
    "no response embedding": "UPDATE witness SET response_embedding = NULL WHERE number = 3",
    "salt": "UPDATE witness SET salt = x'00' WHERE number = 3",
    **{
        name: METADATA.format(path, value)
        for name, path, value in (
            ("session", "session", "'other'"),
            ("user", "user", "'eve'"),
            ("model", "model", "'other'"),
            ("quality", "quality", "1.0"),
            ("timestamp", "timestamp", "5"),
            ("probabilities", "routing.model_probs[0]", "0.9"),
            ("temperature", "routing.temperature", "0.1"),
            ("policy", "routing.policy", "'other'"),
            ("latency", "latency.routing_ms", "0.0"),
            ("context", "context_ids[0]", "'other'"),
            ("error", "error", "NULL"),
            ("hold", "hold", "'no'"),
        )
    },
}


class ChainContract:
    async def test_each_entry_leaves_a_link_and_all_is_well(self, open_memory):
        log = await recorded(open_memory)
        assert links(log) == [("recorded", number) for number in range(1, 7)]
        seen = []
        verdict = await log.verify(progress=lambda done, total: seen.append((done, total)))
        assert verdict.ok and (verdict.entries, verdict.links, verdict.removed) == (6, 6, {})
        assert seen[-1] == (12, 12)
        assert len({row[0] for row in log.memory.driver.query("SELECT salt FROM witness")}) == 6

    async def test_an_empty_log_is_unbroken(self, open_memory):
        verdict = await WitnessLog(await open_memory()).verify()
        assert verdict.ok and (verdict.entries, verdict.links, verdict.head) == (0, 0, "00" * 32)

    async def test_the_digest_is_what_the_documentation_says(self, open_memory):
        """Computed here again from the stored values."""
        import hashlib
        import struct

        log = await recorded(open_memory, 2)
        query = log.memory.driver.query
        before = bytes(32)
        for ordinal, number, event, at, content, hash in query("SELECT * FROM witness_chain ORDER BY ordinal"):
            sql = """SELECT w.salt, r.id, r.text, r.metadata, r.created_at, v.embedding, w.response_embedding FROM witness AS w
                JOIN records AS r ON r.number = w.number JOIN vectors AS v ON v.number = w.number WHERE w.number = ?"""
            parts = [part if isinstance(part, bytes) else str(part).encode() for part in query(sql, [number])[0]]
            assert len(parts[0]) == SALT and parts[5] == entry(number - 1).query_embedding.astype("<f2").tobytes()
            assert content == hashlib.sha256(b"".join(struct.pack("<I", len(part)) + part for part in parts)).digest()
            whole = before + struct.pack("<qqqI", ordinal, number, at, len(event)) + event.encode() + content
            assert hash == hashlib.sha256(whole).digest()
            before = hash
        assert (await log.verify()).head == before.hex()

    async def test_no_two_contents_are_packed_alike(self):
        assert digest(b"s", "ab", "c") != digest(b"s", "a", "bc")
        assert digest(b"s", None, "") != digest(b"s", "", None)
        assert link_hash(b"", 1, 2, 3, "a", b"bc") != link_hash(b"", 1, 2, 3, "ab", b"c")

    async def test_whatever_is_altered_shows(self, open_memory):
        log = await recorded(open_memory)
        open_to_anything(log)
        for what, tampering in TAMPERINGS.items():
            with pytest.raises(UndoError), log.memory.driver.transaction():
                assert log.memory.driver.execute(tampering) == 1, what
                broken = await fault(log)
                raise UndoError
            assert broken is not None and broken.number == 3 and "altered" in broken.reason, what
            assert what == "id" or str(broken).startswith("entry request-2: ")
        assert (await log.verify()).ok

    async def test_typed_columns_that_say_something_else_show(self, open_memory):
        log = await recorded(open_memory)
        for column in ("quality", "total_ms", "context_size", "error_kind", "user_id", "hold", "timestamp"):
            [(kept,)] = log.memory.driver.query(f"SELECT {column} FROM witness WHERE number = 4")
            log.memory.driver.execute(f"UPDATE witness SET {column} = 77 WHERE number = 4")
            assert "columns" in (await fault(log)).reason
            log.memory.driver.execute(f"UPDATE witness SET {column} = ? WHERE number = 4", [kept])
        assert (await log.verify()).ok

    async def test_what_is_removed_behind_its_back_shows(self, open_memory):
        log = await recorded(open_memory)
        log.memory.remove(["request-1", "request-4"])
        broken = await fault(log)
        assert (broken.number, broken.ordinal) == (2, 2) and "removed" in broken.reason

    async def test_what_is_added_behind_its_back_shows(self, open_memory):
        log = await recorded(open_memory, 2)
        other = await recorded(open_memory, 3, "other")
        query = other.memory.driver.query
        for table in ("records", "vectors", "witness"):
            [row] = query(f"SELECT * FROM {table} WHERE number = 3")
            log.memory.driver.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        broken = await fault(log)
        assert (broken.number, broken.id) == (3, "request-2") and "added" in broken.reason
        assert WitnessLog(log.memory).chain.head() == log.chain.head()  # a log that has a chain adopts nothing
        assert not (await log.verify()).ok

    async def test_a_link_that_is_altered_removed_or_moved_shows(self, open_memory):
        log = await recorded(open_memory)
        open_to_anything(log)
        for change, ordinal in (
            ("UPDATE witness_chain SET event = 'adopted' WHERE ordinal = 4", 4),
            ("UPDATE witness_chain SET happened_at = 7 WHERE ordinal = 2", 2),
            ("UPDATE witness_chain SET digest = x'00' WHERE ordinal = 5", 5),
            ("UPDATE witness_chain SET hash = x'00' WHERE ordinal = 1", 1),
            ("UPDATE witness_chain SET number = 2 WHERE ordinal = 3", 3),
            ("DELETE FROM witness_chain WHERE ordinal = 3", 3),
        ):
            with pytest.raises(UndoError), log.memory.driver.transaction():
                log.memory.driver.execute(change)
                broken = await fault(log)
                raise UndoError
            assert broken.ordinal == ordinal, change

    async def test_the_first_of_several_is_named(self, open_memory):
        log = await recorded(open_memory)
        open_to_anything(log)
        log.memory.driver.execute("UPDATE records SET text = 'x' WHERE number IN (2, 5)")
        log.memory.driver.execute("UPDATE witness_chain SET happened_at = 7 WHERE ordinal = 4")
        assert (await fault(log)).number == 2
        log.memory.driver.execute("UPDATE witness_chain SET happened_at = 7 WHERE ordinal = 1")
        assert (await fault(log)).ordinal == 1

    async def test_a_tail_that_was_cut_off_shows_to_who_noted_the_head(self, open_memory):
        log = await recorded(open_memory)
        head = (await log.verify()).head
        log.record(entry(7))
        await log.flush()
        assert (await log.verify(head)).ok
        newest = (await log.verify()).head
        open_to_anything(log)
        log.memory.driver.execute("DELETE FROM witness_chain WHERE number = 7")
        log.memory.driver.execute("DELETE FROM records WHERE number = 7")
        assert (await log.verify()).ok and (await log.verify(head)).ok
        assert newest[:12] in (await log.verify(newest)).broken.reason
        for wrong in ("abc", "X" * 64, 5):
            with pytest.raises(ConfigError, match="head is"):
                await log.verify(wrong)

    async def test_the_database_itself_refuses_to_rewrite_the_chain(self, open_memory):
        log = await recorded(open_memory)
        for change in ("UPDATE witness_chain SET event = 'x'", "DELETE FROM witness_chain WHERE ordinal = 6"):
            with pytest.raises(StorageError, match="append-only"):
                log.memory.driver.execute(change)
        assert (await log.verify()).ok

    async def test_ratings_are_links_and_the_chain_stays_whole(self, open_memory):
        log = await recorded(open_memory, 2)
        log.record(entry(2))
        await log.rate("request-2", 0.25)  # queued: it is recorded so
        await log.rate("request-0", 1)
        await log.rate("request-0", 0.75)
        assert links(log)[3:] == [("rated", 1), ("rated", 1)]
        verdict = await log.verify()
        assert verdict.ok and verdict.links == 5
        assert log.get("request-0").quality_score == 0.75

    async def test_after_reopening_the_chain_goes_on(self, open_memory):
        log = await recorded(open_memory)
        await log.close()
        await log.memory.close()
        log = WitnessLog(await open_memory())
        log.record(entry(9))
        assert (await log.verify()).ok
        await log.flush()
        verdict = await log.verify()
        assert verdict.ok and verdict.links == 7

    async def test_entries_from_before_the_chain_are_adopted_at_the_first_open(self, open_memory):
        log = await recorded(open_memory)
        open_to_anything(log)
        log.memory.driver.execute("DELETE FROM witness_chain")
        log.memory.driver.execute("UPDATE witness SET salt = NULL")
        bare = "UPDATE records SET metadata = json_remove(metadata, '$.hold', '$.user')"
        log.memory.driver.execute(bare)
        log = WitnessLog(log.memory)
        assert links(log) == [("adopted", number) for number in range(1, 7)]
        verdict = await log.verify()
        assert verdict.ok and (verdict.entries, verdict.adopted) == (6, 6)
        assert log.get("request-1").hold is None
        log.memory.driver.execute("UPDATE records SET text = 'x' WHERE number = 2")
        assert not (await log.verify()).ok

    async def test_another_model_means_new_vectors_and_new_links(self, open_memory):
        log = await recorded(open_memory)
        log.memory.driver.execute("UPDATE records SET text = 'x' WHERE number = 2")
        embedder = WordEmbedder()
        embedder.space = Space("words", "2")
        log.memory.embedder = embedder
        await log.memory.reembed("witness")
        assert [number for event, number in links(log) if event == "reembedded"] == [1, 3, 4, 5, 6]
        assert not np.array_equal(log.get("request-0").query_embedding, vector(0))
        assert (await fault(log)).number == 2  # what was altered before does not come to look as it should

    async def test_a_transaction_that_fails_leaves_no_link(self, open_memory):
        memory = await open_memory()
        log = WitnessLog(memory)
        log.record(entry(1))
        with pytest.raises(ZeroDivisionError), memory.transaction():
            assert log.count() == 1
            raise ZeroDivisionError
        assert links(log) == []
        await log.flush()
        assert (await log.verify()).ok and len(links(log)) == 1

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(st.sampled_from(["record", "rate", "hold", "release", "retain", "flush", "fail", "look"]), st.integers(0, 9)),
            max_size=14,
        ),
        st.integers(0, 10**6),
    )
    async def test_whatever_happens_it_is_whole_and_one_altered_entry_shows(self, open_memory, steps, pick):
        log = WitnessLog(await open_memory(another()))
        count = 0
        for step, amount in steps:
            if step == "record":
                log.record(entry(count, latency=Latency(total_ms=amount)))
                count += 1
            elif step == "fail" and len(log.queue):
                with FullDisk(log.memory), pytest.raises(StorageError):
                    await log.flush()
            elif step == "flush":
                await log.flush()
            elif step == "look":
                assert log.count() <= count
            elif step == "retain":
                await log.retain(replace(log.retention, max_entries=amount))
            else:
                try:
                    if step == "rate":
                        await log.rate(f"request-{amount}", amount / 10)
                    elif step == "hold":
                        await log.hold("because", [f"request-{amount}"])
                    elif step == "release":
                        await log.release([f"request-{amount}"])
                except NotFoundError:
                    pass
        verdict = await log.verify()
        assert verdict.ok, verdict.broken
        assert verdict.entries + verdict.removed.get("expired", 0) == count
        left = log.memory.driver.query("SELECT number FROM witness ORDER BY number")
        if left:
            number = left[pick % len(left)][0]
            log.memory.driver.execute("UPDATE records SET text = text || '.' WHERE number = ?", [number])
            assert (await fault(log)).number == number
        await log.close()
