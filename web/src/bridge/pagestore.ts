// A PagedFile on disk: base image in extents, and on top of it a log of what each commit changed.
//
// A commit is one strict readwrite transaction that writes its changes as log records and the head, so its cost is that
// of what changed. After it was acknowledged, a few of the extents that the log has changes of are written anew and the
// log loses what nobody needs any more. The epoch in the head fences: a writer whose epoch is not the stored one has been
// replaced, and writes nothing.
//
// Stores: meta {head, manifest, and of a sealed memory keys, device}, log {[sequence, part]: changes}, base {extent number: bytes}.
import { Failure, failed } from "./failure";
import { completed, connect, settled } from "./indexeddb";
import { Keys, protectionIn, type Protection, type Secret } from "./keys";
import { newer, take, type Newer } from "./newer";
import { logBodies } from "./logrecord";
import { PagedFile, extentOf, type Change } from "./pagedfile";
import { RecordKind, equal, plainRecords, type Records } from "./records";
import { PLAIN, SEALED, atTheStart, decoded, inTurns, read, unlocked, type Head, type HeadBody, type Position } from "./stored";

const LEAST_FOLD = 4; // extents that are planned at once: 1 MB
const MOST_FOLD = 16;
const FOLD_STEP = 2; // of them in one transaction: a commit that comes meanwhile waits for no more

export type Plan = "none" | "some" | "all"; // what of the log a commit makes ready to be folded

interface Fold {
  sequence: number; // the commit whose state the copies are
  size: number;
  extents: [number: number, bytes: Uint8Array][];
}

export class PageStore {
  private idb: IDBDatabase | undefined;
  private claimed = false; // whether the epoch is ours; it is claimed by the first commit, since opening must not write
  private at: Position = atTheStart();
  private keys: Keys | undefined; // of a sealed memory
  private keysStored = true;
  private fold: Fold | undefined;
  private unplanned = 0; // bytes of log since a fold was planned

  /** `gone` is told when another tab deletes the database. `secret` opens a sealed one, and makes a new one sealed. */
  constructor(
    readonly name: string,
    private readonly gone: () => void,
    private secret: Secret = {},
  ) {}

  /** Reads the whole file; undefined if nothing was ever committed. Writes nothing. */
  async load(create: boolean): Promise<PagedFile | undefined> {
    const { passphrase, deviceKey } = this.secret;
    this.idb = await this.connected(create);
    if (!this.idb) return undefined;
    const stored = await this.reading(read);
    this.keys = await unlocked(this.name, stored, this.secret);
    this.secret = {};
    const found = await decoded(stored, this.keys);
    if (found) this.at = found.position;
    else if (passphrase !== undefined || deviceKey) {
      this.keys = await Keys.made({ passphrase, deviceKey });
      this.keysStored = false;
    }
    return found?.file;
  }

  /** The same after another writer has committed, whatever this store knew or had begun; under the same keys. */
  async reload(): Promise<PagedFile | undefined> {
    const found = await decoded(await this.reading(read), this.keys);
    Object.assign(this, { at: found?.position ?? atTheStart(), claimed: false, fold: undefined });
    return found?.file;
  }

  /** What another writer committed since; undefined if nothing was. It counts as known only after `take`. */
  newer(): Promise<Newer | undefined> {
    return newer(this.name, this.at, this.keys, (work) => this.reading(work));
  }

  take(file: PagedFile, found: Newer): void {
    take(file, this.at, found);
  }

  /** Makes this the writer's store before anything is written: for who took the lock away from one that may still be alive. */
  async claim(): Promise<void> {
    await this.write(["meta"], this.at.sequence, this.at, () => undefined);
  }

  get protection(): Protection | undefined {
    return this.keys?.protection;
  }

  /**
   * Writes what changed since the last commit. Resolves when it is on disk: false if there was nothing.
   * On failure it stays marked as changed, and the disk has the commit before. What an earlier commit planned to fold is forgotten.
   * `plan` makes copies for `foldSome` of extents that the log has changes of: of some where it is too long, or of all.
   */
  async commit(file: PagedFile, plan: Plan = "none"): Promise<boolean> {
    const changes = file.takeDirty();
    const sequence = changes.length ? this.at.sequence + 1 : this.at.sequence;
    const size = file.size;
    const bodies = logBodies(file, changes);
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    const extents = changes.map(({ page }) => extentOf(page));
    this.unplanned += bytes;
    this.fold = plan === "none" ? undefined : this.planFold(file, sequence, bytes, extents, plan === "all");
    if (!changes.length) return false;
    try {
      const records = await sealLog(this.records, sequence, bodies);
      await this.write(["meta", "log"], sequence, { size, manifest: this.at.manifest, logFrom: this.at.logFrom }, (transaction) => {
        const log = transaction.objectStore("log");
        records.forEach((record, part) => log.put(record, [sequence, part]));
      });
    } catch (error) {
      file.markDirty(changes);
      this.fold = undefined;
      throw failed(`saving changes of the database "${this.name}"`, error);
    }
    this.at.logBytes.set(sequence, bytes);
    for (const extent of extents) if (!this.at.firstLogged.has(extent)) this.at.firstLogged.set(extent, sequence);
    return true;
  }

  /** Carries out some of what the last commit planned: a few extents of the base anew, and less log. True if there is more to do. */
  async foldSome(most = this.longerThan(3) ? MOST_FOLD : FOLD_STEP): Promise<boolean> {
    if (!this.fold) return false;
    const fold = { ...this.fold, extents: this.fold.extents.slice(0, most) };
    const left = { ...this.fold, extents: this.fold.extents.slice(most) };
    this.fold = undefined;
    const generations = this.at.generations.slice();
    const firstLogged = new Map(this.at.firstLogged);
    for (const [extent] of fold.extents) {
      generations[extent] = fold.sequence;
      firstLogged.delete(extent);
    }
    const logFrom = Math.min(fold.sequence + 1, ...firstLogged.values());
    const manifest = this.at.manifest + 1;
    const records = await inTurns(fold.extents, async ([extent, bytes]) => {
      return [extent, await this.records.seal([RecordKind.Extent, extent, fold.sequence], bytes)] as const;
    });
    const manifestRecord = await sealManifest(this.records, manifest, generations);
    await this.write(["meta", "log", "base"], fold.sequence, { size: fold.size, manifest, logFrom }, (transaction) => {
      transaction.objectStore("meta").put(manifestRecord, "manifest");
      for (const [extent, record] of records) transaction.objectStore("base").put(record, extent);
      if (logFrom > this.at.logFrom) transaction.objectStore("log").delete(IDBKeyRange.upperBound([logFrom, 0], true));
    });
    Object.assign(this.at, { generations, firstLogged, manifest, logFrom });
    for (const sequence of this.at.logBytes.keys()) if (sequence < logFrom) this.at.logBytes.delete(sequence);
    if (left.extents.length) this.fold = left;
    return this.planned || this.due;
  }

  /** Whether something that a commit planned is still to be folded. */
  get planned(): boolean {
    return this.fold !== undefined;
  }

  /** Whether the log is longer than it should be. */
  get due(): boolean {
    return this.longerThan(1);
  }

  /** Whether it is so long that folding can wait for no better time. */
  get pressing(): boolean {
    return this.longerThan(2);
  }

  /** Commits, and leaves nothing to the log. */
  async foldAll(file: PagedFile): Promise<void> {
    do {
      await this.commit(file, "all");
      await this.foldSome(MOST_FOLD);
    } while (this.at.firstLogged.size);
  }

  /** Puts another file in the place of everything stored, in one transaction, under the same keys. */
  async replace(file: PagedFile): Promise<void> {
    try {
      await this.rewrite(file, this.keys);
    } catch (error) {
      throw failed(`replacing the database "${this.name}"`, error);
    }
  }

  /** Seals everything under new keys, or with null stores everything plain, in one transaction. The file may change meanwhile. */
  async protect(file: PagedFile, secret: Secret | null): Promise<void> {
    try {
      await this.rewrite(file, secret ? await Keys.made(secret) : undefined);
    } catch (error) {
      throw failed(`${secret ? "sealing" : "unsealing"} the database "${this.name}"`, error);
    }
  }

  /** From now on `next` opens it, and nothing else. Only the keys and the head are written. */
  async rekey(current: Secret, next: Secret): Promise<void> {
    if (!this.keys) throw new Failure("StorageError", `"${this.name}" is not sealed: there is no key to change`);
    const before = this.keys;
    const stored = this.keysStored;
    try {
      this.keys = await before.rewrapped(this.name, current, next);
      this.keysStored = false;
      if (this.at.sequence) await this.write(["meta"], this.at.sequence, this.at, () => undefined);
    } catch (error) {
      this.keys = before;
      this.keysStored = stored;
      throw failed(`changing the key of the database "${this.name}"`, error);
    }
  }

  close(): void {
    this.idb?.close();
    this.idb = undefined;
  }

  private get records(): Records {
    return this.keys?.records ?? plainRecords;
  }

  /** Whether the log is longer than so many times what it may be. */
  private longerThan(times: number): boolean {
    return this.logSize > times * logLimit(this.at.size);
  }

  private get logSize(): number {
    let bytes = 0;
    for (const count of this.at.logBytes.values()) bytes += count;
    return bytes;
  }

  /**
   * Writes every extent anew, under `keys`. Extents are sealed one after the other, so what was written to the file while that
   * went on is added as one commit of the log: copied in one go, it makes all of it the state of that moment.
   */
  private async rewrite(file: PagedFile, keys: Keys | undefined): Promise<void> {
    const before = this.keys;
    const stored = this.keysStored;
    const changes = file.takeDirty();
    let later: Change[] = [];
    const base = this.at.sequence + 1;
    const manifest = this.at.manifest + 1;
    const generations = Array.from({ length: file.extentCount }, () => base);
    const records = keys?.records ?? plainRecords;
    try {
      const extents = await inTurns(generations, (_, extent) => records.seal([RecordKind.Extent, extent, base], file.extent(extent)));
      const manifestRecord = await sealManifest(records, manifest, generations);
      later = file.takeDirty();
      const size = file.size;
      const bodies = logBodies(file, later);
      const sequence = later.length ? base + 1 : base;
      const log = await sealLog(records, sequence, bodies);
      this.keys = keys;
      this.keysStored = false;
      await this.write(["meta", "log", "base"], sequence, { size, manifest, logFrom: base + 1 }, (transaction) => {
        transaction.objectStore("log").clear();
        transaction.objectStore("base").clear();
        extents.forEach((record, extent) => transaction.objectStore("base").put(record, extent));
        log.forEach((record, part) => transaction.objectStore("log").put(record, [sequence, part]));
        transaction.objectStore("meta").put(manifestRecord, "manifest");
      });
      const firstLogged = new Map(later.map(({ page }) => [extentOf(page), sequence]));
      const logBytes = new Map(later.length ? [[sequence, bodies.reduce((sum, body) => sum + body.length, 0)]] : []);
      Object.assign(this.at, { generations, manifest, logFrom: base + 1, firstLogged, logBytes });
      this.fold = undefined;
    } catch (error) {
      this.keys = before;
      this.keysStored = stored;
      file.markDirty(changes);
      file.markDirty(later);
      throw error;
    }
  }

  /** Copies of the extents whose changes are oldest in the log. Called when the file is exactly in the state of `sequence`. */
  private planFold(file: PagedFile, sequence: number, bytes: number, touched: number[], all: boolean): Fold | undefined {
    const limit = logLimit(file.size);
    const waiting = [...new Set([...this.at.firstLogged.keys(), ...touched])];
    if (!waiting.length || (!all && this.logSize + bytes <= limit)) return undefined;
    const share = all ? MOST_FOLD : Math.ceil((waiting.length * this.unplanned) / limit); // one round of all extents per `limit` bytes of log
    const count = Math.min(MOST_FOLD, Math.max(LEAST_FOLD, share));
    this.unplanned = 0;
    return { sequence, size: file.size, extents: waiting.slice(0, count).map((extent) => [extent, file.extent(extent).slice()]) };
  }

  private async write(stores: string[], sequence: number, state: HeadBody, put: (transaction: IDBTransaction) => void): Promise<void> {
    const epoch = this.claimed ? this.at.epoch : this.at.epoch + 1;
    const { keys, keysStored } = this;
    const body: HeadBody = { size: state.size, manifest: state.manifest, logFrom: state.logFrom, keys: keys?.generation };
    const sealed = await this.records.seal([RecordKind.Head, epoch, sequence], new TextEncoder().encode(JSON.stringify(body)));
    const head: Head = { format: keys ? SEALED : PLAIN, epoch, sequence, body: sealed };
    const transaction = await this.begin(stores);
    const meta = transaction.objectStore("meta");
    let fenced = false;
    const current = meta.get("head") as IDBRequest<Head | undefined>;
    current.onsuccess = () => {
      fenced = !this.owns(current.result);
      if (fenced) transaction.abort(); // what was asked for meanwhile is undone
      else transaction.commit();
    };
    const written = completed(transaction);
    try {
      meta.put(head, "head");
      if (!keysStored) putKeys(meta, keys);
      put(transaction);
    } catch (error) {
      transaction.abort();
      await written.catch(() => undefined);
      throw error;
    }
    try {
      await written;
    } catch (error) {
      if (fenced) {
        throw new Failure("FencedError", `another tab writes the database "${this.name}" now; what this one had not saved was not written`);
      }
      throw error;
    }
    Object.assign(this.at, { epoch, sequence, size: state.size });
    this.claimed = true;
    this.keysStored = true;
  }

  /**
   * Whether the stored head is the one that this store knows. What a claimed epoch wrote is ours, even if its success went unseen. Else the
   * body counts too: one before may have folded since, or changed the keys, which leaves the epoch and the sequence as they were.
   */
  private owns(head: Head | undefined): boolean {
    const { at } = this;
    if (!head) return at.epoch === 0;
    if (head.epoch !== at.epoch) return false;
    return this.claimed || (head.sequence === at.sequence && at.head !== undefined && equal(head.body, at.head));
  }

  /** A strict readwrite transaction; a connection that the browser has dropped is opened again. */
  private async begin(stores: string[]): Promise<IDBTransaction> {
    for (let again = false; ; again = true) {
      this.idb ??= await this.connected(this.at.epoch === 0);
      if (!this.idb) {
        this.gone();
        throw new Failure("FencedError", `the database "${this.name}" was deleted in another tab`);
      }
      try {
        return this.idb.transaction(stores, "readwrite", { durability: "strict" });
      } catch (error) {
        if (again || (error as Error).name !== "InvalidStateError") throw error;
        this.idb = undefined;
      }
    }
  }

  /** Reads; over a connection that the browser has dropped, once more. */
  private async reading<T>(work: (idb: IDBDatabase) => Promise<T>): Promise<T> {
    for (let again = false; ; again = true) {
      this.idb ??= await this.connected(false);
      if (!this.idb) throw new Failure("FencedError", `the database "${this.name}" was deleted in another tab`);
      const idb = this.idb;
      try {
        return await work(idb);
      } catch (error) {
        if (again || (this.idb === idb && (error as Error).name !== "InvalidStateError")) throw failed(`reading the database "${this.name}"`, error);
        this.idb = undefined;
      }
    }
  }

  private async connected(create: boolean): Promise<IDBDatabase | undefined> {
    const idb = await connect(this.name, create);
    if (!idb) return undefined;
    idb.onclose = () => (this.idb = undefined);
    idb.onversionchange = () => {
      this.close();
      this.gone();
    };
    return idb;
  }
}

/** What opens the database of that name; undefined if it is plain or not there. */
export async function protectionOf(name: string): Promise<Protection | undefined> {
  const idb = await connect(name, false);
  if (!idb) return undefined;
  try {
    const meta = idb.transaction("meta").objectStore("meta");
    const [keys, device] = await Promise.all([settled(meta.get("keys")), settled(meta.get("device"))]);
    return keys === undefined ? undefined : await protectionIn(keys, device);
  } finally {
    idb.close();
  }
}

function putKeys(meta: IDBObjectStore, keys: Keys | undefined): void {
  if (keys) meta.put(keys.record, "keys");
  else meta.delete("keys");
  if (keys?.device) meta.put(keys.device, "device");
  else meta.delete("device");
}

/** How long the log may get, in bytes, before it is folded: reading it takes longer than reading the base. */
function logLimit(size: number): number {
  return Math.min(32 << 20, Math.max(4 << 20, size / 4));
}

function sealLog(records: Records, sequence: number, bodies: Uint8Array[]): Promise<Uint8Array[]> {
  return Promise.all(bodies.map((body, part) => records.seal([RecordKind.Log, sequence, part], body)));
}

function sealManifest(records: Records, number: number, generations: number[]): Promise<Uint8Array> {
  const filled = Float64Array.from(generations, (generation) => generation ?? 0);
  return records.seal([RecordKind.Manifest, number, 0], new Uint8Array(filled.buffer));
}
