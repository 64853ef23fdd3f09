// What another tab committed since this one looked, read in one moment and checked like everything that is stored.
import { Failure } from "./failure";
import { completed } from "./indexeddb";
import type { Keys } from "./keys";
import { putGranules, readLogBody } from "./logrecord";
import { extentOf, type Change, type PagedFile } from "./pagedfile";
import { RecordKind, plainRecords } from "./records";
import { damaged, inTurns, isSealed, type Head, type HeadBody, type Position, type Stored } from "./stored";

const ATTEMPTS = 10;

/** `changes` are in the order of their commits. */
export interface Newer extends HeadBody {
  epoch: number;
  sequence: number;
  head: Uint8Array;
  generations: number[];
  extents: [number: number, bytes: Uint8Array][];
  changes: [change: Change, content: Uint8Array, sequence: number][];
  logBytes: Map<number, number>;
}

type Reading = <T>(work: (idb: IDBDatabase) => Promise<T>) => Promise<T>;

/** Undefined if nothing was committed since `at`. Where the log does not reach back so far, the extents that changed are read too. */
export async function newer(name: string, at: Position, keys: Keys | undefined, reading: Reading): Promise<Newer | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const first = await reading((idb) => readSince(idb, at.sequence, []));
    if (!first.head) return undefined;
    const body = await headBody(name, first.head, keys);
    if (first.head.epoch === at.epoch && first.head.sequence === at.sequence && body.manifest === at.manifest) return undefined;
    const generations = body.manifest === at.manifest ? at.generations : await manifestBody(body.manifest, first.manifest, keys);
    const behind = body.logFrom > at.sequence + 1;
    const stale = behind ? generations.flatMap((generation, extent) => (generation > at.sequence ? [extent] : [])) : [];
    const all = stale.length ? await reading((idb) => readSince(idb, at.sequence, stale)) : first;
    const again = all === first ? body : await headBody(name, all.head!, keys);
    if (all.head!.sequence !== first.head.sequence || again.manifest !== body.manifest) continue; // it went on meanwhile
    return difference(all, body, generations, behind ? body.logFrom : at.sequence + 1, keys);
  }
  throw new Failure("StorageError", `the database "${name}" changes faster than it can be read`);
}

/** Brings the file and the position to what `newer` found, in one step. */
export function take(file: PagedFile, at: Position, found: Newer): void {
  const { size, extents, changes, generations, epoch, sequence, head, manifest, logFrom } = found;
  file.take(size, extents);
  for (const [{ page, mask }, content, committed] of changes) {
    if (committed > (generations[extentOf(page)] ?? 0) || !extents.length) putGranules(file.page(page), mask, content);
  }
  for (const [{ page }, , committed] of changes) if (!at.firstLogged.has(extentOf(page))) at.firstLogged.set(extentOf(page), committed);
  for (const [extent, logged] of at.firstLogged) {
    const generation = generations[extent] ?? 0;
    if (logged > generation) continue;
    at.firstLogged.delete(extent);
    if (sequence > generation) at.firstLogged.set(extent, generation + 1); // the next one is not known exactly: no earlier than this
  }
  for (const [committed, bytes] of found.logBytes) at.logBytes.set(committed, bytes);
  for (const committed of at.logBytes.keys()) if (committed < logFrom) at.logBytes.delete(committed);
  Object.assign(at, { epoch, sequence, head, size, manifest, logFrom, generations });
}

async function headBody(name: string, head: Head, keys: Keys | undefined): Promise<HeadBody> {
  const changed = () => new Failure("LockedError", `how "${name}" is protected was changed in another tab: open it again`);
  if (isSealed(head) !== (keys !== undefined)) throw changed();
  let bytes: Uint8Array;
  try {
    bytes = await (keys?.records ?? plainRecords).unseal([RecordKind.Head, head.epoch, head.sequence], head.body);
  } catch (error) {
    throw keys ? changed() : error;
  }
  const body: HeadBody = JSON.parse(new TextDecoder().decode(bytes));
  if (body.keys !== keys?.generation) throw changed();
  return body;
}

async function manifestBody(number: number, record: unknown, keys: Keys | undefined): Promise<number[]> {
  if (!number) return [];
  const bytes = (await (keys?.records ?? plainRecords).unseal([RecordKind.Manifest, number, 0], record)).slice();
  return [...new Float64Array(bytes.buffer)];
}

/** Unseals what was read from the commit `expected` on, of which every record must be there. */
async function difference(stored: Stored, body: HeadBody, generations: number[], expected: number, keys: Keys | undefined): Promise<Newer> {
  const records = keys?.records ?? plainRecords;
  const { epoch, sequence, body: head } = stored.head!;
  const extents = await inTurns([...stored.extents], async ([extent, record]): Promise<[number, Uint8Array]> => {
    return [extent, await records.unseal([RecordKind.Extent, extent, generations[extent]!], record)];
  });
  const log = stored.log.filter((entry) => entry.sequence >= expected);
  const bodies = await inTurns(log, (entry) => records.unseal([RecordKind.Log, entry.sequence, entry.part], entry.record));
  const found: Newer = { ...body, epoch, sequence, head, generations, extents, changes: [], logBytes: new Map() };
  let part = 0;
  log.forEach((entry, i) => {
    if (entry.sequence !== expected || entry.part !== part) throw damaged(`its log lacks record ${expected}/${part}`);
    const parts = readLogBody(bodies[i]!, (change, content) => found.changes.push([change, content, entry.sequence]));
    found.logBytes.set(expected, (found.logBytes.get(expected) ?? 0) + bodies[i]!.length);
    part++;
    if (part === parts) {
      expected++;
      part = 0;
    }
  });
  if (expected !== sequence + 1) throw damaged(`its log ends before record ${expected}/${part} of commit ${sequence}`);
  return found;
}

/** The head, the log after a commit, and some extents. */
async function readSince(idb: IDBDatabase, sequence: number, extents: number[]): Promise<Stored> {
  const transaction = idb.transaction(["meta", "log", "base"], "readonly");
  const done = completed(transaction);
  const stored: Stored = { head: undefined, manifest: undefined, keys: undefined, device: undefined, extents: new Map(), log: [] };
  for (const name of ["head", "manifest"] as const) {
    const one = transaction.objectStore("meta").get(name);
    one.onsuccess = () => (stored[name] = one.result);
  }
  for (const extent of extents) {
    const one = transaction.objectStore("base").get(extent);
    one.onsuccess = () => stored.extents.set(extent, one.result);
  }
  const after = IDBKeyRange.lowerBound([sequence + 1, 0]);
  const log = transaction.objectStore("log");
  const [numbers, records] = [log.getAllKeys(after), log.getAll(after)];
  records.onsuccess = () => (numbers.result as [number, number][]).forEach(([sequence, part], n) => stored.log.push({ sequence, part, record: records.result[n] }));
  await done;
  return stored;
}
