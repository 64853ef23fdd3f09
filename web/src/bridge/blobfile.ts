// A file of the browser's that can only be read: one that a person dropped, or one of the origin that is locked.
import { Failure, failed } from "./failure";
import { type Buffer, give, type OpenFile, short, sizeOf } from "./openfile";

const CHUNK = 1 << 20; // bytes that are asked for at once
const GAP = 1 << 12; // bytes that are read over rather than begun anew: tensors are aligned

/** Bytes of the file as they come, from `at` on. What arrives does so in one buffer, so that a file of gigabytes leaves no garbage of gigabytes. */
interface Stream {
  reader: ReadableStreamBYOBReader;
  at: number;
  buffer: ArrayBuffer;
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
      if (!stream) return give(new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer()), room);
      while (stream.at < offset + length) {
        const wanted = stream.at < offset ? offset - stream.at : Math.min(CHUNK, offset + length - stream.at);
        const { value } = await stream.reader.read(new Uint8Array(stream.buffer, 0, wanted));
        if (!value?.length) throw short(stream.at);
        if (stream.at >= offset) give(value, room, stream.at - offset);
        stream.at += value.length;
        stream.buffer = value.buffer;
      }
      void this.stream?.reader.cancel();
      this.stream = stream;
    } catch (error) {
      void stream?.reader.cancel();
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

  /** The stream at rest where it stands before `offset`, else a new one; undefined where the browser has none that fills buffers. */
  private taken(offset: number): Stream | undefined {
    const found = this.stream;
    if (found && found.at <= offset && offset - found.at <= GAP) {
      this.stream = undefined;
      return found;
    }
    try {
      return { reader: this.blob.slice(offset).stream().getReader({ mode: "byob" }), at: offset, buffer: new ArrayBuffer(CHUNK) };
    } catch {
      return undefined;
    }
  }
}
