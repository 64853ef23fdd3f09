// ONNX models through onnxruntime-web: its plain WASM build, one thread, no worker and no eval of its own, so that it runs in a
// worker under `script-src 'self' 'wasm-unsafe-eval'`, and in Node.
import { type Env, env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { asset, cached, type Progress } from "./assets";

const RUNTIME = "wasm/ort-wasm-simd-threaded.wasm";

type Numbers = Float32Array | Uint16Array | Int32Array | Uint8Array | Int8Array | BigInt64Array;
type ElementType = "float32" | "float16" | "int32" | "uint8" | "int8" | "int64";

/** A tensor as it crosses to Python and back: its values in row-major order (those of float16 as their bits), and its shape. */
export interface Values {
  data: Numbers;
  shape: number[];
}

/** What a model takes or gives: a size is a name where it varies. */
export interface Place {
  name: string;
  type: string;
  shape: (number | string)[];
}

export interface Session {
  inputs: Place[];
  outputs: Place[];
  /** Of the model's files. */
  bytes: number;
  /** Values in by input name, values out by output name, in memory of their own. */
  run(feeds: Record<string, Values>): Promise<Record<string, Values>>;
  /**
   * As `run`, with the inputs in `links` taken from what an earlier step held. `links`: by input, the output that it is at the next step;
   * these outputs stay here as tensors.
   */
  step(feeds: Record<string, Values>, links: Record<string, string>, held?: Tensors | null): Promise<{ values: Record<string, Values>; held: Tensors }>;
  /** Gives the model's memory back. */
  release(): Promise<void>;
}

type Tensors = Record<string, Tensor>;

let runtime: Promise<void> | undefined;

/**
 * The model at an asset's path, or of these bytes, ready to run. `progress` counts the model's bytes. With `sha256` (hex) another file is refused;
 * pages that are no secure context cannot compute it and go without. `external`: assets beside it that hold its weights.
 */
export async function createSession(
  source: string | Uint8Array,
  progress?: Progress | null,
  sha256?: string | null,
  external: string[] = [],
): Promise<Session> {
  const path = typeof source === "string" ? source : "the model";
  const [model] = await Promise.all([typeof source === "string" ? asset(source, progress ?? undefined) : source, start()]);
  const externalData = await Promise.all(external.map(async (name) => ({ path: name.slice(name.lastIndexOf("/") + 1), data: await asset(name) })));
  const found = sha256 && (await digest(model));
  if (found && found !== sha256) throw failure(`${path} has sha256 ${found}, not ${sha256}: reload the page without its cache`);
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all", externalData });
    delete env.wasm.wasmBinary; // where it was given: compiled by now, and 14 MB
  } catch (error) {
    throw failure(`${path} is no model that onnxruntime-web ${env.versions.web} can run: ${message(error)}`, error);
  }
  async function ran(tensors: Tensors): Promise<Tensors> {
    try {
      return (await session.run(tensors)) as Tensors;
    } catch (error) {
      throw failure(`${path} could not run: ${message(error)}`, error);
    }
  }
  return {
    inputs: places(session.inputMetadata),
    outputs: places(session.outputMetadata),
    bytes: externalData.reduce((sum, file) => sum + file.data.length, model.length),
    async run(feeds) {
      return crossing(await ran(arriving(feeds)));
    },
    async step(feeds, links, held) {
      const before = Object.entries(links).flatMap(([input, output]) => (held?.[output] ? [[input, held[output]] as const] : []));
      const results = await ran({ ...Object.fromEntries(before), ...arriving(feeds) });
      const kept = new Set(Object.values(links));
      const split = (held: boolean): Tensors => Object.fromEntries(Object.entries(results).filter(([name]) => kept.has(name) === held));
      return { values: crossing(split(false)), held: split(true) };
    },
    release: () => session.release(),
  };
}

function arriving(feeds: Record<string, Values>): Tensors {
  return Object.fromEntries(Object.entries(feeds).map(([name, { data, shape }]) => [name, new Tensor(kind(name, data), data, shape)]));
}

function crossing(tensors: Tensors): Record<string, Values> {
  const values = ({ data, dims }: Tensor): Values => {
    const half = "Float16Array" in globalThis && data.constructor.name === "Float16Array"; // what engines that have it are given
    const { buffer, byteOffset, length } = data as Uint16Array;
    return { data: half ? new Uint16Array(buffer, byteOffset, length) : (data as Numbers), shape: [...dims] };
  };
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, values(tensor)]));
}

function places(metadata: readonly InferenceSession.ValueMetadata[]): Place[] {
  return metadata.map((each) => ({ name: each.name, type: each.isTensor ? each.type : "none", shape: each.isTensor ? [...each.shape] : [] }));
}

/**
 * Loads the runtime once; a failure is forgotten, so that the next call tries again. In a browser it is compiled as it comes from its address,
 * since what is compiled so is kept for the next start.
 */
function start(): Promise<void> {
  runtime ??= located().then(
    (place) => {
      Object.assign(env.wasm, { numThreads: 1, proxy: false, ...place });
      env.logLevel = "error";
    },
    (error) => {
      runtime = undefined;
      throw error;
    },
  );
  return runtime;
}

async function located(): Promise<Pick<Env.WebAssemblyFlags, "wasmPaths" | "wasmBinary">> {
  const wasm = await cached(RUNTIME);
  return wasm ? { wasmPaths: { wasm } } : { wasmBinary: await asset(RUNTIME) };
}

function kind(name: string, data: Numbers): ElementType {
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Uint16Array) return "float16";
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
