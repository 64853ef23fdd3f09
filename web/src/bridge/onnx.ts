// ONNX models through onnxruntime-web: its plain WASM build, one thread, no worker and no eval of its own, so that it runs in a
// worker under `script-src 'self' 'wasm-unsafe-eval'`, and in Node.
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { asset, type Progress } from "./assets";

const RUNTIME = "wasm/ort-wasm-simd-threaded.wasm";

type Numbers = Float32Array | Int32Array | Uint8Array | Int8Array | BigInt64Array;
type ElementType = "float32" | "int32" | "uint8" | "int8" | "int64";

/** A tensor as it crosses to Python and back: its values in row-major order, and its shape. */
export interface Values {
  data: Numbers;
  shape: number[];
}

export interface Session {
  /** Values in by input name, values out by output name, in memory of their own. */
  run(feeds: Record<string, Values>): Promise<Record<string, Values>>;
  /** Gives the model's memory back. */
  release(): Promise<void>;
}

let runtime: Promise<void> | undefined;

/**
 * The model at an asset's path, ready to run. `progress` counts the model's bytes. With `sha256` (hex) another file is refused;
 * pages that are no secure context cannot compute it and go without.
 */
export async function createSession(path: string, progress?: Progress | null, sha256?: string | null): Promise<Session> {
  const [model] = await Promise.all([asset(path, progress ?? undefined), start()]);
  const found = sha256 && (await digest(model));
  if (found && found !== sha256) throw failure(`${path} has sha256 ${found}, not ${sha256}: reload the page without its cache`);
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    delete env.wasm.wasmBinary; // compiled by now, and 14 MB
  } catch (error) {
    throw failure(`${path} is no model that onnxruntime-web ${env.versions.web} can run: ${message(error)}`, error);
  }
  return {
    async run(feeds) {
      const tensors = Object.entries(feeds).map(([name, { data, shape }]) => [name, new Tensor(kind(name, data), data, shape)]);
      try {
        const results = await session.run(Object.fromEntries(tensors));
        return Object.fromEntries(
          Object.entries(results).map(([name, tensor]) => [name, { data: tensor.data as Numbers, shape: [...tensor.dims] }]),
        );
      } catch (error) {
        throw failure(`${path} could not run: ${message(error)}`, error);
      }
    },
    release: () => session.release(),
  };
}

/** Loads the runtime once; a failure is forgotten, so that the next call tries again. */
function start(): Promise<void> {
  runtime ??= asset(RUNTIME).then(
    (binary) => {
      Object.assign(env.wasm, { numThreads: 1, proxy: false, wasmBinary: binary });
      env.logLevel = "error";
    },
    (error) => {
      runtime = undefined;
      throw error;
    },
  );
  return runtime;
}

function kind(name: string, data: Numbers): ElementType {
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Uint8Array) return "uint8";
  if (data instanceof Int8Array) return "int8";
  throw failure(`input ${name}: ${Object.prototype.toString.call(data)} is no array of numbers that a model takes`);
}

async function digest(bytes: Uint8Array): Promise<string | undefined> {
  const hash = await globalThis.crypto?.subtle?.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return hash && [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An error that Python raises as the ModelError of pyruvllm/errors.py. */
function failure(text: string, cause?: unknown): Error {
  const error = new Error(text, { cause });
  error.name = "ModelError";
  return error;
}
