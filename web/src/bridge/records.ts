// The one place every record passes before it is written and after it is read. Today it is given a label and a checksum,
// so that a damaged, swapped or outdated record shows; sealing belongs here too.
//
// A record is: SHA-256 of the rest (32 bytes), label (3 float64: kind, two numbers), body.
import { Failure } from "./failure";

export const enum RecordKind {
  Head = 1, // (epoch, sequence)
  Manifest = 2, // (number, 0)
  Log = 3, // (sequence, part)
  Extent = 4, // (extent, generation)
}
export type Label = readonly [kind: RecordKind, first: number, second: number];

const DIGEST = 32;
const LABEL = 24;
const NAMES = ["", "head", "manifest", "log", "extent"];

export async function seal(label: Label, body: Uint8Array): Promise<Uint8Array> {
  const record = new Uint8Array(DIGEST + LABEL + body.length);
  record.set(labelBytes(label), DIGEST);
  record.set(body, DIGEST + LABEL);
  record.set(await digest(record.subarray(DIGEST)));
  return record;
}

/** The body of a record: a view of it, not a copy. Rejects with CorruptError unless it is the one that was sealed under `label`. */
export async function unseal(label: Label, record: unknown): Promise<Uint8Array> {
  const what = `${NAMES[label[0]]} ${label[1]}/${label[2]}`;
  if (!(record instanceof Uint8Array) || record.length < DIGEST + LABEL) {
    throw new Failure("CorruptError", `the stored record "${what}" is missing or cut off; nothing was overwritten`);
  }
  const sum = await digest(record.subarray(DIGEST) as Uint8Array<ArrayBuffer>);
  if (!equal(sum, record.subarray(0, DIGEST))) {
    throw new Failure("CorruptError", `the stored record "${what}" is damaged: its checksum is wrong; nothing was overwritten`);
  }
  if (!equal(labelBytes(label), record.subarray(DIGEST, DIGEST + LABEL))) {
    throw new Failure("CorruptError", `another record lies in the place of "${what}"; nothing was overwritten`);
  }
  return record.subarray(DIGEST + LABEL);
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function labelBytes(label: Label): Uint8Array {
  return new Uint8Array(new Float64Array(label).buffer);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
