// What the page knows of the memory in the worker: whether it runs, whether it may write, what it holds.
import type { DocumentInfo, KeptAdapter, LoadedModel, Method, Methods, Models, Protection, ProtocolEvent, Role, Secret, SessionInfo, Started } from "./protocol";
import { CallError, Engine, type CallOptions } from "./rpc";
import { missingFeatures } from "./support";

export interface Progress {
  stage: string;
  label: string;
  done: number;
  total: number;
}

export type Phase =
  | { name: "starting"; progress: Progress | null }
  | { name: "ready"; started: Started }
  | { name: "locked"; protection: Protection; problem: string | null }
  | { name: "unsupported"; missing: string[] }
  | { name: "failed"; kind: string; message: string };

/**
 * "phase": starting, ready, locked, failed. "access": may write or not. "library", "sessions": what is held. "quota": the disk is full.
 * "model": another one answers. "activity": something was done, or goes on, that takes memory or gives it back.
 */
export type Change = "phase" | "access" | "library" | "sessions" | "quota" | "model" | "activity";

const ACTIVE: Method[] = ["ask", "remember", "remember_samples", "forget", "model_load", "model_unload", "draft_load", "draft_unload", "adapter_add", "make_room", "import"];
const DATABASE = "notebook";
const QUESTIONS_KEY = "pyruvllm.questions";
const LOCKED_KEY = "pyruvllm.locked"; // in this tab somebody locked it: this device's key does not open it unasked
const SILENCE_MS = 180_000; // longer than the worker's own limits: only a worker that cannot answer at all runs into it

export class Notebook {
  phase: Phase = { name: "starting", progress: null };
  documents: DocumentInfo[] = [];
  sessions: SessionInfo[] = [];
  /** The language model that answers; null while answers are quoted. */
  model: LoadedModel | null = null;
  /** Those kept in the notebook. */
  adapters: KeptAdapter[] = [];
  /** Why nothing can be written now; null when writing works. */
  readOnly: string | null = null;
  /** Which tab saves, where there are several. Whatever is done here is saved either way. */
  role: Role = "writer";
  /** Why this tab is the one that saves now, where that is worth knowing. */
  took = "";
  /** What to do again once there is room; null while the disk is not full. */
  quota: { message: string; retry: () => void } | null = null;

  /** What opens the notebook; null when it is not protected. */
  protection: Protection | null = null;

  private engine: Engine | null = null;
  private refreshing = 0;
  private readonly listeners = new Map<Change, Set<() => void>>();
  private waiting: { resolve: () => void; reject: (error: CallError) => void }[] = [];

  on(change: Change, listener: () => void): void {
    const set = this.listeners.get(change) ?? new Set();
    this.listeners.set(change, set.add(listener));
  }

  get ready(): boolean {
    return this.phase.name === "ready";
  }

  /** Starts the worker, or starts it anew after a failure. What was committed before is there again. */
  async start(): Promise<void> {
    this.engine?.close();
    this.engine = null;
    this.took = "";
    this.model = null;
    this.set({ name: "starting", progress: null });
    const missing = await missingFeatures();
    if (missing.length) return this.set({ name: "unsupported", missing });
    const engine = new Engine("./worker.js", (event) => this.told(engine, event));
    this.engine = engine;
    if (sessionStorage.getItem(LOCKED_KEY) && (await this.lockedNow(engine, null))) return;
    await this.open(engine, {});
  }

  /** Opens a locked notebook; without a passphrase by this device's key. A wrong one leaves it locked and says so. */
  async unlock(secret: Secret): Promise<void> {
    if (this.engine && this.phase.name === "locked") await this.open(this.engine, secret);
  }

  /** Saves, and lets go of everything: the worker with its memory, and this page with all it shows. */
  async lock(): Promise<void> {
    await this.call("lock", {});
    this.engine?.close();
    this.engine = null;
    sessionStorage.clear();
    sessionStorage.setItem(LOCKED_KEY, "yes");
    location.assign(location.pathname);
  }

  private async open(engine: Engine, secret: Secret): Promise<void> {
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => this.fail(engine, "TimeoutError", `the worker said nothing for ${SILENCE_MS / 1000} s`), SILENCE_MS);
    };
    alive();
    try {
      const started = await engine.call("start", { database: DATABASE, ...secret }, {
        event: (event) => {
          alive();
          if (event.type === "progress" && this.engine === engine) this.set({ name: "starting", progress: { ...event, stage: event.stage ?? "memory" } });
        },
      });
      if (this.engine !== engine) return;
      sessionStorage.removeItem(LOCKED_KEY);
      this.protection = started.protection ?? null; // Python’s None arrives as undefined
      this.role = started.role;
      this.readOnly = started.role === "reader" ? "Nothing can be saved from this tab." : null;
      this.phase = { name: "ready", started };
      await Promise.all([this.refreshLibrary(), this.refreshSessions()]);
      this.emit("phase", "access");
      for (const waiter of this.waiting.splice(0)) waiter.resolve();
    } catch (error) {
      const { kind = "Error", message } = error as CallError;
      const sealed = kind === "LockedError" || kind === "PassphraseError";
      if (sealed && (await this.lockedNow(engine, kind === "PassphraseError" ? "That is not the passphrase. Nothing was changed; try again." : null))) return;
      this.fail(engine, kind, message);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Shows the notebook as locked, with what went wrong; false if it is not protected at all. */
  private async lockedNow(engine: Engine, problem: string | null): Promise<boolean> {
    try {
      const { protection } = await engine.call("protection", { database: DATABASE });
      if (this.engine !== engine) return true;
      if (!protection) return false;
      this.set({ name: "locked", protection, problem });
      return true;
    } catch (error) {
      this.fail(engine, (error as CallError).kind ?? "Error", (error as Error).message);
      return true;
    }
  }

  /** Protects the notebook, changes what opens it, or with null removes the protection. Wholly or not at all. */
  async protect(secret: (Secret & { current?: string }) | null): Promise<void> {
    const method = secret === null ? "unprotect" : this.protection ? "change_keys" : "protect";
    this.protection = (await this.call(method, secret ?? {})).protection ?? null;
    this.emit("access");
  }

  /** Resolves when calls can be made; rejects when starting fails. */
  whenReady(): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** One call to the worker. A full disk is noticed here, whatever was called, with `retry` as what to do again. */
  async call<Name extends Method>(method: Name, params: Methods[Name]["params"], options: CallOptions & { retry?: () => void } = {}): Promise<Methods[Name]["result"]> {
    if (!this.engine) throw new CallError("WorkerLost", "the memory is not running");
    const active = ACTIVE.includes(method);
    const told = active ? { ...options, event: (event: ProtocolEvent) => (options.event?.(event), this.emit("activity")) } : options;
    try {
      return await this.engine.call(method, params, told);
    } catch (error) {
      const failure = error as CallError;
      if (failure.kind === "QuotaError") {
        this.full(failure.message, options.retry ?? (() => void this.call(method, params).catch(() => undefined)));
      }
      if (failure.kind === "LockedError" && this.ready) void this.start(); // another tab changed what opens it
      if (failure.kind === "ReadOnlyError" || failure.kind === "FencedError") this.lose(failure.message);
      throw failure;
    } finally {
      if (active) this.emit("activity");
    }
  }

  clearQuota(): void {
    this.quota = null;
    this.emit("quota");
  }

  async refreshLibrary(): Promise<void> {
    this.documents = (await this.call("documents", {})).documents;
    this.emit("library");
  }

  async refreshSessions(): Promise<void> {
    this.sessions = (await this.call("sessions", {})).sessions;
    this.emit("sessions");
  }

  async refreshModel(): Promise<void> {
    this.know(await this.call("models", {}));
    this.emit("model");
  }

  know({ loaded, adapters }: Models): void {
    this.model = loaded;
    this.adapters = adapters;
  }

  /** Questions that go with the sample notes. They belong to the samples, hold nothing of the user's, and are kept beside the theme. */
  get questions(): string[] {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(QUESTIONS_KEY) ?? "[]");
      return Array.isArray(kept) ? kept.filter((question) => typeof question === "string") : [];
    } catch {
      return [];
    }
  }

  set questions(questions: string[]) {
    try {
      localStorage.setItem(QUESTIONS_KEY, JSON.stringify(questions));
    } catch {
      // a browser that refuses localStorage only loses the suggestions
    }
  }

  private told(engine: Engine, event: ProtocolEvent): void {
    if (engine !== this.engine) return;
    if (event.type === "lost") this.lose(event.reason);
    if (event.type === "unsaved") this.full(event.message, () => void this.call("flush", {}).catch(() => undefined));
    if (event.type === "crashed") this.fail(engine, event.kind, event.message);
    if (event.type === "role") {
      this.role = event.role;
      this.took = event.role === "writer" ? event.reason : "";
      this.emit("access");
    }
    if (event.type === "changed") this.refreshSoon();
  }

  /** Another tab saved something: what is listed is read again, once for all that comes at a time. */
  private refreshSoon(): void {
    clearTimeout(this.refreshing);
    this.refreshing = window.setTimeout(() => void Promise.all([this.refreshLibrary(), this.refreshSessions()]).catch(() => undefined), 100);
  }

  private full(message: string, retry: () => void): void {
    this.quota = { message, retry };
    this.emit("quota");
  }

  private lose(reason: string): void {
    this.readOnly = reason || "Another tab took over this memory.";
    this.emit("access");
  }

  private fail(engine: Engine, kind: string, message: string): void {
    if (engine !== this.engine) return;
    this.engine = null;
    engine.close();
    this.set({ name: "failed", kind, message });
    for (const waiter of this.waiting.splice(0)) waiter.reject(new CallError(kind, message));
  }

  private set(phase: Phase): void {
    this.phase = phase;
    this.emit("phase");
  }

  private emit(...changes: Change[]): void {
    for (const change of changes) for (const listener of this.listeners.get(change) ?? []) listener();
  }
}
