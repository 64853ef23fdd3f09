import assert from "node:assert/strict";
import { test } from "node:test";
import { Database, deleteDatabase, openDatabase } from "../src/bridge/database";
import { idbName, settled } from "../src/bridge/indexeddb";
import { alter, everything, fresh, integer, row, stored, text } from "./support";

/** A database with `rows` rows of `bytes` bytes each, flushed. */
async function filled(name: string, rows: number, bytes: number): Promise<Database> {
  const database = await openDatabase(name);
  database.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body BLOB)");
  insert(database, rows, bytes);
  await database.flush();
  return database;
}

function insert(database: Database, rows: number, bytes: number): void {
  database.run("BEGIN");
  for (let i = 0; i < rows; i++) database.run("INSERT INTO t (body) VALUES (?)", row(new Uint8Array(bytes).fill(i)));
  database.run("COMMIT");
}

test("what was flushed is there after reopening, what was not is not", async () => {
  const name = fresh();
  const database = await filled(name, 10, 100);
  insert(database, 5, 100);
  const other = await openDatabase(name, { readonly: true });
  assert.equal(integer(other, "SELECT count(*) FROM t"), 10);
  assert.equal(integer(database, "SELECT count(*) FROM t"), 15);
  await database.close();
  const again = await openDatabase(name);
  assert.equal(integer(again, "SELECT count(*) FROM t"), 15);
  assert.equal(text(again, "PRAGMA integrity_check"), "ok");
  await again.close();
});

test("opening an existing database writes nothing", async () => {
  const name = fresh();
  await (await filled(name, 10, 100)).close();
  const before = await everything(name);
  await (await openDatabase(name)).close();
  await (await openDatabase(name, { readonly: true })).close();
  assert.equal(await everything(name), before);
});

test("a commit writes what changed, in records of at most 60 KB", async () => {
  const name = fresh();
  const database = await filled(name, 1000, 3500);
  const before = (await stored(name, "log")).length;
  database.run("UPDATE t SET body = zeroblob(3500) WHERE id = 500");
  await database.flush();
  const log = await stored(name, "log");
  assert.equal(log.length, before + 1);
  assert.ok(log.every(([, record]) => record.length <= 60 * 1024));
  await database.flush(); // nothing changed
  assert.equal((await stored(name, "log")).length, log.length);
  await database.close();
});

test("the log is folded into extents and stays short, and nothing changes by that", async () => {
  const name = fresh();
  const database = await filled(name, 500, 3500);
  for (let round = 0; round < 12; round++) {
    database.run("UPDATE t SET body = ?", row(new Uint8Array(3500).fill(round)));
    await database.flush();
  }
  const busy = await logSize(name);
  assert.ok(busy > 4 << 20 && busy < 12 << 20, `${busy} bytes of log for a file of 2 MB while commits come`);
  await rested(name);
  await database.close();
  assert.ok((await stored(name, "base")).length >= 7);
  const again = await openDatabase(name);
  assert.equal(integer(again, "SELECT count(*) FROM t WHERE body = (SELECT body FROM t LIMIT 1)"), 500);
  assert.equal(text(again, "SELECT hex(substr(body, 1, 1)) FROM t LIMIT 1"), "0B");
  assert.equal(text(again, "PRAGMA integrity_check"), "ok");
  await again.close();
});

test("deleting removes the IndexedDB, and who had it open lost it", async () => {
  const name = fresh();
  const database = await filled(name, 1, 10);
  await deleteDatabase(name);
  assert.ok(!(await indexedDB.databases()).some((found) => found.name === idbName(name)));
  assert.match((await database.lost)!, /deleted/);
  assert.equal(database.writable, false);
  assert.throws(() => database.run("DELETE FROM t"), { name: "ReadOnlyError" });
  await assert.rejects(database.flush(), { name: "FencedError" });
  await database.close();
});

test("opening read-only what is not there makes nothing", async () => {
  const name = fresh();
  await assert.rejects(openDatabase(name, { readonly: true }), { name: "StorageError", message: /no database named/ });
  assert.ok(!(await indexedDB.databases()).some((found) => found.name === idbName(name)));
});

for (const [what, damage, kind] of [
  ["a damaged log record", (name) => damageFirst(name, "log"), "CorruptError"],
  ["a damaged extent", (name) => damageFirst(name, "base"), "CorruptError"],
  ["a lost log record", (name) => dropFirst(name, "log"), "CorruptError"],
  ["a log that lost its end", (name) => dropLast(name, "log"), "CorruptError"],
  ["a lost extent", (name) => dropFirst(name, "base"), "CorruptError"],
  ["a lost head", (name) => alter(name, "meta", (meta) => meta.delete("head")), "CorruptError"],
  ["a lost manifest", (name) => alter(name, "meta", (meta) => meta.delete("manifest")), "CorruptError"],
  ["swapped extents", swapExtents, "CorruptError"],
  ["an older extent put back", (name) => changeHead(name, (head) => ({ ...head, sequence: head.sequence - 1 })), "CorruptError"],
  ["a newer format", (name) => changeHead(name, (head) => ({ ...head, format: 5 })), "NewerError"],
] as [string, (name: string) => Promise<void>, string][]) {
  test(`${what} is reported as ${kind} and overwrites nothing`, async () => {
    const name = fresh();
    const database = await filled(name, 500, 3500);
    for (let round = 0; round < 3; round++) {
      database.run("UPDATE t SET body = ?", row(new Uint8Array(3500).fill(round)));
      await database.flush();
    }
    await rested(name);
    database.run("UPDATE t SET body = ? WHERE id = 1", row(new Uint8Array(3500).fill(9))); // for the log
    await database.flush();
    await database.close();
    await damage(name);
    const before = await everything(name);
    await assert.rejects(openDatabase(name), { name: kind });
    await assert.rejects(openDatabase(name, { readonly: true }), { name: kind });
    assert.equal(await everything(name), before);
    await deleteDatabase(name);
    await (await openDatabase(name)).close(); // the lock went back, a fresh start is possible
  });
}

async function logSize(name: string): Promise<number> {
  return (await stored(name, "log")).reduce((sum, [, record]) => sum + record.length, 0);
}

/** Returns when a log that is too long was folded, as it is when no commit comes. */
async function rested(name: string): Promise<void> {
  for (let i = 0; (await logSize(name)) > 4 << 20; i++) {
    assert.ok(i < 500, "it is not folded");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function damageFirst(name: string, store: string): Promise<void> {
  const [key, record] = (await stored(name, store))[0]!;
  record[record.length >> 1] ^= 1;
  await alter(name, store, (objects) => objects.put(record, key));
}

async function dropFirst(name: string, store: string): Promise<void> {
  const [key] = (await stored(name, store))[0]!;
  await alter(name, store, (objects) => objects.delete(key));
}

async function dropLast(name: string, store: string): Promise<void> {
  const [key] = (await stored(name, store)).at(-1)!;
  await alter(name, store, (objects) => objects.delete(key));
}

/** Of the extents, two in which SQLite finds nothing wrong at first. */
async function swapExtents(name: string): Promise<void> {
  const [[first, a], [second, b]] = (await stored(name, "base")).slice(-2) as [[number, Uint8Array], [number, Uint8Array]];
  await alter(name, "base", (objects) => objects.put(b, first));
  await alter(name, "base", (objects) => objects.put(a, second));
}

async function changeHead(name: string, change: (head: any) => any): Promise<void> {
  const head = (await stored(name, "meta")).find(([key]) => key === "head")![1];
  await alter(name, "meta", (meta) => meta.put(change(head), "head"));
}

test("an IndexedDB of a newer layout is reported", async () => {
  const name = fresh();
  await (await filled(name, 1, 10)).close();
  const request = indexedDB.open(idbName(name), 2);
  (await settled(request)).close();
  await assert.rejects(openDatabase(name), { name: "NewerError" });
});

test("a replacement is all or nothing", async () => {
  const source = await filled(fresh(), 300, 3500);
  const image = source.export();
  await source.close();
  const name = fresh();
  const database = await filled(name, 3, 10);
  const broken = image.slice();
  broken.fill(0xff, 40960, 81920);
  assert.throws(() => database.candidate(broken), { name: "CorruptError" });
  assert.throws(() => database.candidate(new Uint8Array(10)), { name: "CorruptError" });
  assert.equal(integer(database, "SELECT count(*) FROM t"), 3);
  const candidate = database.candidate(image);
  assert.throws(() => candidate.run("DELETE FROM t"), { name: "ReadOnlyError" });
  await database.replace(candidate);
  await candidate.close();
  assert.equal(integer(database, "SELECT count(*) FROM t"), 300);
  insert(database, 1, 10);
  await database.close();
  const again = await openDatabase(name);
  assert.equal(integer(again, "SELECT count(*) FROM t"), 301);
  assert.equal(text(again, "PRAGMA integrity_check"), "ok");
  await again.close();
});

test("an image with another page size, auto-vacuum and WAL mode is taken", async () => {
  const source = await openDatabase(":memory:");
  const { engine } = await import("../src/bridge/engine");
  const foreign = new (await engine()).sqlite.Database();
  foreign.run("PRAGMA page_size = 1024; PRAGMA auto_vacuum = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB); INSERT INTO t VALUES (7, x'00')");
  const image = foreign.export();
  image.fill(2, 18, 20); // read and write version of WAL mode
  const candidate = source.candidate(image);
  assert.equal(integer(candidate, "PRAGMA page_size"), 4096);
  assert.equal(integer(candidate, "PRAGMA auto_vacuum"), 0);
  assert.equal(integer(candidate, "SELECT id FROM t"), 7);
  foreign.close();
  await candidate.close();
  await source.close();
});

test("VACUUM and two statements at once are refused", async () => {
  const database = await filled(":memory:", 1, 10);
  assert.throws(() => database.run(" vacuum"), { name: "StorageError", message: /VACUUM/ });
  assert.throws(() => database.run("DELETE FROM t; DELETE FROM t"), { name: "StorageError", message: /one statement/ });
  assert.equal(integer(database, "SELECT count(*) FROM t"), 1);
  await database.close();
});
