// Records of a sealed memory: AES-256-GCM under the memory's data key. docs/sealing.md is the format, and
// pyruvllm/storage/sealing.py its other implementation.
//
// A sealed record is: nonce (12 random bytes), ciphertext, tag (16 bytes). Authenticated with it: the label (3 float64) and the
// id of the database (16 bytes), so that a record is accepted in its own place of its own database only.
import { Failure } from "./failure";
import { labelBytes, labelName, type Label, type Records } from "./records";

const NONCE = 12;
const TAG = 16;

export class SealedRecords implements Records {
  constructor(
    private readonly key: CryptoKey,
    private readonly database: Uint8Array,
  ) {}

  async seal(label: Label, body: Uint8Array): Promise<Uint8Array> {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
    const text = await crypto.subtle.encrypt(this.cipher(nonce, label), this.key, body as Uint8Array<ArrayBuffer>);
    const record = new Uint8Array(NONCE + text.byteLength);
    record.set(nonce);
    record.set(new Uint8Array(text), NONCE);
    return record;
  }

  async unseal(label: Label, record: unknown): Promise<Uint8Array> {
    const what = labelName(label);
    if (!(record instanceof Uint8Array) || record.length < NONCE + TAG) {
      throw new Failure("TamperedError", `the sealed record "${what}" is missing or cut off; nothing was overwritten`);
    }
    const bytes = record as Uint8Array<ArrayBuffer>;
    try {
      return new Uint8Array(await crypto.subtle.decrypt(this.cipher(bytes.subarray(0, NONCE), label), this.key, bytes.subarray(NONCE)));
    } catch (error) {
      if ((error as Error).name !== "OperationError") throw error;
      throw new Failure("TamperedError", `the sealed record "${what}" was altered, or another lies in its place; nothing was overwritten`);
    }
  }

  private cipher(iv: Uint8Array<ArrayBuffer>, label: Label): AesGcmParams {
    const additionalData = new Uint8Array(24 + this.database.length);
    additionalData.set(labelBytes(label));
    additionalData.set(this.database, 24);
    return { name: "AES-GCM", iv, additionalData };
  }
}
