// The database file of sql.js, held outside its heap in extents, which remembers what was changed in it.
//
// Emscripten's in-memory file system touches a file's contents only through `length`, `subarray`, `set` and, at the first
// write, `slice`. An object with these four, handed over by its own `slice`, becomes the file: nothing is copied when
// the file grows, and every write of SQLite arrives in `set`.

export const PAGE = 4096; // bytes; the unit in which SQLite writes
export const GRANULES = 32; // of a page: the parts in which changes are tracked and logged
export const GRANULE = PAGE / GRANULES; // bytes
export const EXTENT = 256 * 1024; // bytes; the unit in which the base image is kept
const LARGEST_READ = 65536; // bytes: SQLite reads at most one page of its largest size

/** A page, and a mask of its granules that changed: an uint32 whose lowest bit is the first one. */
export interface Change {
  page: number;
  mask: number;
}

export class PagedFile {
  readonly length = Number.MAX_SAFE_INTEGER; // the capacity: the file system never moves the contents to make room
  size = 0; // bytes
  adopted = false;
  /** Set when the file system truncated the file: it then holds contents of its own and writes go unseen. */
  detached = false;
  private readonly extents: Uint8Array[] = [];
  private dirty = new Map<number, number>(); // masks by page

  /** A file with the bytes of `image`, all of them still to be written to disk. */
  static from(image: Uint8Array): PagedFile {
    const file = new PagedFile();
    file.set(image, 0);
    return file;
  }

  /** A file with contents that are on disk: `extents` are taken over, not copied. */
  static loaded(size: number, extents: Iterable<[number, Uint8Array]>): PagedFile {
    const file = new PagedFile();
    for (const [number, bytes] of extents) file.extents[number] = bytes;
    file.size = size;
    return file;
  }

  /** Takes over extents that another wrote to disk. The reader must be opened anew. */
  take(size: number, extents: Iterable<[number, Uint8Array]>): void {
    for (const [number, bytes] of extents) this.extents[number] = bytes;
    this.size = size;
    this.extents.length = Math.min(this.extents.length, this.extentCount);
  }

  /** What `new SQL.Database()` takes as its image so that this file becomes the database file. */
  handover(): Uint8Array {
    const seed = {
      length: this.size,
      subarray: () => {
        throw new Error("sql.js reads the seed of its file in an unknown way");
      },
      slice: (start: number, end: number) => {
        if (start !== 0 || end !== this.size) throw new Error("sql.js copies the seed of its file in an unknown way");
        this.adopted = true;
        return this;
      },
    };
    return seed as unknown as Uint8Array;
  }

  subarray(start: number, end: number): Uint8Array {
    if (start === 0 && end > LARGEST_READ) this.detached = true;
    return this.read(start, end);
  }

  set(source: Uint8Array, position: number): void {
    for (let done = 0; done < source.length; ) {
      const page = Math.floor((position + done) / PAGE);
      const offset = position + done - page * PAGE;
      const part = source.subarray(done, done + PAGE - offset);
      const before = this.page(page);
      const mask = changed(before, part, offset);
      if (mask) this.dirty.set(page, ((this.dirty.get(page) ?? 0) | mask) >>> 0);
      before.set(part, offset);
      done += part.length;
    }
    this.size = Math.max(this.size, position + source.length);
  }

  /** The bytes of one extent, made of zeros if nothing was written there yet; live, not a copy. */
  extent(number: number): Uint8Array {
    return (this.extents[number] ??= new Uint8Array(EXTENT));
  }

  /** The bytes of one page; live, not a copy. */
  page(number: number): Uint8Array {
    return this.read(number * PAGE, (number + 1) * PAGE);
  }

  get extentCount(): number {
    return Math.ceil(this.size / EXTENT);
  }

  get changed(): boolean {
    return this.dirty.size > 0;
  }

  /** What changed since the last call, in order of pages. */
  takeDirty(): Change[] {
    const changes = Array.from(this.dirty, ([page, mask]) => ({ page, mask })).sort((a, b) => a.page - b.page);
    this.dirty = new Map();
    return changes;
  }

  /** Gives back what did not reach the disk. */
  markDirty(changes: Iterable<Change>): void {
    for (const { page, mask } of changes) this.dirty.set(page, ((this.dirty.get(page) ?? 0) | mask) >>> 0);
  }

  /** A copy of the whole file. */
  image(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.size);
    for (let number = 0; number < this.extentCount; number++) {
      const start = number * EXTENT;
      bytes.set(this.extent(number).subarray(0, Math.min(EXTENT, this.size - start)), start);
    }
    return bytes;
  }

  /** Overwrites the contents, which nobody may use any more. */
  wipe(): void {
    for (const extent of this.extents) extent?.fill(0);
    this.extents.length = this.size = 0;
    this.dirty.clear();
  }

  private read(start: number, end: number): Uint8Array {
    const [extent, offset] = place(start);
    const count = end - start;
    if (offset + count <= EXTENT) return this.extent(extent).subarray(offset, offset + count);
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      const [next, from] = place(start + done);
      const part = this.extent(next).subarray(from, Math.min(EXTENT, from + count - done));
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }
}

function place(position: number): [extent: number, offset: number] {
  const extent = Math.floor(position / EXTENT);
  return [extent, position - extent * EXTENT];
}

/** The extent that a page lies in. */
export function extentOf(page: number): number {
  return Math.floor((page * PAGE) / EXTENT);
}

/** Which granules of a page would change if `part` were written to it from `offset` on. */
function changed(page: Uint8Array, part: Uint8Array, offset: number): number {
  let mask = 0;
  if (part.length < PAGE || part.byteOffset % 4) {
    for (let i = 0; i < part.length; i++) if (page[offset + i] !== part[i]) mask |= 1 << ((offset + i) / GRANULE);
    return mask >>> 0;
  }
  const words = GRANULE / 4;
  const [old, now] = [page, part].map((bytes) => new Int32Array(bytes.buffer, bytes.byteOffset, PAGE / 4)) as [Int32Array, Int32Array];
  for (let granule = 0; granule < GRANULES; granule++) {
    for (let word = granule * words; word < (granule + 1) * words; word++) {
      if (old[word] === now[word]) continue;
      mask |= 1 << granule;
      break;
    }
  }
  return mask >>> 0;
}
