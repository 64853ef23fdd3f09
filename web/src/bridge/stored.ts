// What is stored of a memory, read in one moment, and the file that it means. Every record is checked on the way, so that a
// damaged, swapped, missing or outdated one is found before anything is made of it.
import { Failure } from "./failure";
import { completed } from "./indexeddb";
import { Keys, type DeviceKey, type Secret } from "./keys";
import { putGranules, readLogBody } from "./logrecord";
import { PagedFile, extentOf } from "./pagedfile";
import { RecordKind, plainRecords, type Label, type Records } from "./records";

export const PLAIN = 3; // formats of the head, as written; 1 and 2 are the same with nothing but whole pages in their log
export const SEALED = 4;
const FORMATS = [1, 2, PLAIN, SEALED];
const RECORDS_PER_READ = 64;
const EXTENTS_PER_READ = 16; // 4 MB
const AT_ONCE = 8; // records between which checking goes round; all at once would hold a large file three times

/** What decides which commit is the last one. Written in each commit. `format`, `epoch` and `sequence` are read before unsealing. */
export interface Head {
  format: number;
  epoch: number; // counts writers
  sequence: number; // counts commits
  body: Uint8Array; // sealed HeadBody, as JSON
}
export interface HeadBody {
  size: number; // of the file, bytes
  manifest: number; // which manifest belongs to it; 0 for none
  logFrom: number; // first sequence that is needed from the log
  keys?: number; // of a sealed memory: which keys record belongs to it
}
/** Everything read in one transaction, so of one moment. */
export interface Stored {
  head: Head | undefined;
  manifest: unknown;
  keys: unknown; // undefined in a plain memory
  device: DeviceKey | undefined;
  extents: Map<number, unknown>;
  log: { sequence: number; part: number; record: unknown }[];
}
/** Where the store stands with what it has on disk. */
export interface Position {
  epoch: number;
  sequence: number;
  head?: Uint8Array; // body of the head that was read
  size: number;
  manifest: number;
  logFrom: number;
  generations: number[]; // by extent: the commit whose state the base has; 0 where the base has none
  firstLogged: Map<number, number>; // by extent: the first commit that only the log has, oldest first
  logBytes: Map<number, number>; // by commit
}

export function atTheStart(): Position {
  return { epoch: 0, sequence: 0, size: 0, manifest: 0, logFrom: 1, generations: [], firstLogged: new Map(), logBytes: new Map() };
}

export function isSealed(head: Head): boolean {
  return head.format % 2 === 0;
}

/** Opens the keys of what is stored; undefined for a plain memory. Rejects where `secret` does not fit. */
export async function unlocked(name: string, { head, keys, device }: Stored, secret: Secret): Promise<Keys | undefined> {
  if (head && head.format > SEALED) {
    throw new Failure("NewerError", `the database "${name}" has format ${head.format}, this version reads up to ${SEALED}; nothing was changed`);
  }
  if (head && !FORMATS.includes(head.format)) throw damaged(`its head has format ${head.format}`);
  const wanted = secret.passphrase !== undefined || secret.deviceKey === true;
  if (keys === undefined && (!head || !isSealed(head))) {
    if (head && wanted) throw new Failure("StorageError", `"${name}" is not sealed: open it without a passphrase or device key, then protect it`);
    return undefined;
  }
  if (!head || !isSealed(head) || keys === undefined) throw tampered("its keys and its head do not belong together");
  return Keys.opened(name, keys, device, secret);
}

/** The file that is stored and the position that belongs to it; undefined if nothing was ever committed. */
export async function decoded(stored: Stored, keys: Keys | undefined): Promise<{ file: PagedFile; position: Position } | undefined> {
  const { head, manifest, extents, log } = stored;
  if (!head) {
    if (extents.size || log.length) throw damaged("its head is missing");
    return undefined;
  }
  const records = keys?.records ?? plainRecords;
  const { epoch, sequence } = head;
  const body: HeadBody = JSON.parse(new TextDecoder().decode(await records.unseal([RecordKind.Head, epoch, sequence], head.body)));
  requireRoom(body.size);
  if (keys && body.keys !== keys.generation) throw tampered("its keys are not those of its last commit");
  const position: Position = { ...atTheStart(), epoch, sequence, head: head.body, size: body.size, manifest: body.manifest, logFrom: body.logFrom };
  if (position.manifest) {
    const bytes = (await records.unseal([RecordKind.Manifest, position.manifest, 0], manifest)).slice();
    position.generations = [...new Float64Array(bytes.buffer)];
  }
  const based = position.generations.flatMap((generation, extent) => (generation ? [[extent, generation] as const] : []));
  const base = await inTurns(based, async ([extent, generation]) => {
    const record = extents.get(extent);
    extents.delete(extent);
    return [extent, await records.unseal([RecordKind.Extent, extent, generation], record)] as [number, Uint8Array];
  });
  const file = PagedFile.loaded(body.size, base);
  await replay(file, position, log, records);
  return { file, position };
}

/** Refuses what would exhaust the memory of this tab before it is unpacked. A quarter of the device's is what one tab may well hold. */
function requireRoom(size: number): void {
  const device = (globalThis.navigator as { deviceMemory?: number } | undefined)?.deviceMemory ?? 4; // GiB
  const most = Math.max(512, device * 256); // MiB
  if (size <= most * 2 ** 20) return;
  const text = `the database has ${Math.round(size / 2 ** 20)} MB, this tab can hold about ${most} MB; nothing was changed`;
  throw new Failure("StorageError", `${text}. Open it on a device with more memory, or export it there and open the file natively`);
}

/** Puts what was logged over the base. Every record from `logFrom` to the last commit must be there. */
async function replay(file: PagedFile, position: Position, log: Stored["log"], records: Records): Promise<void> {
  const bodies = await inTurns(log, ({ sequence, part, record }) => records.unseal([RecordKind.Log, sequence, part] as Label, record));
  let expected = position.logFrom;
  let part = 0;
  log.forEach((entry, i) => {
    if (entry.sequence !== expected || entry.part !== part) throw damaged(`its log lacks record ${expected}/${part}`);
    const body = bodies[i]!;
    position.logBytes.set(expected, (position.logBytes.get(expected) ?? 0) + body.length);
    const parts = readLogBody(body, ({ page, mask }, content) => {
      const extent = extentOf(page);
      if (expected <= (position.generations[extent] ?? 0)) return; // the base has it already
      putGranules(file.page(page), mask, content);
      if (!position.firstLogged.has(extent)) position.firstLogged.set(extent, expected);
    });
    part++;
    if (part === parts) {
      expected++;
      part = 0;
    }
  });
  if (expected !== position.sequence + 1) throw damaged(`its log ends before record ${expected}/${part} of commit ${position.sequence}`);
}

/** Does `work` for all, a few at a time, and keeps their order. */
export async function inTurns<Item, Result>(items: readonly Item[], work: (item: Item, place: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const place = next++;
      results[place] = await work(items[place]!, place);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

export function damaged(how: string): Failure {
  return new Failure("CorruptError", `the stored database is damaged: ${how}; nothing was overwritten`);
}

function tampered(how: string): Failure {
  return new Failure("TamperedError", `the stored database was altered: ${how}; nothing was overwritten`);
}

/** Everything that is stored, in one readonly transaction: no commit of a writer falls between its parts. */
export async function read(idb: IDBDatabase): Promise<Stored> {
  const transaction = idb.transaction(["meta", "log", "base"], "readonly");
  const done = completed(transaction);
  const meta = transaction.objectStore("meta");
  const stored: Stored = { head: undefined, manifest: undefined, keys: undefined, device: undefined, extents: new Map(), log: [] };
  for (const name of ["head", "manifest", "keys", "device"] as const) {
    const one = meta.get(name);
    one.onsuccess = () => (stored[name] = one.result);
  }
  readAll<number>(transaction.objectStore("base"), EXTENTS_PER_READ, (key, value) => stored.extents.set(key, value));
  readAll<[number, number]>(transaction.objectStore("log"), RECORDS_PER_READ, ([sequence, part], record) => stored.log.push({ sequence, part, record }));
  await done;
  return stored;
}

/** Reads a store in key order, `count` values a request. */
function readAll<Key extends IDBValidKey>(store: IDBObjectStore, count: number, take: (key: Key, value: unknown) => void): void {
  const keys = store.getAllKeys();
  keys.onsuccess = () => {
    for (let start = 0; start < keys.result.length; start += count) {
      const some = keys.result.slice(start, start + count) as Key[];
      const values = store.getAll(IDBKeyRange.bound(some[0], some.at(-1)));
      values.onsuccess = () => some.forEach((key, i) => take(key, values.result[i]));
    }
  };
}
