// The one place every record passes before it is written and after it is read. In a plain memory it is given a label and a
// checksum, so that a damaged, swapped or outdated record shows; in a sealed one `seal.ts` encrypts it.
//
// A plain record is: SHA-256 of the rest (32 bytes), label (3 float64: kind, two numbers), body.
import { Failure } from "./failure";

export const enum RecordKind {
  Head = 1, // (epoch, sequence)
  Manifest = 2, // (number, 0)
  Log = 3, // (sequence, part)
  Extent = 4, // (extent, generation)
  Keys = 5, // (generation, 0)
}
export type Label = readonly [kind: RecordKind, first: number, second: number];

export interface Records {
  seal(label: Label, body: Uint8Array): Promise<Uint8Array>;
  /** The body of a record. Rejects with CorruptError unless it is the one that was sealed under `label`. */
  unseal(label: Label, record: unknown): Promise<Uint8Array>;
}

const DIGEST = 32;
const LABEL = 24;
const NAMES = ["", "head", "manifest", "log", "extent", "keys"];

export const plainRecords: Records = {
  async seal(label, body) {
    const record = new Uint8Array(DIGEST + LABEL + body.length);
    record.set(labelBytes(label), DIGEST);
    record.set(body, DIGEST + LABEL);
    record.set(await digest(record.subarray(DIGEST)));
    return record;
  },

  async unseal(label, record) {
    const what = labelName(label);
    if (!(record instanceof Uint8Array) || record.length < DIGEST + LABEL) {
      throw new Failure("CorruptError", `the stored record "${what}" is missing or cut off; nothing was overwritten`);
    }
    if (!equal(await digest(record.subarray(DIGEST)), record.subarray(0, DIGEST))) {
      throw new Failure("CorruptError", `the stored record "${what}" is damaged: its checksum is wrong; nothing was overwritten`);
    }
    if (!equal(labelBytes(label), record.subarray(DIGEST, DIGEST + LABEL))) {
      throw new Failure("CorruptError", `another record lies in the place of "${what}"; nothing was overwritten`);
    }
    return record.subarray(DIGEST + LABEL);
  },
};

export async function digest(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

export function labelBytes(label: Label): Uint8Array {
  return new Uint8Array(new Float64Array(label).buffer);
}

export function labelName(label: Label): string {
  return `${NAMES[label[0]]} ${label[1]}/${label[2]}`;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
