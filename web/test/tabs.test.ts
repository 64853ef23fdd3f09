import assert from "node:assert/strict";
import { test } from "node:test";
import { Database, openDatabase } from "../src/bridge/database";
import { PageStore } from "../src/bridge/pagestore";
import { PATIENCE } from "../src/bridge/tabs";
import { fresh, integer, row, text } from "./support";

/** A tab that has told the others of itself. Calls add a row, once for each id: `done` counts how often they were really made. */
async function tab(name: string): Promise<Database & { heard: string[] }> {
  const database = (await openDatabase(name)) as Database & { heard: string[] };
  database.heard = [];
  if (database.writable) database.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, call TEXT UNIQUE, body BLOB)");
  await database.flush();
  database.follow((what) => database.heard.push(what));
  database.serve(async (call, request) => {
    const known = integer(database, `SELECT count(*) FROM t WHERE call = '${call}'`);
    if (!known) database.run("INSERT INTO t (call, body) VALUES (?, ?)", row(call, new Uint8Array(3000)));
    await database.flush();
    return `${request} ${known ? "again" : "done"}`;
  });
  return database;
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 500, "it did not happen within five seconds");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** 300 rows, and so many changes of them that the log is to be folded, as it is when no commit comes. */
async function lengthened(database: Database): Promise<void> {
  fill(database, 300);
  await database.flush();
  for (let round = 0; round < 5; round++) {
    database.run("UPDATE t SET body = ?", row(new Uint8Array(3500).fill(round)));
    await database.flush();
  }
}

/** Has each write to the disk begin late: sealing much may take as long. */
function delayed(database: Database, by: () => Promise<void>): void {
  const store = (database as any).store;
  const begin = store.begin.bind(store);
  store.begin = (stores: string[]) => by().then(() => begin(stores));
}

const count = (database: Database) => integer(database, "SELECT count(*) FROM t");

function fill(database: Database, rows: number, bytes = 3500): void {
  database.run("BEGIN");
  for (let i = 0; i < rows; i++) database.run("INSERT INTO t (body) VALUES (?)", row(new Uint8Array(bytes).fill(i)));
  database.run("COMMIT");
}

async function sound(name: string, rows: number): Promise<void> {
  const database = await openDatabase(name);
  assert.equal(database.role, "writer");
  assert.equal(count(database), rows);
  assert.equal(text(database, "PRAGMA integrity_check"), "ok");
  await database.close();
}

test("a second tab follows: it sees what the first saves, new tables too, and cannot write itself", async () => {
  const name = fresh();
  const [writer, follower] = [await tab(name), await tab(name)];
  assert.deepEqual([writer.role, follower.role], ["writer", "follower"]);
  fill(writer, 200);
  assert.equal(count(follower), 0);
  await writer.flush();
  await until(() => count(follower) === 200);
  writer.run("CREATE TABLE other (x)");
  writer.run("INSERT INTO other VALUES (7)");
  await writer.flush();
  await until(() => integer(follower, "SELECT count(*) FROM sqlite_schema WHERE name = 'other'") === 1);
  assert.equal(integer(follower, "SELECT x FROM other"), 7);
  assert.throws(() => follower.run("DELETE FROM t"), { name: "ReadOnlyError" });
  assert.ok(follower.heard.includes("refreshed"));
  await follower.close();
  await writer.close();
});

test("a tab that only reads keeps the moment at which it opened", async () => {
  const name = fresh();
  const writer = await tab(name);
  const reader = await openDatabase(name, { readonly: true });
  assert.equal(reader.role, "reader");
  fill(writer, 3);
  await writer.flush();
  await reader.refresh();
  assert.equal(count(reader), 0);
  await assert.rejects(reader.call("a", "x"), { name: "ReadOnlyError" });
  await reader.close();
  await writer.close();
});

test("what a follower asks for is saved before it is answered, and then it can be read there", async () => {
  const name = fresh();
  const [writer, follower] = [await tab(name), await tab(name)];
  assert.equal(await follower.call("one", "add"), "add done");
  assert.equal(count(follower), 1);
  const reader = await openDatabase(name, { readonly: true });
  assert.equal(count(reader), 1);
  await Promise.all([writer, follower].map((database) => database.close()));
});

test("the writer closes: who waited longest takes its place, and the third follows that one", async () => {
  const name = fresh();
  const [first, second, third] = [await tab(name), await tab(name), await tab(name)];
  await first.close();
  await until(() => second.role === "writer");
  assert.equal(third.role, "follower");
  assert.deepEqual(second.heard.at(-1), "writer");
  second.run("INSERT INTO t (call) VALUES ('own')");
  await second.flush();
  assert.equal(await third.call("theirs", "add"), "add done");
  assert.equal(count(third), 2);
  await second.close();
  await until(() => third.role === "writer");
  await third.close();
  await sound(name, 2);
});

test("a call that the writer died on is done once, by the next one", async () => {
  const name = fresh();
  const first = await openDatabase(name);
  first.run("CREATE TABLE t (id INTEGER PRIMARY KEY, call TEXT UNIQUE, body BLOB)");
  await first.flush();
  let stuck!: () => void;
  const reached = new Promise<void>((resolve) => (stuck = resolve));
  first.follow(() => undefined);
  first.serve(async (call) => {
    if (call === "saved") {
      first.run("INSERT INTO t (call) VALUES (?)", row(call));
      await first.flush();
    }
    stuck();
    return new Promise(() => undefined); // and no answer ever
  });
  const [second, third] = [await tab(name), await tab(name)];
  const calls = [third.call("saved", "a"), third.call("lost", "b"), second.call("own", "c")];
  await reached;
  await first.close();
  assert.deepEqual(await Promise.all(calls), ["a again", "b done", "c done"]);
  assert.equal(second.role, "writer");
  assert.equal(count(third), 3);
  await second.close();
  await until(() => third.role === "writer");
  await third.close();
  await sound(name, 3);
});

test("a follower that was left behind reads the extents that were folded meanwhile", async () => {
  const name = fresh();
  const writer = await tab(name);
  fill(writer, 500);
  await writer.flush();
  const follower = await openDatabase(name); // not told anything yet: it looks when it is asked to
  fill(writer, 300);
  writer.run("DELETE FROM t WHERE id <= 400");
  await writer.scrub();
  fill(writer, 1);
  await writer.flush();
  await follower.refresh();
  assert.equal(count(follower), 401);
  assert.equal(text(follower, "PRAGMA integrity_check"), "ok");
  await writer.close();
  follower.follow(() => undefined);
  await until(() => follower.writable);
  fill(follower, 600);
  await follower.scrub();
  await follower.close();
  await sound(name, 1001);
});

test("tabs take turns at writing, folding and dying, and the file stays in order", async () => {
  const name = fresh();
  let writer = await tab(name);
  let rows = 0;
  for (let round = 0; round < 4; round++) {
    const next = await tab(name);
    for (let batch = 0; batch < 3; batch++) {
      fill(writer, 120);
      rows += 120;
      writer.run("UPDATE t SET body = ? WHERE id % 3 = 0", row(new Uint8Array(3500).fill(batch)));
      await writer.flush();
    }
    if (round % 2) await writer.scrub();
    assert.equal(await next.call(`call ${round}`, "x"), "x done");
    rows++;
    await writer.close();
    await until(() => next.writable);
    assert.equal(count(next), rows);
    writer = next;
  }
  await writer.close();
  await sound(name, rows);
});

test("a replacement is followed", async () => {
  const source = await tab(fresh());
  fill(source, 5);
  const image = source.export();
  await source.close();
  const name = fresh();
  const [writer, follower] = [await tab(name), await tab(name)];
  fill(writer, 500);
  await writer.flush();
  await until(() => count(follower) === 500);
  const candidate = writer.candidate(image);
  await writer.replace(candidate);
  await candidate.close();
  await until(() => count(follower) === 5);
  assert.equal(follower.size(), image.length);
  await writer.close();
  await until(() => follower.writable);
  await follower.close();
  await sound(name, 5);
});

test("a tab that asks for it becomes the writer, and the one before follows it", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  first.run("INSERT INTO t (call) VALUES ('unsaved yet')");
  await second.takeOver();
  assert.deepEqual([first.role, second.role], ["follower", "writer"]);
  assert.equal(count(second), 1);
  assert.equal(await first.call("from the first", "x"), "x done");
  assert.equal(count(first), 2);
  await second.close();
  await until(() => first.writable);
  await first.close();
  await sound(name, 2);
});

test("a writer whose lock is taken away while it commits loses nothing that it acknowledged", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  delayed(first, () => new Promise((resolve) => setTimeout(resolve, 20)));
  let acknowledged = 0;
  const writing = (async () => {
    for (;;) {
      fill(first, 1);
      await first.flush();
      acknowledged++;
    }
  })().catch((error) => error as Error);
  await until(() => acknowledged > 5);
  await second.takeOver();
  assert.equal((await writing).name, "ReadOnlyError"); // all that it could write was saved
  assert.equal(count(second), acknowledged);
  fill(second, 1);
  await second.flush();
  await until(() => count(first) === acknowledged + 1);
  await Promise.all([first.close(), second.close()]);
  await sound(name, acknowledged + 1);
});

test("a page that is left while it commits acknowledges nothing that its successor does not have", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  delayed(first, () => until(() => second.writable));
  fill(first, 50);
  const flushed = first.flush();
  await Promise.resolve();
  (first as any).end("the page was left");
  await assert.rejects(flushed, { name: "FencedError" });
  fill(second, 1);
  await second.flush();
  assert.equal(count(second), 1);
  await Promise.all([first.close(), second.close()]);
  await sound(name, 1);
});

test("a fold that lands after its successor has read does no harm", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  await lengthened(first);
  const store = (first as any).store;
  const begin = store.begin.bind(store);
  const claim = (second as any).store.claim.bind((second as any).store);
  let landed!: () => void;
  const fold = new Promise<void>((resolve) => (landed = resolve));
  let folding = false;
  let claiming = false;
  store.begin = async (stores: string[]) => {
    folding ||= stores.includes("base");
    if (stores.includes("base")) await until(() => claiming);
    return begin(stores);
  };
  const foldSome = store.foldSome.bind(store);
  store.foldSome = () => foldSome().finally(landed);
  (second as any).store.claim = async () => {
    claiming = true;
    await fold;
    return claim();
  };
  await until(() => folding);
  (first as any).end("the page was left");
  await until(() => second.writable);
  const reader = await openDatabase(name, { readonly: true });
  assert.equal(count(reader), 300);
  await reader.close();
  fill(second, 1);
  await second.flush();
  await Promise.all([first.close(), second.close()]);
  await sound(name, 301);
});

test("a tab that read before a fold landed writes nothing that does not fit it", async () => {
  const name = fresh();
  const first = await tab(name);
  await lengthened(first);
  const later = new PageStore(name, () => undefined);
  const file = (await later.load(false))!;
  const { store, connection } = first as any;
  await store.commit(connection.file, "some");
  await store.foldSome();
  file.set(new Uint8Array(9).fill(1), 8192);
  await assert.rejects(later.commit(file), { name: "FencedError" });
  later.close();
  await first.close();
  await sound(name, 300);
});

test("what is saved by folding is told to the others", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  await lengthened(first);
  await until(() => count(second) === 300);
  let told = 0;
  const saved = (first as any).others.tabs.saved.bind((first as any).others.tabs);
  (first as any).others.tabs.saved = () => (told++, saved());
  fill(first, 1);
  await until(() => told > 0); // no flush
  await until(() => count(second) === 301);
  await Promise.all([first.close(), second.close()]);
  await sound(name, 301);
});

test("letting go ends where another took the lock away meanwhile and what was saved cannot be read", async () => {
  const name = fresh();
  const first = await tab(name);
  const { others, store } = first as any;
  delayed(first, () => new Promise((resolve) => setTimeout(resolve, 50)));
  store.reload = () => Promise.reject(new Error("reading failed"));
  fill(first, 1);
  const handing = others.handOver();
  await new Promise((resolve) => setTimeout(resolve, 10));
  fill(first, 1); // written while it saves
  let flushes = 0;
  const flush = first.flush.bind(first);
  first.flush = () => (++flushes > 100 ? Promise.reject(new Error("it does not end")) : flush());
  others.stepDown("another tab took over the writing");
  await handing;
  await first.close();
});

test("a writer that says nothing is replaced, and follows when it wakes", async () => {
  const name = fresh();
  const [first, second] = [await tab(name), await tab(name)];
  const channel = (first as any).others.tabs;
  const hear = channel.hear;
  channel.hear = () => undefined; // asleep
  const patience = { ...PATIENCE };
  Object.assign(PATIENCE, { ping: 20, silence: 200 });
  try {
    const why = new Promise<string>((resolve) => second.follow((what, why) => what === "writer" && resolve(why)));
    assert.equal(await second.call("while it sleeps", "x"), "x done");
    assert.match(await why, /did not answer/);
    assert.equal(second.role, "writer");
  } finally {
    Object.assign(PATIENCE, patience);
  }
  channel.hear = hear;
  await until(() => first.role === "follower" && count(first) === 1);
  assert.equal(await first.call("awake again", "x"), "x done");
  await second.close();
  await until(() => first.writable);
  await first.close();
  await sound(name, 2);
});

test("a follower whose memory was sealed in another tab is told, and writes nothing", async () => {
  const name = fresh();
  const [writer, follower] = [await tab(name), await tab(name)];
  fill(writer, 3);
  await writer.flush();
  await until(() => count(follower) === 3);
  await writer.protect({ passphrase: "a long enough passphrase" });
  assert.match((await follower.lost)!, /protected was changed/);
  assert.equal(follower.role, "reader");
  await writer.close();
  await follower.close();
  const again = await openDatabase(name, { passphrase: "a long enough passphrase" });
  assert.equal(count(again), 3);
  await again.close();
});

test("tabs of a sealed memory follow each other", async () => {
  const name = fresh();
  const secret = { passphrase: "a long enough passphrase" };
  const writer = await openDatabase(name, secret);
  writer.run("CREATE TABLE t (id INTEGER PRIMARY KEY, call TEXT UNIQUE, body BLOB)");
  await writer.flush();
  const follower = await openDatabase(name, secret);
  follower.follow(() => undefined);
  fill(writer, 50);
  await writer.flush();
  await until(() => count(follower) === 50);
  await writer.scrub();
  await writer.close();
  await until(() => follower.writable);
  fill(follower, 5);
  await follower.close();
  const again = await openDatabase(name, secret);
  assert.equal(count(again), 55);
  await again.close();
});

test("a database that is too large for the tab is refused before it is unpacked", async () => {
  const name = fresh();
  const writer = await tab(name);
  (writer as any).connection.file.size = 3 * 2 ** 30;
  fill(writer, 1);
  await (writer as any).store.commit((writer as any).connection.file);
  await assert.rejects(openDatabase(name, { readonly: true }), { name: "StorageError", message: /3072 MB.*this tab can hold about 1024 MB/ });
  (writer as any).connection.file.size = 8192;
  await writer.close();
});

test("a closed tab's calls end", async () => {
  const name = fresh();
  const first = await openDatabase(name);
  first.run("CREATE TABLE t (x)");
  await first.flush();
  first.serve(() => new Promise(() => undefined));
  const second = await tab(name);
  const call = second.call("a", "b");
  await second.close();
  await assert.rejects(call, { name: "StorageError", message: /closed/ });
  await first.close();
});
