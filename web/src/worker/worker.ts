// The worker: boots Python, loads the memory and carries calls between the page and service.py. Nothing here is on the main thread.
import { bridge } from "../bridge";
import { isOfTheMemory, type Method, type ProtocolEvent, type Reply, type Request, type Stage } from "../page/protocol";
import audit from "./audit.py";
import calls from "./calls.py";
import { countDownloads } from "./downloads";
import memory from "./memory.py";
import models from "./models.py";
import service from "./service.py";

declare const self: DedicatedWorkerGlobalScope;

/** What is used of Pyodide. Objects of Python are proxies that must be destroyed. */
interface Proxy {
  destroy(): void;
  toJs(options: object): unknown;
  (...args: unknown[]): Promise<Proxy>;
}
interface Pyodide {
  loadPackage(names: string[], options: { messageCallback(text: string): void; errorCallback(text: string): void }): Promise<unknown>;
  loadedPackages: Record<string, string>;
  globals: { get(name: string): Proxy };
  runPython(code: string, options: { filename: string }): unknown;
  toPy(value: unknown): Proxy;
}

const SILENCE_MS = 90_000; // without a byte or a step; a page policy without wasm-unsafe-eval hangs loading instead of failing it
const PACKAGES = ["numpy", "pyruvllm"];
const PLAIN = { dict_converter: Object.fromEntries, create_pyproxies: false };

const base = new URL("./", self.location.href);
bridge.configure({ base });

/** The two functions of calls.py. */
interface Calls {
  launch: Proxy;
  cancel: Proxy;
}
let booted: Promise<Calls> | null = null;

self.onmessage = ({ data }: MessageEvent<Request>) => {
  if (data.method === "cancel") void booted?.then(({ cancel }) => cancel((data.params as { id: number }).id));
  else void serve(data.id, data.method, data.params);
};

async function serve(id: number, method: Method, params: unknown): Promise<void> {
  const emit = (event: unknown) => post(withoutCaller(id, plain(event) as ProtocolEvent));
  try {
    booted ??= boot((stage, label, done, total) => post({ id, event: { type: "progress", stage, label, done, total } }));
    const answer = await run((await booted).launch, id, method, params, emit);
    if ("error" in answer) post({ id, error: answer.error as Reply["error"] });
    else post({ id, ...sendable(answer.result) });
  } catch (error) {
    const { name, message, type } = error as Error & { type?: string };
    if (type === "CancelledError") return post({ id, error: { kind: "Cancelled", message: `${method} was cancelled before it began` } });
    post({ id, error: { kind: name, message } });
    // Python's own errors are data by now: what is left is the interpreter or the browser giving up
    if (booted) post({ event: { type: "crashed", kind: name, message } });
  }
}

async function run(launch: Proxy, id: number, method: Method, params: unknown, emit: (event: unknown) => void): Promise<Record<string, unknown>> {
  const given = (await pyodide!).toPy(forPython(params));
  try {
    const outcome = await launch(id, method, given, emit);
    const answer = outcome.toJs(PLAIN) as Record<string, unknown>;
    outcome.destroy();
    return answer;
  } finally {
    given.destroy();
  }
}

let pyodide: Promise<Pyodide> | null = null;

/** Python with the service in it. */
async function boot(progress: (stage: Stage, label: string, done: number, total: number) => void): Promise<Calls> {
  let stage: Stage = "python";
  const watch = new Watch();
  const restore = countDownloads((done, total) => {
    watch.alive();
    progress(stage, stage === "python" ? "Loading Python" : "Loading packages", done, total);
  });
  try {
    progress("python", "Loading Python", 0, 0);
    const address = new URL("pyodide/", base).href;
    const { loadPyodide } = await watch.over(import(`${address}pyodide.mjs`) as Promise<{ loadPyodide(options: object): Promise<Pyodide> }>);
    pyodide = watch.over(loadPyodide({ indexURL: address }));
    const python = await pyodide;

    stage = "packages";
    restore.restart();
    progress(stage, "Loading packages", 0, 0);
    const problems: string[] = [];
    await watch.over(python.loadPackage(PACKAGES, { messageCallback: () => watch.alive(), errorCallback: (text) => problems.push(text) }));
    const missing = PACKAGES.filter((name) => !(name in python.loadedPackages));
    if (missing.length) throw failure("PackageError", `${missing.join(" and ")} could not be loaded. ${problems.join(" ")}`);
    python.runPython(service, { filename: "service.py" });
    python.runPython(audit, { filename: "audit.py" });
    python.runPython(memory, { filename: "memory.py" });
    python.runPython(models, { filename: "models.py" });
    python.runPython(calls, { filename: "calls.py" });
    return { launch: python.globals.get("launch"), cancel: python.globals.get("cancel") };
  } finally {
    restore.end();
    watch.end();
  }
}

/** Rejects what it watches when nothing was heard for SILENCE_MS, or when the page policy refuses something. */
class Watch {
  private last = performance.now();
  private reject: (error: Error) => void = () => undefined;
  private readonly timer = setInterval(() => {
    if (performance.now() - this.last > SILENCE_MS) this.reject(failure("TimeoutError", `nothing came for ${SILENCE_MS / 1000} s while Python was loading`));
  }, 1000);
  private readonly refused = (event: SecurityPolicyViolationEvent) =>
    this.reject(failure("PolicyError", `the page's content policy (${event.effectiveDirective}) refused ${event.blockedURI}`));

  constructor() {
    self.addEventListener("securitypolicyviolation", this.refused as EventListener);
  }

  alive(): void {
    this.last = performance.now();
  }

  over<Value>(work: Promise<Value>): Promise<Value> {
    this.alive();
    return Promise.race([work, new Promise<never>((_, reject) => (this.reject = reject))]);
  }

  end(): void {
    clearInterval(this.timer);
    self.removeEventListener("securitypolicyviolation", this.refused as EventListener);
  }
}

function failure(kind: string, message: string): Error {
  return Object.assign(new Error(message), { name: kind });
}

/** Events that belong to no call: Python keeps the first call's `emit` to say later that the lock was lost. */
function withoutCaller(id: number, event: ProtocolEvent): Reply {
  return isOfTheMemory(event) ? { event } : { id, event };
}

function plain(value: unknown): unknown {
  return typeof (value as Proxy)?.toJs === "function" ? (value as Proxy).toJs(PLAIN) : value;
}

/** What Python expects: array buffers as byte arrays, files as they are, and undefined for null, which Pyodide would not turn into None. */
function forPython(value: unknown): unknown {
  if (value === null) return undefined;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(forPython);
  if (typeof value !== "object" || ArrayBuffer.isView(value) || value instanceof Blob) return value;
  return Object.fromEntries(Object.entries(value as object).map(([key, inner]) => [key, forPython(inner)]));
}

/** Byte arrays leave as array buffers of their own that are transferred, not copied. */
function sendable(result: unknown): Reply & { moved?: ArrayBuffer[] } {
  const moved: ArrayBuffer[] = [];
  const entries = Object.entries((result ?? {}) as Record<string, unknown>).map(([key, value]) => {
    if (!(value instanceof Uint8Array)) return [key, value];
    const whole = value.byteLength === value.buffer.byteLength ? (value.buffer as ArrayBuffer) : value.slice().buffer;
    moved.push(whole);
    return [key, whole];
  });
  return { result: Object.fromEntries(entries), moved };
}

function post({ moved, ...reply }: Reply & { moved?: ArrayBuffer[] }): void {
  self.postMessage(reply, moved ?? []);
}
