// The tabs that have one memory open: one of them writes, and does what the others ask of it.
//
// A call is a text with an id of its own. It is answered after it is durable, and whoever becomes the writer is asked again
// for what the one before did not answer: by the id it knows what was done already. A writer that says nothing for
// PATIENCE.silence is asleep or stuck, and another takes its place; the page store's epoch keeps it from writing when it wakes.
import { Failure } from "./failure";

export const PATIENCE = { ping: 2_000, silence: 10_000, handover: 3_000 }; // ms
const REMEMBERED = 200; // answers that are given again if they are asked for again

type Message =
  | { kind: "who" } // writes? Also: are you still there?
  | { kind: "writer" } // that is me
  | { kind: "saved" }
  | { kind: "call"; call: string; request: string }
  | { kind: "answer"; call: string; answer: string }
  | { kind: "handover" } // another tab wants to write
  | { kind: "handed"; refused: string | null };
type Sent = Message & { from: string; to?: string };

/** Does what a call asks. Rejects where this tab is not the writer any more: then nothing is answered. */
export type Perform = (call: string, request: string) => Promise<string>;

interface Pending {
  request: string;
  asked: string | undefined; // the writer that it was sent to
  resolve(answer: string): void;
  reject(error: Error): void;
}

export interface Hooks {
  /** The writer has saved something. */
  saved(): void;
  /** Saves, and stops being the writer. */
  handOver(): Promise<void>;
  /** The writer does not answer: becomes the writer, or rejects with what there is to say. */
  silent(): Promise<void>;
}

export class Tabs {
  private readonly id = crypto.randomUUID();
  private readonly channel: BroadcastChannel;
  private readonly pending = new Map<string, Pending>();
  private readonly answers = new Map<string, Promise<string>>(); // by call, the oldest first
  private writing = false;
  private closed = false;
  private writer: string | undefined; // who it was when it was last heard
  private heard = 0; // when
  private ticked = 0;
  private timer: ReturnType<typeof setInterval> | undefined;
  private handed: ((refused: string | null) => void) | undefined;
  private perform: Perform | undefined;
  private ready!: () => void;
  private readonly served = new Promise<void>((resolve) => (this.ready = resolve));

  constructor(
    name: string,
    private readonly hooks: Hooks,
  ) {
    this.channel = new BroadcastChannel(`pyruvllm:tabs:${name}`);
    this.channel.onmessage = ({ data }) => this.hear(data as Sent);
    (this.channel as { unref?(): void }).unref?.(); // Node would wait for it
  }

  /** What calls are done by, here where they are to be done here. */
  serve(perform: Perform): void {
    this.perform = perform;
    this.ready();
  }

  /** This tab is the writer now. What it had asked of the one before it does itself. */
  lead(): void {
    this.writing = true;
    this.writer = undefined;
    this.post({ kind: "writer" });
    for (const [call, { request }] of this.pending) this.own(call, request);
  }

  /** Another tab is the writer now, or will be. */
  follow(): void {
    this.writing = false;
    this.post({ kind: "who" });
  }

  saved(): void {
    this.post({ kind: "saved" });
  }

  /** Has the writer do something; resolves with its answer. */
  call(call: string, request: string): Promise<string> {
    const answer = new Promise<string>((resolve, reject) => this.pending.set(call, { request, asked: this.writer, resolve, reject }));
    if (this.writing) this.own(call, request);
    else this.post({ kind: "call", call, request });
    this.watch();
    return answer;
  }

  /** Asks the writer to save and let go. Rejects if it cannot; a writer that does not answer is not waited for. */
  async handover(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refused = await new Promise<string | null>((resolve) => {
      this.handed = resolve;
      timer = setTimeout(() => resolve(null), PATIENCE.handover);
      this.post({ kind: "handover" });
    });
    clearTimeout(timer);
    if (refused !== null) throw new Failure("StorageError", `the tab that writes could not let go: ${refused}`);
  }

  close(reason: string): void {
    clearInterval(this.timer);
    this.closed = true;
    this.channel.close();
    this.drop(new Failure("StorageError", reason));
  }

  private hear(message: Sent): void {
    if (message.to !== undefined && message.to !== this.id) return;
    if (this.writing) this.hearAsWriter(message);
    else this.hearAsFollower(message);
  }

  private hearAsWriter(message: Sent): void {
    const { from } = message;
    if (message.kind === "who") this.post({ kind: "writer" }, from);
    if (message.kind === "call") {
      const { call, request } = message;
      void this.answered(call, request).then((answer) => this.post({ kind: "answer", call, answer }, from), () => undefined);
    }
    if (message.kind === "handover") {
      this.hooks.handOver().then(
        () => this.post({ kind: "handed", refused: null }, from),
        (error: Error) => this.post({ kind: "handed", refused: error.message }, from),
      );
    }
  }

  private hearAsFollower(message: Sent): void {
    if (message.kind === "writer" || message.kind === "saved") this.known(message.from);
    if (message.kind === "saved") this.hooks.saved();
    if (message.kind === "answer") {
      this.known(message.from);
      this.settle(message.call, message.answer);
    }
    if (message.kind === "handed") this.handed?.(message.refused);
  }

  /** A sign of life. A writer that a call was not sent to yet is asked now. */
  private known(writer: string): void {
    this.heard = performance.now();
    this.writer = writer;
    for (const [call, pending] of this.pending) {
      if (pending.asked === writer) continue;
      pending.asked = writer;
      this.post({ kind: "call", call, request: pending.request });
    }
  }

  /** The answer to a call, which is done once however often it is asked. */
  private answered(call: string, request: string): Promise<string> {
    const known = this.answers.get(call);
    if (known) return known;
    const answer = this.served.then(() => this.perform!(call, request));
    this.answers.set(call, answer);
    answer.catch(() => this.answers.delete(call));
    if (this.answers.size > REMEMBERED) this.answers.delete(this.answers.keys().next().value!);
    return answer;
  }

  private own(call: string, request: string): void {
    void this.answered(call, request).then((answer) => this.settle(call, answer), () => undefined);
  }

  private settle(call: string, answer: string): void {
    this.pending.get(call)?.resolve(answer);
    this.pending.delete(call);
  }

  private drop(error: Error): void {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }

  /** While a call waits, the writer is asked for a sign of life. */
  private watch(): void {
    if (this.timer !== undefined) return;
    this.heard = this.ticked = performance.now();
    this.timer = setInterval(() => this.tick(), PATIENCE.ping);
  }

  private tick(): void {
    const now = performance.now();
    if (now - this.ticked > 2 * PATIENCE.ping) this.heard = now; // it was this tab that slept
    this.ticked = now;
    if (!this.pending.size || this.writing) {
      clearInterval(this.timer);
      this.timer = undefined;
    } else if (now - this.heard <= PATIENCE.silence) {
      this.post({ kind: "who" });
    } else {
      this.heard = now;
      this.hooks.silent().catch((error) => this.drop(error));
    }
  }

  private post(message: Message, to?: string): void {
    if (!this.closed) this.channel.postMessage({ ...message, from: this.id, to }); // else the next writer is asked again
  }
}
