// The keys of a sealed memory: a random data key that seals the records, kept only wrapped (AES-KW, RFC 3394), by a key made of
// the passphrase (PBKDF2-SHA256) or by this device's key, a CryptoKey that gives its bytes to nobody and lies in IndexedDB.
// Another passphrase wraps the same data key anew: no other record changes.
//
// The keys record is: SHA-256 of the rest (32 bytes), proof (60 bytes: the SHA-256 of the JSON, sealed under the data key), JSON.
// The checksum tells damage from a wrong passphrase, the proof tells that whoever wrote the JSON had the data key.
import { Failure } from "./failure";
import { RecordKind, digest, equal, type Records } from "./records";
import { SealedRecords } from "./seal";

export const ROUNDS = 600_000; // of PBKDF2-SHA256
const ROUNDS_ACCEPTED = [100_000, 10_000_000] as const; // in a file from elsewhere: neither weak nor endless
const FORMAT = 1;
const DIGEST = 32;
const PROOF = 60;
const USES: KeyUsage[] = ["encrypt", "decrypt"];

/** What opens a memory, or shall open it. Where both are left out, this device's key is tried. */
export interface Secret {
  passphrase?: string;
  deviceKey?: boolean;
}
/** Which of the two open a memory. `thisDevice`: its device key is the one that lies here. */
export interface Protection {
  passphrase: boolean;
  deviceKey: boolean;
  thisDevice: boolean;
}
export interface DeviceKey {
  id: string;
  key: CryptoKey;
}
interface Body {
  format: number;
  database: string; // 16 bytes, hex
  generation: number; // counts changes of the keys; the head has it too, so that older keys put back are found
  passphrase: { salt: string; rounds: number; key: string } | null; // hex
  device: { id: string; key: string } | null;
}

export class Keys {
  readonly records: Records;

  constructor(
    readonly record: Uint8Array,
    readonly device: DeviceKey | undefined,
    private readonly body: Body,
    key: CryptoKey,
  ) {
    this.records = new SealedRecords(key, unhex(body.database));
  }

  /** Keys of a new database. */
  static async made(secret: Secret): Promise<Keys> {
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, true, USES);
    return wrapped(key, hex(crypto.getRandomValues(new Uint8Array(16))), 1, secret);
  }

  /** Rejects with LockedError without a secret that could open them, PassphraseError, CorruptError and TamperedError. */
  static async opened(name: string, record: unknown, device: DeviceKey | undefined, secret: Secret): Promise<Keys> {
    const { body, bytes, proof } = await parsed(record);
    const key = await unwrapped(name, body, device, secret, false);
    const keys = new Keys(record as Uint8Array, device, body, key);
    if (!equal(await keys.records.unseal([RecordKind.Keys, body.generation, 0], proof), await digest(bytes))) {
      throw new Failure("TamperedError", `the keys of "${name}" were altered; nothing was overwritten`);
    }
    return keys;
  }

  get generation(): number {
    return this.body.generation;
  }

  get protection(): Protection {
    return described(this.body, this.device);
  }

  /** The same data key, opened by `next` from now on. `current` must open it, since the data key in use cannot be read out. */
  async rewrapped(name: string, current: Secret, next: Secret): Promise<Keys> {
    const key = await unwrapped(name, this.body, this.device, current, true);
    return wrapped(key, this.body.database, this.generation + 1, next);
  }
}

/** What opens the memory with this keys record; nothing is unlocked. */
export async function protectionIn(record: unknown, device: DeviceKey | undefined): Promise<Protection> {
  return described((await parsed(record)).body, device);
}

function described(body: Body, device: DeviceKey | undefined): Protection {
  return { passphrase: body.passphrase !== null, deviceKey: body.device !== null, thisDevice: body.device !== null && body.device.id === device?.id };
}

async function wrapped(key: CryptoKey, database: string, generation: number, { passphrase, deviceKey }: Secret): Promise<Keys> {
  const body: Body = { format: FORMAT, database, generation, passphrase: null, device: null };
  let device: DeviceKey | undefined;
  if (passphrase !== undefined) {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    body.passphrase = { salt: hex(salt), rounds: ROUNDS, key: await wrap(key, await derived(passphrase, salt, ROUNDS)) };
  }
  if (deviceKey) {
    const own = await crypto.subtle.generateKey({ name: "AES-KW", length: 256 }, false, ["wrapKey", "unwrapKey"]);
    device = { id: hex(crypto.getRandomValues(new Uint8Array(8))), key: own };
    body.device = { id: device.id, key: await wrap(key, own) };
  }
  if (!body.passphrase && !body.device) throw new Failure("StorageError", "a sealed memory needs a passphrase or a device key to be opened with");
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const proof = await new SealedRecords(key, unhex(database)).seal([RecordKind.Keys, generation, 0], await digest(bytes));
  const rest = joined(proof, bytes);
  return new Keys(joined(await digest(rest), rest), device, body, await inUse(key));
}

async function unwrapped(name: string, body: Body, device: DeviceKey | undefined, secret: Secret, extractable: boolean): Promise<CryptoKey> {
  if (secret.passphrase !== undefined) {
    if (!body.passphrase) throw new Failure("LockedError", `"${name}" has no passphrase: it opens with the key of the device it was made on`);
    const { salt, rounds, key } = body.passphrase;
    const opened = await unwrap(key, await derived(secret.passphrase, unhex(salt), rounds), extractable);
    if (!opened) throw new Failure("PassphraseError", `the passphrase of "${name}" is another one (or its stored key was altered); nothing was changed`);
    return opened;
  }
  if (secret.deviceKey !== false && body.device && body.device.id === device?.id) {
    const opened = await unwrap(body.device.key, device.key, extractable);
    if (!opened) throw new Failure("TamperedError", `the stored key of "${name}" was altered: this device's key does not open it; nothing was changed`);
    return opened;
  }
  const how = body.passphrase ? "its passphrase opens it" : "the key of the device it was made on opens it, which is not here";
  throw new Failure("LockedError", `"${name}" is sealed: ${how}`);
}

async function parsed(record: unknown): Promise<{ body: Body; bytes: Uint8Array; proof: Uint8Array }> {
  const damaged = (how: string) => new Failure("CorruptError", `the stored keys ${how}; nothing was overwritten`);
  if (!(record instanceof Uint8Array) || record.length <= DIGEST + PROOF) throw damaged("are missing or cut off");
  if (!equal(await digest(record.subarray(DIGEST)), record.subarray(0, DIGEST))) throw damaged("are damaged: their checksum is wrong");
  const bytes = record.subarray(DIGEST + PROOF);
  let body: Body;
  try {
    body = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw damaged("cannot be read");
  }
  if (body?.format > FORMAT) throw new Failure("NewerError", `the stored keys have format ${body.format}, this version reads ${FORMAT}; nothing was changed`);
  const wraps = [body?.passphrase, body?.device].filter((entry) => entry != null);
  const rounds = body?.passphrase?.rounds ?? ROUNDS;
  const sound =
    body?.format === FORMAT && isHex(body.database, 16) && Number.isSafeInteger(body.generation) && wraps.length > 0 &&
    wraps.every((entry) => isHex(entry.key, 40)) && (!body.passphrase || isHex(body.passphrase.salt, 16)) &&
    rounds >= ROUNDS_ACCEPTED[0] && rounds <= ROUNDS_ACCEPTED[1];
  if (!sound) throw damaged("have a form that cannot be");
  return { body, bytes, proof: record.subarray(DIGEST, DIGEST + PROOF) };
}

async function derived(passphrase: string, salt: Uint8Array, rounds: number): Promise<CryptoKey> {
  const words = await crypto.subtle.importKey("raw", new TextEncoder().encode(passphrase.normalize("NFC")), "PBKDF2", false, ["deriveKey"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: salt as Uint8Array<ArrayBuffer>, iterations: rounds };
  return crypto.subtle.deriveKey(how, words, { name: "AES-KW", length: 256 }, false, ["wrapKey", "unwrapKey"]);
}

async function wrap(key: CryptoKey, by: CryptoKey): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.wrapKey("raw", key, by, "AES-KW")));
}

/** The data key, or undefined if it was wrapped by another key. */
async function unwrap(key: string, by: CryptoKey, extractable: boolean): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.unwrapKey("raw", unhex(key), by, "AES-KW", "AES-GCM", extractable, USES);
  } catch (error) {
    if ((error as Error).name !== "OperationError") throw error;
    return undefined;
  }
}

/** The same key as one whose bytes nobody can read. */
async function inUse(key: CryptoKey): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", await crypto.subtle.exportKey("raw", key), "AES-GCM", false, USES);
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unhex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

function isHex(text: unknown, bytes: number): boolean {
  return typeof text === "string" && text.length === 2 * bytes && /^[0-9a-f]*$/.test(text);
}
