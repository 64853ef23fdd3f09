// Calls into the worker: one promise a call, its events on the way, cancelling through an AbortSignal.
import { isOfTheMemory, type Method, type Methods, type ProtocolEvent, type Reply } from "./protocol";

/** A call that failed. `kind` is the name of the error in the package, such as QuotaError or Cancelled. */
export class CallError extends Error {
  constructor(
    readonly kind: string,
    message: string,
  ) {
    super(message);
    this.name = kind;
  }
}

interface Call {
  resolve(result: never): void;
  reject(error: CallError): void;
  event?: (event: ProtocolEvent) => void;
}

export interface CallOptions {
  event?: (event: ProtocolEvent) => void;
  signal?: AbortSignal;
  transfer?: Transferable[];
}

/** A worker that was started. After `close()` or a crash every open and later call rejects with kind "WorkerLost". */
export class Engine {
  private readonly worker: Worker;
  private readonly calls = new Map<number, Call>();
  private next = 1;
  private dead: CallError | null = null;

  /** `told` hears what no call asked for: what is of the memory as a whole, and a crash. */
  constructor(address: string, private readonly told: (event: ProtocolEvent) => void) {
    this.worker = new Worker(address, { type: "module" });
    this.worker.onmessage = (message: MessageEvent<Reply>) => this.hear(message.data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      const where = event.filename ? ` (${event.filename.split("/").pop()}:${event.lineno})` : "";
      this.crash("WorkerLost", event.message ? event.message + where : `the worker could not be loaded from ${address}`);
    };
    this.worker.onmessageerror = () => this.crash("WorkerLost", "a message from the worker could not be read");
  }

  call<Name extends Method>(method: Name, params: Methods[Name]["params"], options: CallOptions = {}): Promise<Methods[Name]["result"]> {
    if (this.dead) return Promise.reject(this.dead);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) return reject(new CallError("Cancelled", "cancelled before it began"));
      options.signal?.addEventListener("abort", () => {
        if (this.calls.has(id)) this.worker.postMessage({ id: this.next++, method: "cancel", params: { id } });
      });
      this.calls.set(id, { resolve, reject, event: options.event });
      this.worker.postMessage({ id, method, params }, options.transfer ?? []);
    });
  }

  close(): void {
    this.worker.terminate();
    this.end(new CallError("WorkerLost", "the worker was stopped"));
  }

  private hear(reply: Reply): void {
    const { id, event } = reply;
    if (event) {
      if (event.type === "crashed") this.crash(event.kind, event.message);
      else if (isOfTheMemory(event)) this.told(event);
      else if (id !== undefined) this.calls.get(id)?.event?.(event);
      return;
    }
    const call = id === undefined ? undefined : this.calls.get(id);
    if (!call || id === undefined) return;
    this.calls.delete(id);
    if (reply.error) call.reject(new CallError(reply.error.kind, reply.error.message));
    else call.resolve(reply.result as never);
  }

  private crash(kind: string, message: string): void {
    if (this.dead) return;
    this.worker.terminate();
    this.end(new CallError(kind, message));
    this.told({ type: "crashed", kind, message });
  }

  private end(error: CallError): void {
    this.dead = error;
    for (const call of this.calls.values()) call.reject(error);
    this.calls.clear();
  }
}
