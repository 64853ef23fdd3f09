// A sealed memory as one file that goes between browsers and native Python: the records of docs/sealing.md in the tables of a
// SQLite file. Natively a sealed memory lives in such a file, so a file may have a log too.
import { openDatabase, type Database } from "./database";
import { Failure } from "./failure";
import { Keys } from "./keys";
import { PagedFile } from "./pagedfile";
import { RecordKind } from "./records";
import { PackedRows, RowPacker, ValueKind } from "./rows";
import { decoded, unlocked, type HeadBody, type Stored } from "./stored";

const APPLICATION_ID = 0x50527653; // "PRvS"; a plain memory has "PRvL"
const FORMAT = 2; // a log, where there is one, has whole pages only
const TABLES = [
  "CREATE TABLE meta (kind INTEGER PRIMARY KEY, first INTEGER, second INTEGER, record BLOB)",
  "CREATE TABLE log (place INTEGER PRIMARY KEY, record BLOB)", // sequence * 65536 + part
  "CREATE TABLE base (extent INTEGER PRIMARY KEY, record BLOB)",
];
const PARTS = 65536;

/** A plain SQLite file, sealed under new keys that the passphrase opens. */
export async function sealedFile(image: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const keys = await Keys.made({ passphrase });
  const file = PagedFile.from(image);
  const generations = new Float64Array(file.extentCount).fill(1);
  const body: HeadBody = { size: file.size, manifest: 1, logFrom: 2, keys: keys.generation };
  const { records } = keys;
  const container = await openDatabase(":memory:");
  try {
    for (const sql of [`PRAGMA application_id = ${APPLICATION_ID}`, `PRAGMA user_version = ${FORMAT}`, ...TABLES]) container.run(sql);
    const meta = [
      [RecordKind.Keys, keys.generation, 0, keys.record],
      [RecordKind.Manifest, 1, 0, await records.seal([RecordKind.Manifest, 1, 0], new Uint8Array(generations.buffer))],
      [RecordKind.Head, 1, 1, await records.seal([RecordKind.Head, 1, 1], new TextEncoder().encode(JSON.stringify(body)))],
    ] as const;
    for (const row of meta) container.run("INSERT INTO meta VALUES (?, ?, ?, ?)", packed(...row));
    for (let extent = 0; extent < file.extentCount; extent++) {
      container.run("INSERT INTO base VALUES (?, ?)", packed(extent, await records.seal([RecordKind.Extent, extent, 1], file.extent(extent))));
    }
    return container.export();
  } finally {
    await container.close();
  }
}

/** The plain SQLite file in a sealed one. Rejects with PassphraseError, LockedError, CorruptError and TamperedError. */
export async function openSealedFile(bytes: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const name = "the sealed file";
  const host = await openDatabase(":memory:");
  let container: Database | undefined;
  try {
    container = host.candidate(bytes);
    if (number(container, "PRAGMA application_id") !== APPLICATION_ID) throw new Failure("StorageError", "this file is not a sealed memory");
    const stored = contents(container);
    const found = await decoded(stored, await unlocked(name, stored, { passphrase }));
    if (!found) throw new Failure("CorruptError", `${name} holds nothing`);
    const image = found.file.image();
    found.file.wipe();
    return image;
  } finally {
    await container?.close();
    await host.close();
  }
}

function contents(container: Database): Stored {
  const stored: Stored = { head: undefined, manifest: undefined, keys: undefined, device: undefined, extents: new Map(), log: [] };
  for (const [kind, first, second, record] of rows(container, "SELECT kind, first, second, record FROM meta")) {
    if (kind === RecordKind.Head) stored.head = { format: number(container, "PRAGMA user_version"), epoch: first as number, sequence: second as number, body: record as Uint8Array };
    if (kind === RecordKind.Manifest) stored.manifest = record;
    if (kind === RecordKind.Keys) stored.keys = record;
  }
  for (const [extent, record] of rows(container, "SELECT extent, record FROM base ORDER BY extent")) stored.extents.set(extent as number, record);
  for (const [place, record] of rows(container, "SELECT place, record FROM log ORDER BY place")) {
    stored.log.push({ sequence: Math.floor((place as number) / PARTS), part: (place as number) % PARTS, record });
  }
  return stored;
}

function* rows(container: Database, sql: string): Generator<unknown[]> {
  const all = new PackedRows(container.query(sql));
  for (let row = 0; row < all.rows; row++) {
    yield Array.from({ length: all.columns }, (_, column) => {
      const value = row * all.columns + column;
      if (all.kinds[value] === ValueKind.Integer) return Number(all.integer(value));
      if (all.kinds[value] !== ValueKind.Blob) return undefined;
      const [offset, length] = all.span(value);
      return all.heap.subarray(offset, offset + length);
    });
  }
}

function number(container: Database, sql: string): number {
  return Number(new PackedRows(container.query(sql)).integer(0));
}

function packed(...values: (number | Uint8Array)[]): Uint8Array {
  const packer = new RowPacker();
  for (const value of values) {
    if (typeof value === "number") packer.integer(BigInt(value));
    else packer.bytes(ValueKind.Blob, value);
  }
  packer.endRow();
  return packer.packed(values.length);
}
