// What every file that is open gives, and how its bytes cross to Python's memory.
import { Failure } from "./failure";

/** A Python object with the buffer protocol, as Pyodide hands it over. */
export interface Buffer {
  getBuffer(type: "u8"): { data: Uint8Array; release(): void };
}

/** A file that is read anywhere and written at its end only. */
export interface OpenFile {
  readonly size: number;
  /** Fills `room` with the bytes from `offset` on. Rejects with StorageError where the file ends before. */
  readInto(offset: number, room: Buffer): Promise<void>;
  append(data: Buffer): Promise<void>;
  /** Returns when what was appended is on disk. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export function sizeOf(room: Buffer): number {
  const view = room.getBuffer("u8");
  const { length } = view.data;
  view.release();
  return length;
}

/** Copies into Python's memory, which may have moved while something was awaited: so the view is taken now. */
export function give(part: Uint8Array, room: Buffer, at = 0): void {
  const view = room.getBuffer("u8");
  view.data.set(part, at);
  view.release();
}

export function taken(data: Buffer): Uint8Array<ArrayBuffer> {
  const view = data.getBuffer("u8");
  const bytes = view.data.slice();
  view.release();
  return bytes as Uint8Array<ArrayBuffer>;
}

export const short = (end: number): Failure => new Failure("CorruptError", `the model file ends at byte ${end}, before what is wanted: delete it and get it again`);
