import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Database, openDatabase } from "../src/bridge/database";
import { connect } from "../src/bridge/indexeddb";
import { protectionOf } from "../src/bridge/pagestore";
import { openSealedFile, sealedFile } from "../src/bridge/sealedfile";
import { alter, everything, fresh, integer, row, stored, text } from "./support";

const NOTE = "The ferryman of Zanzibar-7741 sings at noon.";
const DEVICE = { deviceKey: true };

async function noted(name: string, secret: object, rows = 20): Promise<Database> {
  const database = await openDatabase(name, secret);
  database.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)");
  for (let i = 0; i < rows; i++) database.run("INSERT INTO t (body) VALUES (?)", row(`${NOTE} ${"x".repeat(3000)}`));
  await database.flush();
  return database;
}

/** Whether the note's words lie anywhere in what is stored. */
async function readable(name: string): Promise<boolean> {
  const records = (await Promise.all(["meta", "log", "base"].map((store) => stored(name, store)))).flat();
  return records.some(([, value]) => [value, value.body].some((bytes) => bytes instanceof Uint8Array && Buffer.from(bytes).includes("Zanzibar-7741")));
}

test("a sealed database opens with its passphrase, and nothing of it can be read without", async () => {
  const name = fresh();
  await (await noted(name, { passphrase: "Größe 12" })).close();
  assert.equal(await readable(name), false);
  const before = await everything(name);
  await assert.rejects(openDatabase(name), { name: "LockedError", message: /passphrase opens it/ });
  await assert.rejects(openDatabase(name, { passphrase: "Größe 13" }), { name: "PassphraseError" });
  await assert.rejects(openDatabase(name, DEVICE), { name: "LockedError" });
  assert.equal(await everything(name), before);
  const again = await openDatabase(name, { passphrase: "Gro\u0308ße 12" }); // the same letters in another Unicode form
  assert.equal(integer(again, "SELECT count(*) FROM t"), 20);
  assert.deepEqual(again.protection, { passphrase: true, deviceKey: false, thisDevice: false });
  await again.close();
});

test("the device key opens without being asked for and gives its bytes to nobody", async () => {
  const name = fresh();
  await (await noted(name, DEVICE)).close();
  assert.equal(await readable(name), false);
  const device = (await stored(name, "meta")).find(([key]) => key === "device")![1].key as CryptoKey;
  await assert.rejects(crypto.subtle.exportKey("raw", device));
  const again = await openDatabase(name);
  assert.equal(integer(again, "SELECT count(*) FROM t"), 20);
  await again.close();
  assert.deepEqual(await protectionOf(name), { passphrase: false, deviceKey: true, thisDevice: true });
  await assert.rejects(openDatabase(name, { passphrase: "any" }), { name: "LockedError" });
  await alter(name, "meta", (meta) => meta.delete("device"));
  await assert.rejects(openDatabase(name), { name: "LockedError", message: /not here/ });
});

test("a reader sees a sealed database, and closing overwrites what it held in memory", async () => {
  const name = fresh();
  const writer = await noted(name, DEVICE);
  const reader = await openDatabase(name);
  assert.deepEqual([reader.writable, integer(reader, "SELECT count(*) FROM t")], [false, 20]);
  await assert.rejects(reader.rekey({}, { passphrase: "x" }), { name: "ReadOnlyError" });
  const page = (reader as any).connection.file.extent(0);
  assert.ok(page.some((byte: number) => byte));
  await reader.close();
  assert.ok(page.every((byte: number) => !byte));
  await writer.close();
});

test("another passphrase writes keys and head only; the old one opens nothing any more", async () => {
  const name = fresh();
  const database = await noted(name, { passphrase: "old" });
  const data = async () => JSON.stringify([await stored(name, "log"), await stored(name, "base"), (await stored(name, "meta")).filter(([key]) => key === "manifest")]);
  const before = await data();
  await assert.rejects(database.rekey({ passphrase: "wrong" }, { passphrase: "new" }), { name: "PassphraseError" });
  await database.rekey({ passphrase: "old" }, { passphrase: "new", deviceKey: true });
  assert.equal(await data(), before);
  database.run("DELETE FROM t WHERE id = 1");
  await database.close();
  await assert.rejects(openDatabase(name, { passphrase: "old" }), { name: "PassphraseError" });
  for (const secret of [{ passphrase: "new" }, {}, DEVICE]) {
    const again = await openDatabase(name, secret);
    assert.equal(integer(again, "SELECT count(*) FROM t"), 19);
    await again.close();
  }
  const last = await openDatabase(name);
  await assert.rejects(last.rekey({}, {}), { name: "StorageError", message: /needs a passphrase or a device key/ });
  await last.rekey({}, { passphrase: "third" }); // the device key is known here, so it can be the one that agrees
  await last.close();
  assert.deepEqual(await protectionOf(name), { passphrase: true, deviceKey: false, thisDevice: false });
  await assert.rejects(openDatabase(name), { name: "LockedError" });
});

test("a plain database is sealed and unsealed while it is written to, and nothing is lost", async () => {
  const name = fresh();
  const database = await noted(name, {}, 300);
  assert.equal(await readable(name), true);
  assert.equal(await protectionOf(name), undefined);
  const sealing = database.protect(DEVICE);
  let written = 300;
  for (let i = 0; i < 40; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    database.run("INSERT INTO t (body) VALUES (?)", row(NOTE));
    written++;
  }
  await sealing;
  await database.flush();
  assert.equal(await readable(name), false);
  await database.close();
  let again = await openDatabase(name);
  assert.deepEqual([integer(again, "SELECT count(*) FROM t"), text(again, "PRAGMA integrity_check")], [written, "ok"]);
  await again.protect(null);
  again.run("DELETE FROM t WHERE id > 10");
  await again.close();
  assert.equal(await readable(name), true);
  again = await openDatabase(name);
  assert.deepEqual([integer(again, "SELECT count(*) FROM t"), again.protection], [10, null]);
  await again.close();
});

test("sealing that fails leaves the database plain and whole", async (context) => {
  const name = fresh();
  const database = await noted(name, {});
  const before = await everything(name);
  const put = context.mock.method(IDBObjectStore.prototype, "put", () => {
    throw new DOMException("full", "QuotaExceededError");
  });
  await assert.rejects(database.protect(DEVICE));
  put.mock.restore();
  assert.equal(await everything(name), before);
  database.run("DELETE FROM t WHERE id = 1");
  await database.close();
  const again = await openDatabase(name);
  assert.deepEqual([integer(again, "SELECT count(*) FROM t"), again.protection], [19, null]);
  await again.close();
});

test("a secret for a database that is not sealed is refused", async () => {
  const name = fresh();
  await (await noted(name, {})).close();
  const before = await everything(name);
  await assert.rejects(openDatabase(name, { passphrase: "x" }), { name: "StorageError", message: /not sealed/ });
  await assert.rejects(openDatabase(name, DEVICE), { name: "StorageError", message: /not sealed/ });
  assert.equal(await everything(name), before);
});

test("a replacement of a sealed database is sealed too", async () => {
  const name = fresh();
  const database = await noted(name, DEVICE);
  const source = await noted(":memory:", {}, 7);
  const candidate = database.candidate(source.export());
  await database.replace(candidate);
  await candidate.close();
  await database.close();
  assert.equal(await readable(name), false);
  const again = await openDatabase(name);
  assert.equal(integer(again, "SELECT count(*) FROM t"), 7);
  await again.close();
});

test("a sealed file opens with its passphrase alone, and tells any change of its records", async () => {
  const source = await noted(":memory:", {}, 200);
  const image = source.export();
  const sealed = await sealedFile(image, "travel");
  assert.equal(Buffer.from(sealed).includes("Zanzibar"), false);
  assert.deepEqual(await openSealedFile(sealed, "travel"), image);
  await assert.rejects(openSealedFile(sealed, "wrong"), { name: "PassphraseError" });
  await assert.rejects(openSealedFile(image, "travel"), { name: "StorageError" });
  await assert.rejects(openSealedFile(sealed.subarray(0, sealed.length - 4096), "travel"), { name: "CorruptError" });
  const altered = sealed.slice();
  altered[altered.length - 20_000]! ^= 1;
  await assert.rejects(openSealedFile(altered, "travel"), { name: /TamperedError|CorruptError/ });
});

// Attacks: a database with every kind of record, as it was at two moments, and another one of the same kind.

type Place = [store: string, key: IDBValidKey];
interface Victim {
  name: string;
  now: Map<string, [Place, unknown]>;
  old: Map<string, [Place, unknown]>;
}
let victim: Victim, stranger: Victim;

async function contents(name: string): Promise<Map<string, [Place, unknown]>> {
  const found = new Map<string, [Place, unknown]>();
  for (const store of ["meta", "log", "base"]) for (const [key, value] of await stored(name, store)) found.set(`${store} ${String(key)}`, [[store, key], value]);
  return found;
}

async function prepared(): Promise<Victim> {
  const name = fresh();
  const database = await noted(name, DEVICE, 250);
  await database.scrub(); // into extents
  const old = await contents(name);
  database.run("UPDATE t SET body = body || '!'");
  await database.flush();
  await database.scrub();
  for (let i = 0; i < 3; i++) {
    database.run("UPDATE t SET body = 'last' WHERE id < 40");
    await database.flush();
  }
  await database.rekey({}, DEVICE);
  const meta = new Map(await stored(name, "meta"));
  await database.close();
  await alter(name, "meta", (objects) => objects.put(meta.get("device"), "device"));
  return { name, now: await contents(name), old };
}

async function restore({ name, now }: Victim): Promise<void> {
  const idb = (await connect(name, false))!;
  const transaction = idb.transaction(["meta", "log", "base"], "readwrite");
  for (const store of ["meta", "log", "base"]) transaction.objectStore(store).clear();
  for (const [[store, key], value] of now.values()) transaction.objectStore(store).put(value, key);
  await new Promise((resolve) => (transaction.oncomplete = resolve));
  idb.close();
}

/** Changes what is stored, expects it to be refused and left as it is, and puts everything back. */
async function refused(what: string, attack: () => Promise<void>): Promise<void> {
  await attack();
  const before = await everything(victim.name);
  for (const options of [{}, { readonly: true }]) {
    const opening = openDatabase(victim.name, options).then((database) => database.close());
    await assert.rejects(opening, (error: Error) => ["CorruptError", "TamperedError", "NewerError", "LockedError"].includes(error.name) || assert.fail(`${what}: ${error}`), what);
  }
  assert.equal(await everything(victim.name), before, what);
  await restore(victim);
}

const put = ([store, key]: Place, value: unknown) => alter(victim.name, store, (objects) => objects.put(value, key));
const bytesOf = (value: any): Uint8Array | undefined => (value instanceof Uint8Array ? value : value.body instanceof Uint8Array ? value.body : undefined);
const withBytes = (value: any, bytes: Uint8Array) => (value instanceof Uint8Array ? bytes : { ...value, body: bytes });
const records = () => [...victim.now].filter(([, [, value]]) => bytesOf(value));

before(async () => {
  [victim, stranger] = [await prepared(), await prepared()];
  const kinds = new Set([...victim.now.keys()].map((key) => key.split(",")[0]!.replace(/\d+$/, "")));
  assert.deepEqual([...kinds].sort(), ["base ", "log ", "meta device", "meta head", "meta keys", "meta manifest"]);
  await (await openDatabase(victim.name)).close(); // whole, it opens
});

test("a bit flipped anywhere in any record is found", async () => {
  for (const [what, [place, value]] of records()) {
    const bytes = bytesOf(value)!;
    for (const at of [0, 13, 40, bytes.length >> 1, bytes.length - 1]) {
      const flipped = bytes.slice();
      flipped[at]! ^= 1 << (at % 8);
      await refused(`${what}, byte ${at}`, () => put(place, withBytes(value, flipped)));
    }
  }
});

test("a truncated, lengthened, emptied or deleted record is found", async () => {
  for (const [what, [place, value]] of records()) {
    const bytes = bytesOf(value)!;
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    for (const other of [bytes.slice(0, -1), bytes.slice(0, 20), new Uint8Array(0), longer]) {
      await refused(`${what} of ${other.length} bytes`, () => put(place, withBytes(value, other)));
    }
    await refused(`no ${what}`, () => alter(victim.name, place[0], (objects) => objects.delete(place[1])));
  }
});

test("two records swapped are found", async () => {
  for (const store of ["log", "base"]) {
    const some = records().filter(([, [place]]) => place[0] === store);
    for (let i = 1; i < some.length; i++) {
      const [[a, [placeA, valueA]], [b, [placeB, valueB]]] = [some[i - 1]!, some[i]!];
      await refused(`${a} and ${b} swapped`, async () => {
        await put(placeA, valueB);
        await put(placeB, valueA);
      });
    }
  }
});

test("an older record put back is found, of every kind", async () => {
  let tried = 0;
  for (const [what, [place, value]] of victim.old) {
    if (!victim.now.has(what) || place[1] === "device") continue;
    tried++;
    await refused(`the older ${what}`, () => put(place, value));
  }
  assert.ok(tried > 4);
  const first = records().find(([, [place]]) => place[0] === "log")!;
  const last = records().filter(([, [place]]) => place[0] === "log").at(-1)!;
  await refused("an older record of the log in the place of the last", () => put(last[1][0], first[1][1]));
});

test("the log cut after an earlier commit is found", async () => {
  const log = records().filter(([, [place]]) => place[0] === "log");
  for (let keep = 0; keep < log.length; keep++) {
    await refused(`${keep} of ${log.length} records of the log`, async () => {
      for (const [, [place]] of log.slice(keep)) await alter(victim.name, "log", (objects) => objects.delete(place[1]));
    });
  }
  const [, [place, value]] = log.at(-1)!;
  const [sequence, part] = place[1] as [number, number];
  await refused("a record too many", () => put(["log", [sequence + 1, part]], value));
});

test("a record of another memory is found, of every kind", async () => {
  for (const [what, [place, value]] of stranger.now) {
    if (place[1] === "device" || !victim.now.has(what)) continue;
    await refused(`a foreign ${what}`, () => put(place, value));
  }
});

test("a sealed memory passed off as a plain one, or with another epoch or commit, is refused", async () => {
  const head: any = victim.now.get("meta head")![1];
  for (const other of [{ format: 1 }, { format: 3 }, { format: 5 }, { epoch: head.epoch + 1 }, { sequence: head.sequence - 1 }, { sequence: head.sequence + 1 }, { body: undefined }]) {
    await refused(`a head with ${JSON.stringify(other)}`, () => put(["meta", "head"], { ...head, ...other }));
  }
  await refused("plain, without keys", async () => {
    await alter(victim.name, "meta", (meta) => meta.delete("keys"));
    await put(["meta", "head"], { ...head, format: 1 });
  });
});
