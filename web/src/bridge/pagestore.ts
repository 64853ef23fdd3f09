// A PagedFile on disk: base image in extents, and on top of it a log of the pages that each commit changed.
//
// A commit is one strict readwrite transaction that writes its pages as log records and the head, so its cost is that
// of what changed. After it was acknowledged, a few of the extents that the log has changes of are written anew and the
// log loses what nobody needs any more. The epoch in the head fences: a writer whose epoch is not the stored one has been
// replaced, and writes nothing.
//
// Stores: meta {head, manifest}, log {[sequence, part]: pages}, base {extent number: bytes}.
import { Failure, failed } from "./failure";
import { completed, connect } from "./indexeddb";
import { EXTENT, PAGE, PagedFile } from "./pagedfile";
import { RecordKind, seal, unseal, type Label } from "./records";

const FORMAT = 1;
const PAGES_PER_RECORD = 14; // 56 KB: values of 64 KB and more become files of their own, which is slow
const RECORDS_PER_READ = 64;
const EXTENTS_PER_READ = 16; // 4 MB
const LEAST_FOLD = 4; // extents per step: 1 MB
const MOST_FOLD = 16;
const LOG_HEADER = 8; // bytes: pages in this record, records in this commit (uint32 each)

/** What decides which commit is the last one. Written in each commit. `format`, `epoch` and `sequence` are read before unsealing. */
interface Head {
  format: number;
  epoch: number; // counts writers
  sequence: number; // counts commits
  body: Uint8Array; // sealed HeadBody, as JSON
}
interface HeadBody {
  size: number; // of the file, bytes
  manifest: number; // which manifest belongs to it; 0 for none
  logFrom: number; // first sequence that is needed from the log
}
interface Fold {
  sequence: number; // the commit whose state the copies are
  size: number;
  extents: [number: number, bytes: Uint8Array][];
}
/** Everything read in one transaction, so of one moment. */
interface Stored {
  head: Head | undefined;
  manifest: unknown;
  extents: Map<number, unknown>;
  log: { sequence: number; part: number; record: unknown }[];
}

export class PageStore {
  private idb: IDBDatabase | undefined;
  private claimed = false; // whether this.epoch is ours; it is claimed by the first commit, since opening must not write
  private epoch = 0;
  private sequence = 0;
  private manifest = 0;
  private logFrom = 1;
  private generations: number[] = []; // by extent: the commit whose state the base has; 0 where the base has none
  private firstLogged = new Map<number, number>(); // by extent: the first commit that only the log has, oldest first
  private logBytes = new Map<number, number>(); // by commit
  private fold: Fold | undefined;

  /** `gone` is told when another tab deletes the database. */
  constructor(
    readonly name: string,
    private readonly gone: () => void,
  ) {}

  /** Reads the whole file; undefined if nothing was ever committed. Writes nothing. */
  async load(create: boolean): Promise<PagedFile | undefined> {
    this.idb = await this.connected(create);
    if (!this.idb) return undefined;
    let stored: Stored;
    try {
      stored = await read(this.idb);
    } catch (error) {
      throw failed(`reading the database "${this.name}"`, error);
    }
    return this.decode(stored);
  }

  /**
   * Writes the pages that changed since the last commit. Resolves when they are on disk: false if there were none.
   * On failure the pages stay marked as changed, and the disk has the commit before. `foldAll` plans a fold however short the log is.
   */
  async commit(file: PagedFile, foldAll = false): Promise<boolean> {
    const pages = file.takeDirty();
    const sequence = pages.length ? this.sequence + 1 : this.sequence;
    const size = file.size;
    const bodies = logBodies(file, pages); // copies: the file may change while they are on their way
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    const extents = pages.map((page) => Math.floor((page * PAGE) / EXTENT));
    this.fold = this.planFold(file, sequence, bytes, extents, foldAll);
    if (!pages.length) return false;
    try {
      const records = await Promise.all(bodies.map((body, part) => seal([RecordKind.Log, sequence, part], body)));
      await this.write(["meta", "log"], sequence, { size, manifest: this.manifest, logFrom: this.logFrom }, (transaction) => {
        const log = transaction.objectStore("log");
        records.forEach((record, part) => log.put(record, [sequence, part]));
      });
    } catch (error) {
      file.markDirty(pages);
      this.fold = undefined;
      throw failed(`saving changes of the database "${this.name}"`, error);
    }
    this.sequence = sequence;
    this.logBytes.set(sequence, bytes);
    for (const extent of extents) if (!this.firstLogged.has(extent)) this.firstLogged.set(extent, sequence);
    return true;
  }

  /** Carries out what the last commit planned: a few extents of the base anew, and less log. True if the log is still too long. */
  async foldSome(): Promise<boolean> {
    const fold = this.fold;
    this.fold = undefined;
    if (!fold) return false;
    const generations = this.generations.slice();
    const firstLogged = new Map(this.firstLogged);
    for (const [extent] of fold.extents) {
      generations[extent] = fold.sequence;
      firstLogged.delete(extent);
    }
    const logFrom = Math.min(fold.sequence + 1, ...firstLogged.values());
    const manifest = this.manifest + 1;
    const records = await Promise.all(
      fold.extents.map(async ([extent, bytes]) => [extent, await seal([RecordKind.Extent, extent, fold.sequence], bytes)] as const),
    );
    const manifestRecord = await sealManifest(manifest, generations);
    await this.write(["meta", "log", "base"], fold.sequence, { size: fold.size, manifest, logFrom }, (transaction) => {
      transaction.objectStore("meta").put(manifestRecord, "manifest");
      for (const [extent, record] of records) transaction.objectStore("base").put(record, extent);
      if (logFrom > this.logFrom) transaction.objectStore("log").delete(IDBKeyRange.upperBound([logFrom, 0], true));
    });
    Object.assign(this, { generations, firstLogged, manifest, logFrom });
    for (const sequence of this.logBytes.keys()) if (sequence < logFrom) this.logBytes.delete(sequence);
    return this.logSize > logLimit(fold.size);
  }

  /** Puts another file in the place of everything stored, in one transaction. */
  async replace(file: PagedFile): Promise<void> {
    const pages = file.takeDirty();
    const sequence = this.sequence + 1;
    const manifest = this.manifest + 1;
    const generations = Array.from({ length: file.extentCount }, () => sequence);
    const state = { generations, manifest, logFrom: sequence + 1 };
    try {
      const records = await Promise.all(generations.map((_, extent) => seal([RecordKind.Extent, extent, sequence], file.extent(extent))));
      const manifestRecord = await sealManifest(manifest, generations);
      await this.write(["meta", "log", "base"], sequence, { size: file.size, manifest, logFrom: state.logFrom }, (transaction) => {
        transaction.objectStore("log").clear();
        transaction.objectStore("base").clear();
        records.forEach((record, extent) => transaction.objectStore("base").put(record, extent));
        transaction.objectStore("meta").put(manifestRecord, "manifest");
      });
    } catch (error) {
      file.markDirty(pages);
      throw failed(`replacing the database "${this.name}"`, error);
    }
    Object.assign(this, state, { sequence, firstLogged: new Map(), logBytes: new Map(), fold: undefined });
  }

  close(): void {
    this.idb?.close();
    this.idb = undefined;
  }

  /** Whether some extent of the base is older than the log. */
  get logged(): boolean {
    return this.firstLogged.size > 0;
  }

  private get logSize(): number {
    let bytes = 0;
    for (const count of this.logBytes.values()) bytes += count;
    return bytes;
  }

  /** Copies of the extents whose changes are oldest in the log. Called when the file is exactly in the state of `sequence`. */
  private planFold(file: PagedFile, sequence: number, bytes: number, touched: number[], all: boolean): Fold | undefined {
    const limit = logLimit(file.size);
    const waiting = [...new Set([...this.firstLogged.keys(), ...touched])];
    if (!waiting.length || (!all && this.logSize + bytes <= limit)) return undefined;
    const share = all ? MOST_FOLD : Math.ceil((waiting.length * bytes) / limit); // one round of all extents per `limit` bytes of log
    const count = Math.min(MOST_FOLD, Math.max(LEAST_FOLD, share));
    return { sequence, size: file.size, extents: waiting.slice(0, count).map((extent) => [extent, file.extent(extent).slice()]) };
  }

  private async write(stores: string[], sequence: number, body: HeadBody, put: (transaction: IDBTransaction) => void): Promise<void> {
    const epoch = this.claimed ? this.epoch : this.epoch + 1;
    const sealed = await seal([RecordKind.Head, epoch, sequence], new TextEncoder().encode(JSON.stringify(body)));
    const head: Head = { format: FORMAT, epoch, sequence, body: sealed };
    const transaction = await this.begin(stores);
    const meta = transaction.objectStore("meta");
    let fenced = false;
    const current = meta.get("head") as IDBRequest<Head | undefined>;
    current.onsuccess = () => {
      fenced = !this.owns(current.result);
      if (fenced) return transaction.abort();
      meta.put(head, "head");
      put(transaction);
      transaction.commit();
    };
    try {
      await completed(transaction);
    } catch (error) {
      if (fenced) {
        throw new Failure("FencedError", `another tab writes the database "${this.name}" now; what this one had not saved was not written`);
      }
      throw error;
    }
    this.epoch = epoch;
    this.claimed = true;
  }

  /** Whether the stored head is the one that this store knows. What a claimed epoch wrote is ours, even if its success went unseen. */
  private owns(head: Head | undefined): boolean {
    if (!head) return this.epoch === 0;
    return head.epoch === this.epoch && (this.claimed || head.sequence === this.sequence);
  }

  /** A strict readwrite transaction; a connection that the browser has dropped is opened again. */
  private async begin(stores: string[]): Promise<IDBTransaction> {
    for (let again = false; ; again = true) {
      this.idb ??= await this.connected(this.epoch === 0);
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

  private async decode({ head, manifest, extents, log }: Stored): Promise<PagedFile | undefined> {
    if (!head) {
      if (extents.size || log.length) throw damaged("its head is missing");
      return undefined;
    }
    if (head.format > FORMAT) {
      throw new Failure("NewerError", `the database "${this.name}" has format ${head.format}, this version reads up to ${FORMAT}; nothing was changed`);
    }
    if (head.format !== FORMAT) throw damaged(`its head has format ${head.format}`);
    const body: HeadBody = JSON.parse(new TextDecoder().decode(await unseal([RecordKind.Head, head.epoch, head.sequence], head.body)));
    const { epoch, sequence } = head;
    Object.assign(this, { epoch, sequence, manifest: body.manifest, logFrom: body.logFrom });
    if (this.manifest) {
      const bytes = (await unseal([RecordKind.Manifest, this.manifest, 0], manifest)).slice();
      this.generations = [...new Float64Array(bytes.buffer)];
    }
    const base = await Promise.all(
      this.generations.flatMap((generation, extent) =>
        generation ? [unseal([RecordKind.Extent, extent, generation], extents.get(extent)).then((bytes) => [extent, bytes] as [number, Uint8Array])] : [],
      ),
    );
    const file = PagedFile.loaded(body.size, base);
    await this.replay(file, log);
    return file;
  }

  /** Puts the logged pages over the base. Every record from `logFrom` to the last commit must be there. */
  private async replay(file: PagedFile, log: Stored["log"]): Promise<void> {
    const bodies = await Promise.all(log.map(({ sequence, part, record }) => unseal([RecordKind.Log, sequence, part] as Label, record)));
    let expected = this.logFrom;
    let part = 0;
    log.forEach((entry, i) => {
      if (entry.sequence !== expected || entry.part !== part) throw damaged(`its log lacks record ${expected}/${part}`);
      const body = bodies[i]!;
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const count = view.getUint32(0);
      this.logBytes.set(expected, (this.logBytes.get(expected) ?? 0) + body.length);
      for (let n = 0; n < count; n++) {
        const page = view.getUint32(LOG_HEADER + 4 * n);
        const extent = Math.floor((page * PAGE) / EXTENT);
        if (expected <= (this.generations[extent] ?? 0)) continue; // the base has it already
        const start = LOG_HEADER + 4 * count + n * PAGE;
        file.extent(extent).set(body.subarray(start, start + PAGE), page * PAGE - extent * EXTENT);
        if (!this.firstLogged.has(extent)) this.firstLogged.set(extent, expected);
      }
      part++;
      if (part === view.getUint32(4)) {
        expected++;
        part = 0;
      }
    });
    if (expected !== this.sequence + 1) throw damaged(`its log ends before record ${expected}/${part} of commit ${this.sequence}`);
  }
}

function damaged(how: string): Failure {
  return new Failure("CorruptError", `the stored database is damaged: ${how}; nothing was overwritten`);
}

/** How long the log may get, in bytes, before it is folded: reading it takes longer than reading the base. */
function logLimit(size: number): number {
  return Math.min(32 << 20, Math.max(4 << 20, size / 4));
}

function logBodies(file: PagedFile, pages: number[]): Uint8Array[] {
  const records = Math.ceil(pages.length / PAGES_PER_RECORD);
  return Array.from({ length: records }, (_, part) => {
    const some = pages.slice(part * PAGES_PER_RECORD, (part + 1) * PAGES_PER_RECORD);
    const body = new Uint8Array(LOG_HEADER + some.length * (4 + PAGE));
    const view = new DataView(body.buffer);
    view.setUint32(0, some.length);
    view.setUint32(4, records);
    some.forEach((page, n) => {
      view.setUint32(LOG_HEADER + 4 * n, page);
      body.set(file.page(page), LOG_HEADER + 4 * some.length + n * PAGE);
    });
    return body;
  });
}

function sealManifest(number: number, generations: number[]): Promise<Uint8Array> {
  const filled = Float64Array.from(generations, (generation) => generation ?? 0);
  return seal([RecordKind.Manifest, number, 0], new Uint8Array(filled.buffer));
}

/** Everything that is stored, in one readonly transaction: no commit of a writer falls between its parts. */
async function read(idb: IDBDatabase): Promise<Stored> {
  const transaction = idb.transaction(["meta", "log", "base"], "readonly");
  const done = completed(transaction);
  const meta = transaction.objectStore("meta");
  const stored: Stored = { head: undefined, manifest: undefined, extents: new Map(), log: [] };
  const head = meta.get("head");
  head.onsuccess = () => (stored.head = head.result);
  const manifest = meta.get("manifest");
  manifest.onsuccess = () => (stored.manifest = manifest.result);
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
