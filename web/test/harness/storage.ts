// A page that writes to the page store and tells what it was told, for tests that kill, reload, fill up and measure it.
// They call `globalThis.storage`; each acknowledged batch is reported on the console as "saved <batch>".
import { configure } from "../../src/bridge/assets";
import { deleteDatabase, openDatabase, type Database } from "../../src/bridge/database";
import type { Secret } from "../../src/bridge/keys";
import { PackedRows } from "../../src/bridge/rows";

configure({ base: location.href });

const ROWS = 10; // in a batch
const BODY = 3500; // bytes of a row
const expected = (batch: string) => `printf('%.*c', ${BODY}, char(65 + ${batch} % 26))`; // the body of each row of a batch

const databases = new Map<string, Database>();
const lost: string[] = [];
const roles: [what: string, why: string, at: number][] = []; // what this tab was told, and when by the clock

const storage = {
  async open(name: string, secret: Secret = {}): Promise<{ writable: boolean }> {
    const database = await openDatabase(name, secret);
    databases.set(name, database);
    void database.lost.then((reason) => reason && lost.push(reason));
    database.follow((what, why) => roles.push([what, why, performance.timeOrigin + performance.now()]));
    database.serve((call, request) => added(database, call, Number(request)));
    if (database.writable && integer(database, "SELECT count(*) FROM sqlite_schema") === 0) {
      database.run("CREATE TABLE calls (id TEXT PRIMARY KEY, batch INTEGER)");
      database.run("CREATE TABLE rows (id INTEGER PRIMARY KEY, batch INTEGER, touched INTEGER, body TEXT)");
      await database.flush();
    }
    return { writable: database.writable };
  },

  /** Saves batches, numbered from the last one on, as fast as they are acknowledged; without `count` until the end. */
  async write(name: string, count = Infinity, first?: number): Promise<void> {
    const database = databases.get(name)!;
    first ??= integer(database, "SELECT coalesce(max(batch), 0) FROM rows") + 1;
    for (let batch = first; batch < first + count; batch++) {
      add(database, batch, ROWS);
      database.run(`UPDATE rows SET touched = ${batch} WHERE id % 97 = ${batch % 97}`); // pages all over the file
      await database.flush();
      console.log(`saved ${batch}`);
    }
  },

  /** Has batches saved by whichever tab writes, one after the other; each acknowledged one is reported as "saved <batch>". */
  async ask(name: string, first: number, count = Infinity): Promise<number[]> {
    const took: number[] = [];
    for (let batch = first; batch < first + count; batch++) {
      const start = performance.now();
      await databases.get(name)!.call(`${first}-${batch}-${performance.timeOrigin}`, String(batch));
      took.push(performance.now() - start);
      console.log(`saved ${batch}`);
      if (count === Infinity && databases.get(name)!.writable) break; // there is nobody to ask any more
    }
    return took;
  },
  batches: (name: string) => new TextDecoder().decode(new PackedRows(databases.get(name)!.query("SELECT group_concat(batch) FROM (SELECT DISTINCT batch FROM rows)")).heap),
  roles: () => roles,
  takeOver: (name: string) => databases.get(name)!.takeOver(),
  compact: (name: string) => databases.get(name)!.compact(),
  forget: (name: string, below: number) => databases.get(name)!.run(`DELETE FROM rows WHERE batch < ${below}`),
  exported: async (name: string) => toBase64(databases.get(name)!.export()),
  async replace(name: string, image: string): Promise<void> {
    const candidate = databases.get(name)!.candidate(Uint8Array.from(atob(image), (one) => one.charCodeAt(0)));
    await databases.get(name)!.replace(candidate);
    await candidate.close();
  },
  async execute(name: string, sql: string): Promise<void> {
    databases.get(name)!.run(sql);
    await databases.get(name)!.flush();
  },

  /** What is in the database: how many batches, how many rows are not as they were written, what SQLite says of the file. */
  inspect(name: string): { batches: number; last: number; wrong: number; integrity: string; bytes: number } {
    const database = databases.get(name)!;
    return {
      batches: integer(database, "SELECT count(DISTINCT batch) FROM rows"),
      last: integer(database, "SELECT coalesce(max(batch), 0) FROM rows"),
      wrong:
        integer(database, `SELECT count(*) FROM rows WHERE body != ${expected("batch")}`) +
        integer(database, `SELECT count(*) FROM (SELECT count(*) AS n FROM rows GROUP BY batch) WHERE n != ${ROWS}`),
      integrity: new TextDecoder().decode(new PackedRows(database.query("PRAGMA integrity_check")).heap),
      bytes: database.size(),
    };
  },

  /** Fills the database to a size, and gives the log time to be folded. */
  async fill(name: string, bytes: number): Promise<void> {
    const database = databases.get(name)!;
    while (database.size() < bytes) {
      add(database, 0, 500);
      await database.flush();
    }
  },

  /** Milliseconds until `rows` more rows were durable. */
  async commit(name: string, rows: number): Promise<number> {
    const database = databases.get(name)!;
    const start = performance.now();
    add(database, 0, rows);
    await database.flush();
    return performance.now() - start;
  },

  flush: (name: string) => databases.get(name)!.flush(),
  close: (name: string) => databases.get(name)!.close(),
  role: (name: string) => databases.get(name)!.role,
  remove: deleteDatabase,
  lost: () => lost,
  stored: async () => (await indexedDB.databases()).map(({ name }) => name),
};
export type Storage = typeof storage;
Object.assign(globalThis, { storage });

/** A batch at the request of another tab, once for each call. */
async function added(database: Database, call: string, batch: number): Promise<string> {
  if (!integer(database, `SELECT count(*) FROM calls WHERE id = '${call}'`)) {
    database.run("BEGIN");
    for (let row = 0; row < ROWS; row++) database.run(`INSERT INTO rows (batch, body) VALUES (${batch}, ${expected(String(batch))})`);
    database.run(`INSERT INTO calls VALUES ('${call}', ${batch})`);
    database.run("COMMIT");
  }
  await database.flush();
  return "saved";
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let start = 0; start < bytes.length; start += 8192) text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  return btoa(text);
}

function add(database: Database, batch: number, rows: number): void {
  database.run("BEGIN");
  for (let row = 0; row < rows; row++) database.run(`INSERT INTO rows (batch, body) VALUES (${batch}, ${expected(String(batch))})`);
  database.run("COMMIT");
}

function integer(database: Database, sql: string): number {
  return Number(new PackedRows(database.query(sql)).integer(0));
}
