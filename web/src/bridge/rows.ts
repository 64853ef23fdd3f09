// Rows of SQL values as one run of bytes, the form in which they cross between Python and JavaScript; the twin of
// pyruvllm/storage/rowbytes.py. Little-endian:
//
//   uint32 rows, uint32 columns
//   uint8 kind per value, row by row, filled up with zeros to a multiple of 8
//   8 bytes per value: int64, float64, or for text and blobs uint32 offset and uint32 length in what follows
//   the bytes of all text (UTF-8) and blobs
export const enum ValueKind {
  Null = 0,
  Integer = 1,
  Float = 2,
  Text = 3,
  Blob = 4,
}
const HEADER = 8;

export class PackedRows {
  readonly rows: number;
  readonly columns: number;
  readonly kinds: Uint8Array;
  readonly heap: Uint8Array;
  private readonly slots: DataView;

  constructor(packed: Uint8Array) {
    const header = new DataView(packed.buffer, packed.byteOffset, HEADER);
    this.rows = header.getUint32(0, true);
    this.columns = header.getUint32(4, true);
    const count = this.rows * this.columns;
    const slots = HEADER + padded(count);
    this.kinds = packed.subarray(HEADER, HEADER + count);
    this.slots = new DataView(packed.buffer, packed.byteOffset + slots, 8 * count);
    this.heap = packed.subarray(slots + 8 * count);
  }

  integer(value: number): bigint {
    return this.slots.getBigInt64(8 * value, true);
  }

  float(value: number): number {
    return this.slots.getFloat64(8 * value, true);
  }

  span(value: number): [offset: number, length: number] {
    return [this.slots.getUint32(8 * value, true), this.slots.getUint32(8 * value + 4, true)];
  }
}

export class RowPacker {
  private rows = 0;
  private count = 0;
  private kinds = new Uint8Array(64);
  private slots = new DataView(new ArrayBuffer(8 * 64));
  private heap = new Uint8Array(4096);
  private heapSize = 0;

  endRow(): void {
    this.rows++;
  }

  null(): void {
    this.next(ValueKind.Null);
  }

  integer(value: bigint): void {
    const at = this.next(ValueKind.Integer);
    this.slots.setBigInt64(at, value, true);
  }

  float(value: number): void {
    const at = this.next(ValueKind.Float);
    this.slots.setFloat64(at, value, true);
  }

  bytes(kind: ValueKind.Text | ValueKind.Blob, value: Uint8Array): void {
    const at = this.next(kind);
    if (this.heapSize + value.length > this.heap.length) {
      this.heap = grown(this.heap, Math.max(2 * this.heap.length, this.heapSize + value.length));
    }
    this.heap.set(value, this.heapSize);
    this.slots.setUint32(at, this.heapSize, true);
    this.slots.setUint32(at + 4, value.length, true);
    this.heapSize += value.length;
  }

  packed(columns: number): Uint8Array {
    const slots = HEADER + padded(this.count);
    const bytes = new Uint8Array(slots + 8 * this.count + this.heapSize);
    const header = new DataView(bytes.buffer);
    header.setUint32(0, this.rows, true);
    header.setUint32(4, columns, true);
    bytes.set(this.kinds.subarray(0, this.count), HEADER);
    bytes.set(new Uint8Array(this.slots.buffer, 0, 8 * this.count), slots);
    bytes.set(this.heap.subarray(0, this.heapSize), slots + 8 * this.count);
    return bytes;
  }

  /** Makes room for one more value, which may move the slots; returns where its slot is. */
  private next(kind: ValueKind): number {
    if (this.count === this.kinds.length) {
      this.kinds = grown(this.kinds, 2 * this.count);
      this.slots = new DataView(grown(new Uint8Array(this.slots.buffer), 16 * this.count).buffer);
    }
    this.kinds[this.count] = kind;
    return 8 * this.count++;
  }
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length);
  larger.set(bytes);
  return larger;
}

function padded(count: number): number {
  return Math.ceil(count / 8) * 8;
}
