// A page that writes to the page store and tells what it was told, for tests that kill, reload, fill up and measure it.
// They call `globalThis.storage`; each acknowledged batch is reported on the console as "saved <batch>".
import { configure } from "../../src/bridge/assets";
import { deleteDatabase, openDatabase, type Database } from "../../src/bridge/database";
import { PackedRows } from "../../src/bridge/rows";

configure({ base: location.href });

const ROWS = 10; // in a batch
const BODY = 3500; // bytes of a row
const expected = (batch: string) => `printf('%.*c', ${BODY}, char(65 + ${batch} % 26))`; // the body of each row of a batch

const databases = new Map<string, Database>();
const lost: string[] = [];

const storage = {
  async open(name: string): Promise<{ writable: boolean }> {
    const database = await openDatabase(name);
    databases.set(name, database);
    void database.lost.then((reason) => reason && lost.push(reason));
    if (database.writable) database.run("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, batch INTEGER, touched INTEGER, body TEXT)");
    return { writable: database.writable };
  },

  /** Saves batches, numbered from the last one on, as fast as they are acknowledged; without `count` until the end. */
  async write(name: string, count = Infinity): Promise<void> {
    const database = databases.get(name)!;
    const first = integer(database, "SELECT coalesce(max(batch), 0) FROM rows") + 1;
    for (let batch = first; batch < first + count; batch++) {
      add(database, batch, ROWS);
      database.run(`UPDATE rows SET touched = ${batch} WHERE id % 97 = ${batch % 97}`); // pages all over the file
      await database.flush();
      console.log(`saved ${batch}`);
    }
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
  released: (name: string) => databases.get(name)!.released,
  remove: deleteDatabase,
  lost: () => lost,
  stored: async () => (await indexedDB.databases()).map(({ name }) => name),
};
export type Storage = typeof storage;
Object.assign(globalThis, { storage });

function add(database: Database, batch: number, rows: number): void {
  database.run("BEGIN");
  for (let row = 0; row < rows; row++) database.run(`INSERT INTO rows (batch, body) VALUES (${batch}, ${expected(String(batch))})`);
  database.run("COMMIT");
}

function integer(database: Database, sql: string): number {
  return Number(new PackedRows(database.query(sql)).integer(0));
}
