import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, settled } from "../src/bridge/indexeddb";
import { EXTENT, PAGE, PagedFile } from "../src/bridge/pagedfile";
import { PageStore } from "../src/bridge/pagestore";
import { fresh } from "./support";

const nobody = () => assert.fail("nothing was deleted");

async function opened(name: string): Promise<[PageStore, PagedFile]> {
  const store = new PageStore(name, nobody);
  return [store, (await store.load(true)) ?? new PagedFile()];
}

function page(fill: number): Uint8Array {
  return new Uint8Array(PAGE).fill(fill);
}

async function stored(name: string): Promise<PagedFile> {
  const [store, file] = await opened(name);
  store.close();
  return file;
}

test("of two writers the first to commit stays, the other is fenced and overwrites nothing", async () => {
  const name = fresh();
  const [first, mine] = await opened(name);
  mine.set(page(1), 0);
  await first.commit(mine);
  const [second, theirs] = await opened(name);
  theirs.set(page(2), 0);
  await second.commit(theirs);
  mine.set(page(3), 0);
  await assert.rejects(first.commit(mine), { name: "FencedError" });
  assert.equal(mine.changed, true);
  assert.equal((await stored(name)).page(0)[0], 2);
  first.close();
  second.close();
});

test("a writer that opened before another one's commit is fenced at its first commit", async () => {
  const name = fresh();
  const [first, mine] = await opened(name);
  mine.set(page(1), 0);
  await first.commit(mine);
  const [late, stale] = await opened(name);
  mine.set(page(2), 0);
  await first.commit(mine);
  stale.set(page(3), 0);
  await assert.rejects(late.commit(stale), { name: "FencedError" });
  assert.equal((await stored(name)).page(0)[0], 2);
  first.close();
  late.close();
});

test("two writers of a new database: one of them makes it", async () => {
  const name = fresh();
  const [first, mine] = await opened(name);
  const [second, theirs] = await opened(name);
  mine.set(page(1), 0);
  theirs.set(page(2), 0);
  await first.commit(mine);
  await assert.rejects(second.commit(theirs), { name: "FencedError" });
  assert.equal((await stored(name)).page(0)[0], 1);
  first.close();
  second.close();
});

test("a connection that the browser dropped is opened again", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  file.set(page(1), 0);
  await store.commit(file);
  (store as unknown as { idb: IDBDatabase }).idb.close(); // as a browser does it behind the page's back
  file.set(page(2), 0);
  await store.commit(file);
  assert.equal((await stored(name)).page(0)[0], 2);
  store.close();
});

test("a full disk keeps the pages in memory and a later commit saves them", async (context) => {
  const name = fresh();
  const [store, file] = await opened(name);
  file.set(page(1), 0);
  await store.commit(file);
  file.set(page(2), 0);
  file.set(page(2), 5 * PAGE);
  const put = context.mock.method(IDBObjectStore.prototype, "put", () => {
    throw new DOMException("full", "QuotaExceededError");
  });
  await assert.rejects(store.commit(file));
  put.mock.restore();
  assert.equal((await stored(name)).page(0)[0], 1);
  assert.equal(await store.commit(file), true);
  const now = await stored(name);
  assert.deepEqual([now.page(0)[0], now.page(5)[0], now.size], [2, 2, 6 * PAGE]);
  store.close();
});

test("any order of writes, commits and folds reads back as written", async () => {
  const name = fresh();
  let [store, file] = await opened(name);
  let expected = new Uint8Array(0);
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 60; round++) {
    const bytes = new Uint8Array(1 + random(400_000)).fill(round + 1);
    const position = random(Math.min(expected.length + 1, 3 * EXTENT));
    file.set(bytes, position);
    const next = new Uint8Array(Math.max(expected.length, position + bytes.length));
    next.set(expected);
    next.set(bytes, position);
    expected = next;
    await store.commit(file, "some");
    if (random(2)) while (await store.foldSome()) if (random(2) || !store.planned) await store.commit(file, "some");
    if (random(10) === 0) {
      store.close();
      [store, file] = await opened(name);
      assert.deepEqual(file.image(), expected);
    }
  }
  store.close();
  assert.deepEqual((await stored(name)).image(), expected);
  const idb = (await connect(name, false))!;
  assert.ok((await settled(idb.transaction("base").objectStore("base").count())) > 0, "some of it was folded");
  idb.close();
});

test("any order of writes large and small, failures, commits and folds is read alike anew and by who follows", async (context) => {
  const name = fresh();
  const [store, file] = await opened(name);
  let seed = 11;
  const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
  file.set(new Uint8Array(EXTENT + 3 * PAGE).map(() => random(256)), 0);
  await store.commit(file);
  const [follower, copy] = await opened(name);
  let followed = 0;
  for (let round = 0; round < 150; round++) {
    for (let write = random(12); write >= 0; write--) {
      const whole = random(2) === 0; // as SQLite writes, with a few bytes of it changed; else any piece
      const page = random(130);
      const bytes = whole ? file.page(page).slice() : new Uint8Array(1 + random(3 * PAGE));
      for (let n = random(4); n >= 0; n--) bytes[random(bytes.length)] = random(256);
      file.set(bytes, page * PAGE + (whole ? 0 : random(PAGE)));
    }
    const failing = random(8) === 0;
    if (failing) {
      const put = context.mock.method(IDBObjectStore.prototype, "put", () => {
        throw new DOMException("full", "QuotaExceededError");
      });
      await assert.rejects(store.commit(file));
      put.mock.restore();
      continue;
    }
    const committed = file.image();
    await store.commit(file, (["all", "none", "some"] as const)[Math.min(2, random(6))]);
    await store.foldSome();
    if (random(3) === 0) {
      const found = await follower.newer();
      if (found) follower.take(copy, found);
      assert.deepEqual(copy.image(), committed);
      followed++;
    }
    if (random(10) === 0) assert.deepEqual((await stored(name)).image(), committed);
  }
  assert.ok(followed > 20);
  store.close();
  follower.close();
});

test("a commit writes the parts of pages that changed, and nothing where nothing did", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  file.set(new Uint8Array(50 * PAGE).fill(1), 0);
  await store.commit(file);
  for (let n = 0; n < 50; n++) {
    const same = file.page(n).slice();
    if (n % 2) same[n * 80] = 2;
    file.set(same, n * PAGE);
  }
  assert.equal(await store.commit(file), true);
  assert.equal(await store.commit(file), false);
  store.close();
  const idb = (await connect(name, false))!;
  const records: Uint8Array[] = await settled(idb.transaction("log").objectStore("log").getAll(IDBKeyRange.bound([2, 0], [2, Infinity])));
  idb.close();
  assert.equal(records.length, 1);
  assert.ok(records[0]!.length < 25 * 150, `${records[0]!.length} bytes for 25 changed bytes`);
  assert.deepEqual((await stored(name)).page(49), file.page(49));
});

test("what an earlier version stored is read, and marked as newer with the next commit", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  file.set(page(1), 0);
  await store.commit(file);
  store.close();
  const head = async (change: (head: any) => any) => {
    const idb = (await connect(name, false))!;
    const meta = idb.transaction("meta", "readwrite").objectStore("meta");
    const found = await settled(meta.get("head"));
    await settled(meta.put(change(found), "head"));
    idb.close();
    return found.format;
  };
  await head((stored) => ({ ...stored, format: 1 }));
  const [later, again] = await opened(name);
  assert.equal(again.page(0)[9], 1);
  again.set(page(2), PAGE);
  await later.commit(again);
  later.close();
  assert.equal(await head((stored) => stored), 3);
});

test("a folded extent takes the log's place: later pages of the log still count, earlier ones do not", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  const large = new Uint8Array(3 * EXTENT);
  for (let round = 1; round <= 8; round++) {
    file.set(large.fill(round), 0); // 6 MB of log in all, over the limit of 4
    await store.commit(file, "some");
    await store.foldSome();
  }
  file.set(page(99), EXTENT);
  await store.commit(file);
  store.close();
  const now = await stored(name);
  assert.equal(now.page(EXTENT / PAGE)[0], 99);
  assert.equal(now.page(0)[0], 8);
});

test("a fold writes the state of its commit, whatever the file has become meanwhile", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  for (let round = 1; round <= 8; round++) {
    file.set(new Uint8Array(3 * EXTENT).fill(round), 0);
    await store.commit(file, "some");
    file.set(page(99), 0);
    await store.foldSome();
    assert.ok((await stored(name)).image().every((byte) => byte === round));
  }
  store.close();
});

test("between the steps of a fold there is room for a commit, and what it changed is still in the log", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  for (let round = 1; round <= 3; round++) {
    file.set(new Uint8Array(8 * EXTENT).fill(round), 0); // 6 MB of log in all, over the limit of 4
    await store.commit(file, "some");
  }
  assert.equal(await store.foldSome(), true);
  assert.equal(store.planned, true);
  for (let extent = 0; extent < 8; extent++) file.set(page(9), extent * EXTENT);
  await store.commit(file);
  assert.equal(store.planned, false); // the copies are not of this state
  do {
    await store.commit(file, "some");
    assert.deepEqual((await stored(name)).image(), file.image());
  } while (await store.foldSome());
  store.close();
  assert.deepEqual((await stored(name)).image(), file.image());
});

test("folding all empties the log, however many extents it takes", async () => {
  const name = fresh();
  const [store, file] = await opened(name);
  for (let round = 1; round <= 3; round++) {
    for (let extent = 0; extent < 40; extent++) file.set(page(round), extent * EXTENT);
    await store.commit(file);
  }
  await store.foldAll(file);
  const idb = (await connect(name, false))!;
  assert.equal(await settled(idb.transaction("log").objectStore("log").count()), 0);
  idb.close();
  store.close();
  assert.deepEqual((await stored(name)).image(), file.image());
});
