// Big files that last, such as models: in the origin's private file system where a worker can read and write it in place, else in
// IndexedDB in chunks. Beside them notes: small records that are replaced whole.
import { BlobFile } from "./blobfile";
import { Failure, failed } from "./failure";
import { completed, settled } from "./indexeddb";
import { type Buffer, give, type OpenFile, short, sizeOf, taken } from "./openfile";

export interface Files {
  readonly kind: "opfs" | "indexeddb";
  sizes(): Promise<Record<string, number>>;
  open(name: string, write: boolean): Promise<OpenFile>;
  remove(name: string): Promise<void>;
  note(name: string): Promise<Uint8Array | undefined>; // null would not be None in Python
  keep(name: string, data: Buffer | undefined): Promise<void>;
}

const FOLDER = "pyruvllm-models";
const DATABASE = "pyruvllm-files";
const CHUNK = 1 << 20; // bytes: records of this size are read fastest

let chosen: Promise<Files> | undefined;

/** The files of this origin; `kind` is for tests, which try both. */
export function openFiles(kind?: Files["kind"] | null): Promise<Files> {
  if (kind) return make(kind);
  chosen ??= choose().catch((error) => {
    chosen = undefined;
    throw error;
  });
  return chosen;
}

/** What a person dropped or chose: read where it lies, never copied whole. */
export function openBlob(blob: Blob): OpenFile {
  return new BlobFile(blob);
}

async function choose(): Promise<Files> {
  const inPlace = "FileSystemFileHandle" in globalThis && "createSyncAccessHandle" in FileSystemFileHandle.prototype;
  if (inPlace && globalThis.navigator?.storage?.getDirectory !== undefined) {
    try {
      return await make("opfs");
    } catch {
      // a private window of some browsers: it has the interface and refuses it
    }
  }
  return make("indexeddb");
}

async function make(kind: Files["kind"]): Promise<Files> {
  const database = await connect();
  if (kind === "indexeddb") return new ChunkedFiles(database);
  const root = await navigator.storage.getDirectory();
  return new PrivateFiles(database, await root.getDirectoryHandle(FOLDER, { create: true }));
}

async function connect(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    for (const store of ["notes", "sizes", "chunks"]) request.result.createObjectStore(store);
  };
  try {
    const database = await settled(request);
    database.onversionchange = () => database.close();
    return database;
  } catch (error) {
    throw failed("opening the store of model files", error);
  }
}

class Notes {
  constructor(protected readonly database: IDBDatabase) {}

  note(name: string): Promise<Uint8Array | undefined> {
    return settled(this.database.transaction("notes").objectStore("notes").get(name));
  }

  async keep(name: string, data: Buffer | undefined): Promise<void> {
    const bytes = data && taken(data);
    const transaction = this.database.transaction("notes", "readwrite", { durability: "strict" });
    if (bytes) transaction.objectStore("notes").put(bytes, name);
    else transaction.objectStore("notes").delete(name);
    await done("keeping a note of a model file", transaction);
  }
}

class PrivateFiles extends Notes implements Files {
  readonly kind = "opfs";

  constructor(database: IDBDatabase, private readonly folder: FileSystemDirectoryHandle) {
    super(database);
  }

  async sizes(): Promise<Record<string, number>> {
    const found: Record<string, number> = {};
    for await (const [name, handle] of this.folder.entries()) {
      if (handle.kind === "file") found[name] = (await (handle as FileSystemFileHandle).getFile()).size;
    }
    return found;
  }

  async open(name: string, write: boolean): Promise<OpenFile> {
    try {
      const handle = await this.folder.getFileHandle(name, { create: write });
      if (write) return new PrivateFile(await handle.createSyncAccessHandle());
      try {
        // several tabs may read one file at a time; browsers that do not know the mode lock it
        const open = handle.createSyncAccessHandle as (options: { mode: string }) => Promise<FileSystemSyncAccessHandle>;
        return new PrivateFile(await open.call(handle, { mode: "read-only" }));
      } catch {
        return new BlobFile(await handle.getFile());
      }
    } catch (error) {
      if ((error as Error).name === "NoModificationAllowedError") {
        throw busy();
      }
      throw failed(`opening the model file ${name}`, error);
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await this.folder.removeEntry(name);
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return;
      if ((error as Error).name === "NoModificationAllowedError") {
        throw new Failure("StorageError", "the model file is in use, here or in another tab: unload it there first", { cause: error });
      }
      throw failed(`deleting the model file ${name}`, error);
    }
  }
}

class PrivateFile implements OpenFile {
  constructor(private readonly handle: FileSystemSyncAccessHandle) {}

  get size(): number {
    return this.handle.getSize();
  }

  async readInto(offset: number, room: Buffer): Promise<void> {
    const view = room.getBuffer("u8");
    try {
      for (let at = 0; at < view.data.length; ) {
        const read = this.handle.read(view.data.subarray(at), { at: offset + at });
        if (!read) throw short(offset + at);
        at += read;
      }
    } catch (error) {
      throw failed("reading a model file", error);
    } finally {
      view.release();
    }
  }

  async append(data: Buffer): Promise<void> {
    const view = data.getBuffer("u8");
    const start = this.size;
    try {
      for (let at = 0; at < view.data.length; ) {
        const written = this.handle.write(view.data.subarray(at), { at: start + at });
        if (!written) throw new Failure("QuotaError", "the disk takes no more of the model file; what came is kept");
        at += written;
      }
    } catch (error) {
      this.handle.truncate(start);
      throw failed("writing a model file", error);
    } finally {
      view.release();
    }
  }

  async flush(): Promise<void> {
    this.handle.flush();
  }

  async close(): Promise<void> {
    this.handle.close();
  }
}

class ChunkedFiles extends Notes implements Files {
  readonly kind = "indexeddb";

  async sizes(): Promise<Record<string, number>> {
    const store = this.database.transaction("sizes").objectStore("sizes");
    const [names, sizes] = await Promise.all([settled(store.getAllKeys()), settled(store.getAll())]);
    return Object.fromEntries(names.map((name, at) => [name as string, sizes[at] as number]));
  }

  async open(name: string, write: boolean): Promise<OpenFile> {
    const size: number | undefined = await settled(this.database.transaction("sizes").objectStore("sizes").get(name));
    if (size === undefined && !write) throw new Failure("StorageError", `there is no model file ${name}`);
    const file = new ChunkedFile(this.database, name, size ?? 0);
    if (write) await file.begin();
    return file;
  }

  async remove(name: string): Promise<void> {
    const transaction = this.database.transaction(["sizes", "chunks"], "readwrite", { durability: "strict" });
    transaction.objectStore("sizes").delete(name);
    transaction.objectStore("chunks").delete(IDBKeyRange.bound([name], [name, []]));
    await done(`deleting the model file ${name}`, transaction);
  }
}

class ChunkedFile implements OpenFile {
  private tail = new Uint8Array(0); // of the last chunk, what there is of it
  private unsaved = false; // the tail is not in the database as it is
  private release: (() => void) | undefined; // of the lock that keeps other tabs from writing it

  constructor(private readonly database: IDBDatabase, private readonly name: string, public size: number) {}

  /** Reads the chunk that is not full yet, to go on with it. */
  async begin(): Promise<void> {
    this.release = await locked(`${DATABASE}:${this.name}`);
    if (this.size % CHUNK) this.tail = (await this.chunk(Math.floor(this.size / CHUNK))).slice(0, this.size % CHUNK);
    else if (!this.size) await this.put([]);
  }

  async readInto(offset: number, room: Buffer): Promise<void> {
    const length = sizeOf(room);
    if (offset + length > this.size) throw short(this.size);
    const part = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const number = Math.floor((offset + at) / CHUNK);
      const from = (offset + at) % CHUNK;
      const chunk = await this.chunk(number);
      const some = chunk.subarray(from, Math.min(chunk.length, from + length - at));
      if (!some.length) throw short(offset + at);
      part.set(some, at);
      at += some.length;
    }
    give(part, room);
  }

  async append(data: Buffer): Promise<void> {
    const before = { size: this.size, tail: this.tail };
    const bytes = taken(data);
    const full: Uint8Array[] = [];
    let at = 0;
    while (this.tail.length + bytes.length - at >= CHUNK) {
      const chunk = new Uint8Array(CHUNK);
      chunk.set(this.tail);
      chunk.set(bytes.subarray(at, at + CHUNK - this.tail.length), this.tail.length);
      at += CHUNK - this.tail.length;
      full.push(chunk);
      this.tail = new Uint8Array(0);
    }
    const tail = new Uint8Array(this.tail.length + bytes.length - at);
    tail.set(this.tail);
    tail.set(bytes.subarray(at), this.tail.length);
    this.tail = tail;
    this.size += bytes.length;
    this.unsaved = true;
    if (!full.length) return;
    try {
      await this.put(full);
    } catch (error) {
      Object.assign(this, before);
      throw error;
    }
  }

  async flush(): Promise<void> {
    if (this.unsaved) await this.put([]);
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.tail = new Uint8Array(0);
      this.release?.();
    }
  }

  /** Writes the chunks before the tail, the tail and the size in one transaction. */
  private async put(full: Uint8Array[]): Promise<void> {
    const transaction = this.database.transaction(["sizes", "chunks"], "readwrite", { durability: "strict" });
    const chunks = transaction.objectStore("chunks");
    const next = Math.floor(this.size / CHUNK);
    for (const [place, chunk] of full.entries()) chunks.put(chunk, [this.name, next - full.length + place]);
    if (this.tail.length) chunks.put(this.tail, [this.name, next]);
    transaction.objectStore("sizes").put(this.size, this.name);
    await done("writing a model file", transaction);
    this.unsaved = false;
  }

  private async chunk(number: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.unsaved && number === Math.floor(this.size / CHUNK)) return this.tail;
    const found: Uint8Array<ArrayBuffer> | undefined = await settled(this.database.transaction("chunks").objectStore("chunks").get([this.name, number]));
    if (!found) throw new Failure("CorruptError", `a part of the model file ${this.name} is missing: delete it and download it again`);
    return found;
  }
}

const busy = (): Failure => new Failure("StorageError", "another tab works on this model file: wait until it is done, or close that tab");

/** Takes a lock of the origin; what it resolves to gives it back. Rejects where it is taken; without locks there is nothing to take. */
function locked(name: string): Promise<(() => void) | undefined> {
  const locks = globalThis.navigator?.locks;
  if (!locks) return Promise.resolve(undefined);
  return new Promise((resolve, reject) => {
    const taken = locks.request(name, { ifAvailable: true }, (lock) => (lock ? new Promise<void>((release) => resolve(release)) : reject(busy())));
    taken.catch(reject);
  });
}

async function done(doing: string, transaction: IDBTransaction): Promise<void> {
  try {
    await completed(transaction);
  } catch (error) {
    throw failed(doing, error);
  }
}
