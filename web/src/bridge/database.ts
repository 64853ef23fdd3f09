// A SQLite database that lasts: sql.js over a PagedFile over IndexedDB. Reading and writing are synchronous and in memory,
// `flush` makes durable. One tab writes, others follow what it saved (see tabs.ts) and take its place when it is gone.
// The only user is pyruvllm/storage/sqljs.py. Errors are Failures: their `name` is a class of pyruvllm/errors.py.
import { Connection } from "./connection";
import { engine, type Engine } from "./engine";
import { Failure, failed } from "./failure";
import { remove } from "./indexeddb";
import type { Protection, Secret } from "./keys";
import { Membership, type Member, type Told } from "./membership";
import { PAGE, PagedFile } from "./pagedfile";
import { PageStore, type Plan } from "./pagestore";
import type { Perform } from "./tabs";
import { acquire, type Lock } from "./writer";

const IN_MEMORY = ":memory:";
const REST_MS = 100; // without a commit
const MAKING_MS = 10_000; // for another tab to save the first of a new database

export interface OpenOptions extends Secret {
  readonly?: boolean;
}

/**
 * Opens the database of that name, and makes it unless `readonly`. If another tab or worker holds the writer's lock the
 * result follows that one. ":memory:" lasts as long as the object. Opening an existing database writes nothing.
 * A passphrase or the device key opens a sealed database, and makes a new one sealed; rejects with LockedError, PassphraseError
 * and TamperedError.
 */
export async function openDatabase(name: string, { readonly = false, ...secret }: OpenOptions = {}): Promise<Database> {
  if (!globalThis.crypto?.subtle) throw new Failure("StorageError", "this page can keep nothing: that takes a secure origin, https or localhost");
  const sqlite = await engine();
  if (name === IN_MEMORY) {
    if (secret.passphrase !== undefined || secret.deviceKey) throw new Failure("StorageError", `"${name}" is kept in memory only: there is nothing to seal`);
    return new Database(name, sqlite, emptyFile(sqlite));
  }
  const begun = performance.now();
  for (;;) {
    const lock = readonly ? undefined : await acquire(name);
    try {
      return await Database.load(name, sqlite, readonly, lock, secret);
    } catch (error) {
      lock?.release();
      const making = error instanceof Missing && !readonly && performance.now() - begun < MAKING_MS;
      if (!making) throw failed(`opening the database "${name}"`, error);
    }
    await new Promise((resolve) => setTimeout(resolve, 50)); // another tab has the lock and has saved nothing yet
  }
}

/** There is no database of that name, and it is not for this tab to make it. */
class Missing extends Failure {}

/** Removes the database of that name and its IndexedDB. Other tabs that have it open are told that they lost it. */
export function deleteDatabase(name: string): Promise<void> {
  return remove(name);
}

export class Database {
  writable: boolean;
  durableMs = 0; // how long the last flush that wrote something took
  /** Resolves with the reason when this database stops being the writer, with null when it was closed as it should be. */
  readonly lost: Promise<string | null>;
  private connection: Connection;
  private lose!: (reason: string | null) => void;
  private queue: Promise<unknown> = Promise.resolve(); // commits, folds and replacements, one after the other
  private folding = false; // whether a further fold is queued
  private rest: ReturnType<typeof setTimeout> | undefined; // before folding
  private flushedAt = 0; // performance.now() when the last flush began or ended
  private replacing = false;
  private closed = false;
  private fenced: Failure | undefined;
  private others: Membership | undefined; // the other tabs; none in memory, read-only, or lost

  constructor(
    readonly name: string,
    private readonly engine: Engine,
    file: PagedFile,
    private store?: PageStore,
    lock?: Lock,
  ) {
    this.lost = new Promise((resolve) => (this.lose = resolve));
    this.connection = new Connection(engine, file);
    this.writable = !store || lock !== undefined;
    if (!this.writable) this.connection.forbidWrites();
  }

  static async load(name: string, sqlite: Engine, readonly: boolean, lock: Lock | undefined, secret: Secret): Promise<Database> {
    let database: Database | undefined;
    const store = new PageStore(name, () => database?.end(`the database "${name}" was deleted in another tab`), secret);
    try {
      const file = await store.load(lock !== undefined);
      if (!file && !lock) {
        const why = readonly ? "open it for writing to make it" : "another tab is just making it; try again";
        throw new Missing("StorageError", `there is no database named "${name}": ${why}`);
      }
      database = new Database(name, sqlite, file ?? emptyFile(sqlite), store, lock);
    } catch (error) {
      store.close();
      throw error;
    }
    if (readonly) store.close(); // it has all it will ever read
    else database.others = new Membership(database.member(store), lock);
    return database;
  }

  /** "writer"; "follower": another tab is, and does what is asked by `call`; "reader": nothing can be written here. */
  get role(): "writer" | "follower" | "reader" {
    return this.writable ? "writer" : this.others ? "follower" : "reader";
  }

  /** Whether other tabs can have it open. */
  get shared(): boolean {
    return this.others !== undefined;
  }

  /** From now on `told` hears of the other tabs, and a follower sees what the writer saves and takes its place. */
  follow(told: Told): void {
    this.others?.follow(told);
  }

  /** What calls of other tabs are done by, while this one is the writer. */
  serve(perform: Perform): void {
    this.others?.tabs.serve(perform);
  }

  /** Has the writer do something, and resolves with its answer when what it saved can be read here. */
  async call(call: string, request: string): Promise<string> {
    this.assertUsable();
    if (!this.others) throw new Failure("ReadOnlyError", `the database "${this.name}" is open read-only here`);
    const answer = await this.others.tabs.call(call, request);
    await this.refresh();
    return answer;
  }

  /** Becomes the writer. One that answers saves first; of one that does not, nothing that it acknowledged is lost. */
  async takeOver(): Promise<void> {
    if (!this.writable && !this.others) throw new Failure("ReadOnlyError", `the database "${this.name}" is open read-only here`);
    await this.others?.takeOver();
  }

  /** Takes in what the writer saved, if this is a follower. */
  async refresh(): Promise<void> {
    await this.others?.refresh();
  }

  run(sql: string, packed?: Uint8Array): number {
    this.assertUsable();
    return this.connection.run(sql, packed);
  }

  query(sql: string, packed?: Uint8Array): Uint8Array {
    this.assertUsable();
    return this.connection.query(sql, packed);
  }

  size(): number {
    return this.connection.file.size;
  }

  /** Resolves when all that was committed before the call is on disk. */
  async flush(): Promise<void> {
    this.assertUsable();
    const store = this.store;
    if (!store || (!this.writable && !this.fenced)) return;
    this.flushedAt = performance.now();
    await this.inTurn(() => this.commit(store));
    this.flushedAt = performance.now();
    if (this.writable) this.foldLater(store);
  }

  /** Flushes, and folds the whole log, so that what was deleted or overwritten before the call is in no record any more. */
  async scrub(): Promise<void> {
    this.assertUsable();
    const store = this.store;
    if (!store || (!this.writable && !this.fenced)) return;
    await this.inTurn(() =>
      this.guarded(async () => {
        await store.foldAll(this.connection.file);
        this.others?.tabs.saved();
      }),
    );
  }

  /** What opens this database; null if it is not sealed. */
  get protection(): Protection | null {
    return this.store?.protection ?? null;
  }

  /** Seals the stored database, so that `secret` opens it, or with null stores it plain. Wholly or not at all. */
  async protect(secret: Secret | null): Promise<void> {
    const store = this.writableStore();
    await this.inTurn(() => this.guarded(() => store.protect(this.connection.file, secret)));
    this.others?.tabs.saved();
  }

  /** From now on `next` opens the sealed database and nothing else does; `current` must open it now. No data is written. */
  async rekey(current: Secret, next: Secret): Promise<void> {
    const store = this.writableStore();
    await this.inTurn(() => this.guarded(() => store.rekey(current, next)));
    this.others?.tabs.saved();
  }

  /** The whole database as one ordinary SQLite file, whose bytes depend on its content alone: the twin of pyruvllm/storage/image.py. */
  export(): Uint8Array {
    this.assertUsable();
    const image = this.connection.file.image();
    image.fill(1, 18, 20); // no write-ahead log
    const header = new DataView(image.buffer);
    for (const at of [24, 40, 92]) header.setUint32(at, 1); // change counter, schema cookie, for which change counter the size holds
    header.setUint32(96, 3_000_000); // the version that wrote it
    return image;
  }

  /** Flushes, and gives pages without content back to the disk. On a full disk all stays as it was. */
  async compact(): Promise<void> {
    const smaller = new this.engine.sqlite.Database(this.export());
    let image: Uint8Array;
    try {
      smaller.run("VACUUM");
      image = smaller.export();
    } finally {
      smaller.close();
    }
    const candidate = this.candidate(image);
    try {
      await this.replace(candidate);
    } finally {
      await candidate.close();
    }
  }

  /** A read-only database over another SQLite file, to look at before `replace`. Rejects with CorruptError if the file is not sound. */
  candidate(image: Uint8Array): Database {
    const database = new Database(`the file to be put in the place of "${this.name}"`, this.engine, PagedFile.from(plain(this.engine, image)));
    try {
      database.connection.requireSound();
      database.writable = false;
      database.connection.forbidWrites();
      return database;
    } catch (error) {
      database.connection.close();
      throw error;
    }
  }

  /** Puts a candidate in the place of this database, durably and wholly, or rejects and leaves everything as it was. */
  async replace(candidate: Database): Promise<void> {
    this.assertUsable();
    if (!this.writable) throw new Failure("ReadOnlyError", `the database "${this.name}" is open read-only here`);
    this.replacing = true; // what was written meanwhile would be lost without a word
    try {
      const file = PagedFile.from(candidate.connection.file.image());
      const next = new Connection(this.engine, file);
      try {
        await this.inTurn(() => this.guarded(async () => this.store?.replace(file)));
        this.others?.tabs.saved();
      } catch (error) {
        next.close();
        throw error;
      }
      this.connection.close();
      this.connection = next;
    } finally {
      this.replacing = false;
    }
  }

  /** Flushes and gives the writer's lock back. */
  async close(): Promise<void> {
    if (this.closed) return;
    try {
      if (!this.fenced) await this.flush();
    } finally {
      await this.inTurn(async () => this.shut());
    }
  }

  private async commit(store: PageStore, plan?: Plan): Promise<void> {
    const start = performance.now();
    const written = await this.guarded(() => store.commit(this.connection.file, plan));
    if (!written) return;
    this.durableMs = performance.now() - start;
    this.others?.tabs.saved();
  }

  /** Folds the log once it is too long, when no commit has come for a while: one that comes meanwhile waits. Far too long: now. */
  private foldLater(store: PageStore): void {
    clearTimeout(this.rest);
    if (store.pressing) this.fold(store);
    else if (store.due) this.rest = setTimeout(() => this.fold(store), REST_MS);
  }

  /** In turns, one step in each, while the log is too long. */
  private fold(store: PageStore): void {
    if (this.folding) return;
    this.folding = true;
    this.inTurn(async () => {
      this.folding = false;
      if (this.closed || !this.writable) return;
      if (!store.pressing && performance.now() - this.flushedAt < REST_MS) return this.foldLater(store);
      if (!store.planned) await this.commit(store, "some");
      if (await this.guarded(() => store.foldSome())) this.fold(store);
    }).catch(() => undefined); // the log keeps what was not folded, and the next flush sees to it again
  }

  /** Runs work on the store, refuses it where the store can no longer be written, and notices when it was lost. */
  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    const broken = this.fenced ?? this.connection.broken;
    if (broken) throw broken;
    if (!this.writable) throw this.replaced();
    if (this.connection.file.detached) {
      throw new Failure("StorageError", `the file of "${this.name}" was truncated, later changes were not seen; open it again`);
    }
    try {
      return await work();
    } catch (error) {
      const failure = failed(`saving the database "${this.name}"`, error);
      if (failure.name === "FencedError") this.others?.stepDown(failure.message);
      throw failure;
    }
  }

  private shut(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.rest);
    this.end(null);
    this.store?.close();
    this.connection.close();
    if (this.protection) this.connection.file.wipe();
  }

  private writableStore(): PageStore {
    this.assertUsable();
    if (!this.store) throw new Failure("StorageError", `"${this.name}" is kept in memory only: there is nothing to seal`);
    if (!this.writable) throw new Failure("ReadOnlyError", `the database "${this.name}" is open read-only here`);
    return this.store;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(work);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  /** This database as its membership sees and changes it. */
  private member(store: PageStore): Member {
    const database = this;
    return {
      name: this.name,
      store,
      get file() {
        return database.connection.file;
      },
      get writable() {
        return database.writable;
      },
      set writable(writable) {
        database.writable = writable;
      },
      flush: () => this.flush(),
      forbid: () => this.forbid(),
      reconnect: (file) => this.reconnect(file),
      inTurn: (work) => this.inTurn(work),
      end: (reason) => this.end(reason),
    };
  }

  private forbid(): void {
    this.writable = false;
    this.connection.forbidWrites();
  }

  private reconnect(file: PagedFile): void {
    const next = new Connection(this.engine, file);
    const before = this.connection;
    this.connection = next;
    if (!this.writable) next.forbidWrites();
    before.close();
    if (before.file !== file && this.protection) before.file.wipe();
  }

  private replaced(): Failure {
    return new Failure("FencedError", `another tab writes the database "${this.name}" now; what this one had not saved was not written`);
  }

  /** Stops being the writer for good: `reason` is null if that was asked for. */
  private end(reason: string | null): void {
    if (reason !== null && this.writable && !this.connection.broken) {
      this.fenced = new Failure("FencedError", reason);
      this.connection.forbidWrites();
    }
    this.writable = false;
    this.others?.leave(reason ?? `the database "${this.name}" is closed`);
    this.others = undefined;
    this.lose(reason);
  }

  private assertUsable(): void {
    if (this.closed) throw new Failure("StorageError", `the database "${this.name}" is closed`);
    if (this.replacing) throw new Failure("StorageError", `the database "${this.name}" is being replaced`);
  }
}

/** A SQLite file of one page without any table. */
function emptyFile({ sqlite }: Engine): PagedFile {
  const database = new sqlite.Database();
  database.run(`PRAGMA page_size = ${PAGE}; PRAGMA schema_version = 1`); // the first write makes the file
  const image = database.export();
  database.close();
  return PagedFile.from(image);
}

/** `image` as the paged file can have it: rollback mode instead of WAL, and nothing that truncates the file. */
function plain({ sqlite }: Engine, image: Uint8Array): Uint8Array {
  if (image.length < 512 || new TextDecoder().decode(image.subarray(0, 15)) !== "SQLite format 3") {
    throw new Failure("CorruptError", `this is no SQLite file (${image.length} bytes)`);
  }
  const bytes = image.slice();
  bytes[18] = bytes[19] = 1; // read and write version: 2 is WAL, which needs shared memory
  const header = new DataView(bytes.buffer);
  const autoVacuum = header.getUint32(52) !== 0;
  if (!autoVacuum && header.getUint16(16) === PAGE) return bytes;
  const database = new sqlite.Database(bytes);
  try {
    database.run(`PRAGMA auto_vacuum = NONE; PRAGMA page_size = ${PAGE}; VACUUM`);
    return database.export();
  } catch (error) {
    throw new Failure("CorruptError", `this SQLite file is damaged: ${(error as Error).message}`, { cause: error });
  } finally {
    database.close();
  }
}
