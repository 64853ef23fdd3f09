"""What becomes of witness entries: holds, retention, archives, and forgetting that reaches all of it."""

import io
import json
import random
from dataclasses import fields

import numpy as np
import pytest

from pyruvllm.embed.space import Space
from pyruvllm.errors import ArchiveError, ConfigError, HeldError, NotFoundError, StorageError
from pyruvllm.memory.audit import retention
from pyruvllm.memory.audit.retention import Cleared, Retention
from pyruvllm.memory.forgetting import Forgetting
from pyruvllm.memory.graph import Edge
from pyruvllm.memory.patterns import PatternStore
from pyruvllm.memory.policy import PolicyEntry, PolicyStore
from pyruvllm.memory.session import SessionIndex
from pyruvllm.memory.witness import WitnessLog
from tests.contracts.stores import FullDisk, WordEmbedder, entry, vector
from tests.contracts.witness import ids, same

NOW = 1_700_000_000_000  # of the contracts' clock


async def recorded(open_memory, count=9, name="main", **changes):
    memory = await open_memory(name)
    sessions = SessionIndex(memory)
    for number in range(3):
        sessions.open(f"session-{number}", user_id="ann" if number < 2 else "bob")
    log = WitnessLog(memory)
    for number in range(count):
        log.record(entry(number, **changes))
    await log.flush()
    return log


def events(log, *kinds):
    rows = log.memory.driver.query("SELECT event, number FROM witness_chain ORDER BY ordinal")
    first = log.memory.driver.query("SELECT min(number) FROM witness_chain")[0][0]
    return [(event, number - first) for event, number in rows if event in kinds]


async def archived(log, **criteria):
    file = io.BytesIO()
    made = await log.archive(file.write, **criteria)
    return made, file.getvalue()


async def whole(log):
    verdict = await log.verify()
    assert verdict.ok, verdict.broken
    return verdict


class KeepingContract:
    async def test_a_hold_keeps_what_would_go(self, open_memory):
        log = await recorded(open_memory)
        assert await log.hold("case 12", ["request-1", "request-4"]) == 2
        assert await log.hold("case 12", ["request-1"]) == 0
        assert ids((await log.find(held=True)).entries) == ["request-4", "request-1"]
        assert log.get("request-1").hold == "case 12"
        assert await log.retain(Retention(max_entries=2)) == Cleared(removed=5, held=2)
        assert ids(log.list()) == ["request-8", "request-7", "request-4", "request-1"]
        assert events(log, "held") == [("held", 1), ("held", 4)]
        await whole(log)
        with pytest.raises(StorageError, match="legal hold"):
            log.memory.remove(["request-4"])
        assert await log.release(["request-4"]) == 1
        assert await log.retain(Retention(max_entries=0)) == Cleared(removed=3, held=1)
        assert await log.release() == 1 and log.get("request-1").hold is None
        assert (await whole(log)).removed == {"expired": 8}

    async def test_another_tab_can_have_it_done(self, open_memory):
        """What a tab that follows asks of the one that writes, as it arrives there."""
        log = await recorded(open_memory)

        async def asked(name, **parameters):
            answer = await log.memory.operations.perform(log.memory.clock.new_id(), json.dumps([f"witness.{name}", parameters]))
            return json.loads(answer)["result"]

        assert await asked("hold", reason="case", ids=["request-1"], criteria={}) == 1
        made = await asked("archive", until=NOW + 4)
        assert made["entries"] == 4 and made.keys() == {"id", "made_at", "entries", "digest", "file"}
        assert await asked("clear", of=made["id"]) == {"removed": 3, "held": 1, "changed": 0}
        assert await asked("keep", max_age_ms=None, max_entries=4) == {"removed": 1, "held": 1, "changed": 0}
        assert await asked("retain", setting={"max_age_ms": None, "max_entries": 0}) == {"removed": 4, "held": 1, "changed": 0}
        assert await asked("hold", reason=None, ids=None, criteria={"held": True}) == 1
        assert ids(log.list()) == ["request-1"]
        await whole(log)

    async def test_what_is_held_while_others_go_stays(self, open_memory):
        log = await recorded(open_memory, 3)
        await log.hold("case", ["request-1"])
        assert await retention.remove(log, [number for (number,) in log.rows("w.number")], "expired", b"") == 2
        assert ids(log.list()) == ["request-1"]

    async def test_holds_by_criteria_and_on_what_is_queued(self, open_memory):
        log = WitnessLog(await open_memory())
        for number in range(6):
            log.record(entry(number))
        assert await log.hold("case 1", session="session-1", until=NOW + 3) == 1
        assert log.get("request-1").hold == "case 1"
        await log.flush()
        assert log.get("request-1").hold == "case 1"
        await whole(log)
        for wrong in ("", "  ", None):
            with pytest.raises(ConfigError, match="reason"):
                await log.hold(wrong, ["request-1"])
        with pytest.raises(ConfigError, match="names its entries"):
            await log.hold("all of it")
        with pytest.raises(NotFoundError):
            await log.hold("x", ["request-2", "nobody"])
        assert log.get("request-2").hold is None
        await log.close()

    async def test_retention_by_age_and_by_count(self, open_memory):
        log = await recorded(open_memory)
        log.memory.clock.now = NOW + 10
        assert (await log.retain(Retention(max_age_ms=8))).removed == 2  # 0 and 1 are older
        assert ids(log.list())[-1] == "request-2"
        assert (await log.retain(Retention(max_age_ms=8, max_entries=4))).removed == 3
        assert ids(log.list()) == ["request-8", "request-7", "request-6", "request-5"]
        assert await log.retain() == Cleared()
        assert events(log, "expired") == [("expired", n) for n in range(5)]
        assert (await whole(log)).removed == {"expired": 5}
        assert log.memory.driver.query("SELECT count(*) FROM edges WHERE relation = 'contains'") == [(4,)]
        for wrong in (-1, 1.5, True, "7"):
            with pytest.raises(ConfigError, match="max_age_ms"):
                Retention(max_age_ms=wrong)

    async def test_the_setting_is_the_memorys_and_is_applied_by_itself(self, open_memory):
        log = await recorded(open_memory)
        assert log.retention == Retention()
        assert await log.keep(Retention(max_entries=5)) == Cleared(removed=4)
        await log.memory.close()
        log = WitnessLog(await open_memory())
        assert log.retention == Retention(max_entries=5)
        for number in range(20, 23):
            log.record(entry(number))
        assert (await log.retain_if_due()).removed == 3
        log.record(entry(30))
        assert (await log.retain_if_due()).removed == 0  # not twice within the hour
        log.memory.clock.now += 3600 * 1000
        assert (await log.retain_if_due()).removed == 1
        await log.close()

    async def test_what_retention_removed_is_not_written_again_by_the_queue(self, open_memory):
        log = WitnessLog(await open_memory())
        for number in range(4):
            log.record(entry(number))
        assert log.count() == 4  # they have rows, and are queued still
        assert (await log.retain(Retention(max_entries=1))).removed == 3
        await log.close()
        assert ids(log.list()) == ["request-3"]

    async def test_an_archive_is_searched_like_the_log(self, open_memory):
        log = await recorded(open_memory)
        await log.rate("request-7", 0.25)
        seen = []
        file = io.BytesIO()
        made = await log.archive(file.write, until=NOW + 8, progress=lambda *done: seen.append(done))
        assert (made.entries, seen[-1]) == (8, (8, 8))
        assert log.count() == 9
        assert await log.clear(made.id) == Cleared(removed=8)
        assert ids(log.list()) == ["request-8"]
        verdict = await whole(log)
        assert verdict.removed == {"archived": 8}
        assert log.memory.driver.query("SELECT DISTINCT digest FROM witness_chain WHERE event = 'archived'") == [
            (bytes.fromhex(made.digest),)
        ]
        opened = await log.open_archive(file.getvalue())
        assert (opened.id, opened.entries, opened.sealed) == (made.id, 8, 0)
        for number in range(8):
            found = opened.log.get(f"request-{number}")
            kept = entry(number, user_id="ann" if number % 3 < 2 else "bob", quality_score=0.25 if number == 7 else None)
            assert same(found, kept)
        assert ids(opened.log.low_quality().entries) == ["request-7"]
        assert ids((await opened.log.find(vector(5), session="session-2", limit=1)).entries) == ["request-5"]
        assert ids((await opened.log.find("number3", limit=1)).entries) == ["request-3"]
        assert opened.log.aggregate(None).total.count == 8
        assert (await opened.log.verify()).ok
        await opened.close()
        assert ids(log.list()) == ["request-8"]

    async def test_an_archive_is_a_file_by_path_or_name(self, open_memory, tmp_path):
        log = await recorded(open_memory)
        for target in (tmp_path / "by path.archive", str(tmp_path / "by name.archive")):
            await log.archive(target, until=NOW + 8)
            opened = await log.open_archive(target)
            assert opened.log.count() == 8
            await opened.close()

    async def test_an_archive_says_nothing_without_the_memory(self, open_memory):
        log = await recorded(open_memory)
        _, file = await archived(log)
        for secret in (b"matter", b"session", b"request-", b"ann", entry(3).query_embedding.astype("<f2").tobytes()):
            assert secret not in file
        other = await recorded(open_memory, 0, "other")
        opened = await other.open_archive(file)
        assert (opened.entries, opened.sealed) == (0, 9)
        await opened.close()

    async def test_any_byte_that_is_altered_shows(self, open_memory):
        log = await recorded(open_memory, 3)
        _, file = await archived(log)
        places = random.Random(5).sample(range(len(file)), 40) + [0, 9, 13, len(file) - 1, len(file) - 40]
        for place in places:
            altered = bytearray(file)
            altered[place] ^= 1 << place % 8
            with pytest.raises(ArchiveError):
                await log.open_archive(bytes(altered))
        for cut in (0, 7, 30, len(file) // 2, len(file) - 1):
            with pytest.raises(ArchiveError):
                await log.open_archive(file[:cut])
        with pytest.raises(ArchiveError, match="does not end"):
            await log.open_archive(file + b"x")

    async def test_a_block_of_another_archive_does_not_open(self, open_memory):
        """With all hashes made anew, as somebody would who knows the format."""
        from pyruvllm.memory.audit.frames import Reader, Writer

        log = await recorded(open_memory, 6)
        (_, first), (_, second) = await archived(log, session="session-0"), await archived(log, session="session-1")
        other = Reader(second)
        [block] = other
        spliced = io.BytesIO()
        writer = Writer(spliced.write, Reader(first).head)
        writer._frame(*block)
        writer.end({"kind": "end", "entries": 2})
        opened = await log.open_archive(spliced.getvalue())  # its key is of another archive
        assert (opened.entries, opened.sealed) == (0, 2)
        await opened.close()
        log.memory.driver.execute("UPDATE witness_keys SET archive = ?", [Reader(first).head["id"]])
        with pytest.raises(ArchiveError, match="does not open"):
            await log.open_archive(spliced.getvalue())

    async def test_only_what_is_still_as_archived_is_cleared(self, open_memory):
        log = await recorded(open_memory, 6)
        made, _ = await archived(log)
        await log.rate("request-1", 0.5)
        await log.hold("case", ["request-2"])
        log.record(entry(10))
        assert await log.clear(made.id) == Cleared(removed=4, held=1, changed=1)
        assert ids(log.list()) == ["request-10", "request-2", "request-1"]
        assert await log.clear(made.id) == Cleared(removed=0, held=1, changed=1)
        with pytest.raises(NotFoundError, match="no archive"):
            await log.clear("nothing")
        await whole(log)

    async def test_an_archive_that_cannot_be_written_leaves_nothing(self, open_memory):
        log = await recorded(open_memory)

        def full(_):
            raise OSError("no room")

        for attempt in (log.archive(full), self.without_disk(log)):
            with pytest.raises((OSError, StorageError)):
                await attempt
            for table in ("witness_keys", "witness_archived"):
                assert log.memory.driver.query(f"SELECT count(*) FROM {table}") == [(0,)], table

    async def without_disk(self, log):
        with FullDisk(log.memory):
            await log.archive(lambda _: None)

    async def test_an_archive_from_before_another_model_is_embedded_anew(self, open_memory):
        log = await recorded(open_memory, 3)
        _, file = await archived(log)
        log.memory.embedder = embedder = WordEmbedder()
        embedder.space = Space("words", "2")
        opened = await log.open_archive(file)
        [expected] = await embedder.embed([entry(1).query])
        assert np.allclose(opened.log.get("request-1").query_embedding, expected, atol=1e-3)
        await opened.close()

    async def test_a_forgotten_session_is_lost_to_every_copy_of_an_archive(self, open_memory):
        log = await recorded(open_memory)
        made, file = await archived(log)
        await log.clear(made.id)
        removed = await Forgetting(log.memory).forget(session="session-1")
        assert (removed.sessions, removed.witness, removed.archived) == (1, 0, 3)
        opened = await log.open_archive(file)
        assert (opened.entries, opened.sealed) == (6, 3)
        assert (await opened.log.find(session="session-1")).total == 0
        await opened.close()
        assert events(log, "forgotten") == [("forgotten", n) for n in (1, 4, 7)]
        await whole(log)
        with pytest.raises(NotFoundError):
            await Forgetting(log.memory).forget(session="session-1")

    async def test_a_forgotten_user_is_lost_though_the_sessions_went_before(self, open_memory):
        log = await recorded(open_memory)
        made, file = await archived(log, until=NOW + 6)
        await log.clear(made.id)
        for session in ("session-0", "session-1", "session-2"):
            await SessionIndex(log.memory).delete(session)
        removed = await Forgetting(log.memory).forget(user="ann")
        assert (removed.sessions, removed.witness, removed.archived) == (0, 2, 4)
        assert ids(log.list()) == ["request-8"]
        opened = await log.open_archive(file)
        assert sorted(ids(opened.log.list())) == ["request-2", "request-5"]
        await opened.close()
        assert b"ann" not in await log.memory.driver.export()
        verdict = await whole(log)
        assert verdict.removed == {"archived": 6, "forgotten": 6}
        with pytest.raises(NotFoundError):
            await Forgetting(log.memory).forget(user="ann")

    async def test_what_is_in_an_archive_and_in_the_log_is_forgotten_in_both(self, open_memory):
        log = await recorded(open_memory)
        made, file = await archived(log)
        removed = await Forgetting(log.memory).forget(session="session-1")
        assert (removed.witness, removed.archived) == (3, 3)
        assert events(log, "forgotten") == [("forgotten", n) for n in (1, 4, 7)]
        assert await log.clear(made.id) == Cleared(removed=6)
        opened = await log.open_archive(file)
        assert opened.sealed == 3
        await opened.close()
        await whole(log)

    async def test_what_is_forgotten_while_an_archive_is_written_is_lost_to_it(self, open_memory):
        log = await recorded(open_memory)
        file, forgetting = io.BytesIO(), []

        def put(content):
            file.write(content)
            if len(file.getvalue()) > 5000 and not forgetting:  # the first session's block is in
                forgetting.append(True)
                log.memory.driver.execute("DELETE FROM witness_keys WHERE session = 'session-0'")

        made = await log.archive(put)
        opened = await log.open_archive(file.getvalue())
        assert made.entries == 9 and (opened.entries, opened.sealed) == (6, 3)
        await opened.close()

    async def test_a_document_takes_the_archived_answers_that_quote_it(self, open_memory):
        log = await recorded(open_memory, 4)
        sessions, memory = SessionIndex(log.memory), log.memory
        from pyruvllm.memory.documents import DocumentStore

        documents = DocumentStore(memory)
        lease = await documents.add("Lease", "The lease ends on 31 January 2029.")
        passage = documents.passages(lease.id)[0].id
        quoted = {"kind": "extractive", "sources": [{"id": passage, "highlight": [[0, 5]]}]}
        sessions.append("session-1", "assistant", "It ends in 2029.", witness="request-1", metadata=quoted)
        made, file = await archived(log)
        await log.clear(made.id)
        removed = await Forgetting(memory).forget(document=lease.id)
        assert (removed.answers, removed.witness, removed.archived) == (1, 0, 1)
        opened = await log.open_archive(file)
        assert sorted(ids(opened.log.list())) == ["request-0", "request-2", "request-3"]
        await opened.close()
        await whole(log)

    async def test_a_hold_is_stronger_than_forgetting_unless_it_is_said(self, open_memory):
        log = await recorded(open_memory)
        await log.hold("case 12", ["request-4", "request-7"])
        forgetting = Forgetting(log.memory)
        for what in ({"session": "session-1"}, {"user": "ann"}):
            with pytest.raises(HeldError, match="request-4, request-7") as raised:
                await forgetting.forget(**what)
            assert set(raised.value.entries) == {"request-4", "request-7"}
        assert log.count() == 9
        removed = await forgetting.forget(session="session-1", despite_hold=True)
        assert removed.witness == 3
        assert events(log, "released", "forgotten") == [("released", 4), ("released", 7), *(("forgotten", n) for n in (1, 4, 7))]
        await whole(log)

    async def test_a_forgotten_entry_leaves_a_digest_that_says_nothing(self, open_memory):
        log = await recorded(open_memory)
        [(salt,)] = log.memory.driver.query("SELECT w.salt FROM witness AS w JOIN records AS r USING (number) WHERE r.id = 'request-4'")
        assert salt in await log.memory.driver.export()
        await Forgetting(log.memory).forget(session="session-1")
        image = await log.memory.driver.export()
        assert salt not in image and b"number4" not in image and b"request-4" not in image
        assert (await whole(log)).removed == {"forgotten": 3}

    async def test_what_was_learned_from_nothing_else_goes_too(self, open_memory):
        log = await recorded(open_memory)
        patterns, policies, graph = PatternStore(log.memory), PolicyStore(log.memory), log.memory.graph
        alone = patterns.learn("alone", vector(50), learned_from=["request-1", "session-1"])
        second = patterns.learn("from a pattern", vector(51), learned_from=[alone.id])
        both = patterns.learn("the words of request-4", vector(52), learned_from=["request-4"])
        log.memory.clock.now += 1
        graph.link(both.id, "request-2", "derived")
        later = patterns.learn("its own words", vector(53), learned_from=["request-3"])
        log.memory.clock.now += 1
        graph.link(later.id, "request-7", "derived")
        free = patterns.learn("of its own", vector(54))
        policy = policies.put(PolicyEntry("router", {}, "instant_loop"))
        graph.link_many([Edge(policy.id, "request-1", "derived"), Edge("request-0", "request-1", "derived")])
        removed = await Forgetting(log.memory).forget(session="session-1")
        assert (removed.learned, removed.blended, removed.witness) == (3, 2, 3)
        left = PatternStore(log.memory)
        assert {pattern.id for pattern in left.list()} == {both.id, later.id, free.id}
        assert left.learned_from(both.id) == ["request-2"] and left.learned_from(later.id) == ["request-3"]
        assert left.get(both.id).text == entry(2).query and left.get(later.id).text == "its own words"
        assert np.allclose(left.get(both.id).embedding, vector(52), atol=1e-3)
        assert second.id not in {hit.id for hit in log.memory.search_with(None, vector(51), collections=("patterns",))}
        with pytest.raises(NotFoundError):
            policies.get(policy.id)
        assert log.get("request-0").request_id == "request-0"

    async def test_what_was_learned_from_an_expired_entry_is_found_by_its_session(self, open_memory):
        log = await recorded(open_memory)
        patterns = PatternStore(log.memory)
        pattern = patterns.learn("alone", vector(50), learned_from=["request-1"])
        await log.retain(Retention(max_entries=3))
        assert patterns.learned_from(pattern.id) == ["session-1"]
        removed = await Forgetting(log.memory).forget(user="ann")
        assert removed.learned == 1 and PatternStore(log.memory).list() == []

    async def test_a_report_counts_what_went(self, open_memory):
        log = await recorded(open_memory)
        removed = await Forgetting(log.memory).forget(user="ann")
        counts = {field.name: getattr(removed, field.name) for field in fields(removed)}
        assert counts.pop("searches") > 0 and counts.pop("edges") == 6
        assert {name: count for name, count in counts.items() if count} == {"sessions": 2, "witness": 6, "vectors": 6}
