// A file of the browser's that can only be read: one that a person dropped, or one of the origin that is locked.
import { Failure, failed } from "./failure";
import { type Buffer, give, type OpenFile, short, sizeOf } from "./openfile";

const GAP = 1 << 12; // bytes that are read over rather than begun anew: tensors are aligned

/**
 * Bytes of the file as they come, as one stream: slices take twice as long. By a reader of its own chunks, though it leaves garbage: one
 * that fills buffers ("byob") now and then never gets the first bytes, in Chromium 156 on a busy machine.
 */
interface Stream {
  reader: ReadableStreamDefaultReader<Uint8Array>;
  at: number; // where `rest` begins
  rest: Uint8Array; // what has come and was not asked for yet
}

export class BlobFile implements OpenFile {
  private stream: Stream | undefined; // where the last read ended, at rest

  constructor(private readonly blob: Blob) {}

  get size(): number {
    return this.blob.size;
  }

  async readInto(offset: number, room: Buffer): Promise<void> {
    const length = sizeOf(room);
    if (offset + length > this.size) throw short(this.size);
    const stream = this.taken(offset);
    try {
      while (stream.at < offset + length) {
        if (!stream.rest.length) stream.rest = await next(stream);
        const skipped = Math.min(stream.rest.length, Math.max(0, offset - stream.at));
        const part = stream.rest.subarray(skipped, skipped + offset + length - Math.max(offset, stream.at));
        if (part.length) give(part, room, stream.at + skipped - offset);
        stream.rest = stream.rest.subarray(skipped + part.length);
        stream.at += skipped + part.length;
      }
      void this.stream?.reader.cancel();
      this.stream = stream;
    } catch (error) {
      void stream.reader.cancel();
      throw failed("reading the model file", error);
    }
  }

  async append(): Promise<void> {
    throw new Failure("StorageError", "this file can only be read");
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {
    await this.stream?.reader.cancel();
    this.stream = undefined;
  }

  /** The stream at rest where it stands before `offset`, else a new one. */
  private taken(offset: number): Stream {
    const found = this.stream;
    if (found && found.at <= offset && offset - found.at <= GAP) {
      this.stream = undefined;
      return found;
    }
    return { reader: this.blob.slice(offset).stream().getReader(), at: offset, rest: new Uint8Array() };
  }
}

/** More of it, at least a byte. */
async function next(stream: Stream): Promise<Uint8Array> {
  for (;;) {
    const { value, done } = await stream.reader.read();
    if (done) throw short(stream.at);
    if (value.length) return value;
  }
}
