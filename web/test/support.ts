// What the bridge's tests share: IndexedDB and files in Node, and SQL without packed rows.
import "fake-indexeddb/auto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { configure } from "../src/bridge/assets";
import { Database } from "../src/bridge/database";
import { connect, settled } from "../src/bridge/indexeddb";
import { PackedRows, RowPacker, ValueKind } from "../src/bridge/rows";

configure({ read: (path) => readFile(join("web/node_modules/sql.js/dist", path.replace("wasm/", ""))) }); // tests run at the root

let count = 0;
/** A database name that no other test uses. */
export function fresh(): string {
  return `test-${++count}`;
}

/** Packs one row of integers, text and blobs. */
export function row(...values: (bigint | string | Uint8Array)[]): Uint8Array {
  const packer = new RowPacker();
  for (const value of values) {
    if (typeof value === "bigint") packer.integer(value);
    else if (typeof value === "string") packer.bytes(ValueKind.Text, new TextEncoder().encode(value));
    else packer.bytes(ValueKind.Blob, value);
  }
  packer.endRow();
  return packer.packed(values.length);
}

/** The one integer that a query gives. */
export function integer(database: Database, sql: string): number {
  return Number(new PackedRows(database.query(sql)).integer(0));
}

/** The one text that a query gives. */
export function text(database: Database, sql: string): string {
  return new TextDecoder().decode(new PackedRows(database.query(sql)).heap);
}

/** All that one object store of a database holds. */
export async function stored(name: string, store: string): Promise<[IDBValidKey, any][]> {
  const idb = (await connect(name, false))!;
  const objects = idb.transaction(store).objectStore(store);
  const [keys, values] = await Promise.all([settled(objects.getAllKeys()), settled(objects.getAll())]);
  idb.close();
  return keys.map((key, i) => [key, values[i]]);
}

export async function alter(name: string, store: string, change: (objects: IDBObjectStore) => IDBRequest): Promise<void> {
  const idb = (await connect(name, false))!;
  await settled(change(idb.transaction(store, "readwrite").objectStore(store)));
  idb.close();
}

/** All that is stored of a database, as one text to compare. */
export async function everything(name: string): Promise<string> {
  const stores = await Promise.all(["meta", "log", "base"].map((store) => stored(name, store)));
  return JSON.stringify(stores, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value));
}
