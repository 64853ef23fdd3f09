// The writer's lock: one writer per database among all tabs and workers of the origin.
//
// Where the Web Locks API is missing (Node 20) the lock reaches only as far as this realm; between realms the epoch in the
// page store fences.

/** A lock that is held. It goes back by `release`, or when the tab or worker dies. `stolen` resolves if another takes it away. */
export interface Lock {
  release(): void;
  readonly stolen: Promise<void>;
}

// A tab that is being reloaded may still hold the lock for a moment, and one that waits for it holds it for an instant.
const PATIENCE_MS = 250;

/** The lock, or undefined if somebody else holds it. */
export async function acquire(name: string): Promise<Lock | undefined> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    return await inherit(name, patience.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** The lock as soon as it is free and nobody waited longer, or undefined when `signal` ended the wait. */
export async function inherit(name: string, signal: AbortSignal): Promise<Lock | undefined> {
  try {
    return await held(name, { signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

/** The lock at once, taken away from whoever holds it. */
export function seize(name: string): Promise<Lock> {
  return held(name, { steal: true });
}

interface Options {
  signal?: AbortSignal;
  steal?: boolean;
}
type Granted = () => Promise<void>;

function held(name: string, options: Options): Promise<Lock> {
  return new Promise((resolve, reject) => {
    let steal: (() => void) | undefined;
    const granted = () => {
      const stolen = new Promise<void>((settle) => (steal = settle));
      return new Promise<void>((release) => resolve({ release, stolen }));
    };
    request(`pyruvllm:writer:${name}`, options, granted).catch((error) => (steal ? steal() : reject(error)));
  });
}

function request(name: string, options: Options, granted: Granted): Promise<unknown> {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(name, options, granted) : requestInRealm(name, options, granted);
}

interface Turn {
  grant(): void;
  rob(): void;
}
const queues = new Map<string, { holder?: Turn; waiting: Turn[] }>(); // by lock

/** As LockManager.request, among the callers of this realm. */
function requestInRealm(name: string, { signal, steal }: Options, granted: Granted): Promise<void> {
  const queue = queues.get(name) ?? { waiting: [] };
  queues.set(name, queue);
  return new Promise((resolve, reject) => {
    const turn: Turn = {
      grant() {
        queue.holder = turn;
        granted()
          .finally(() => {
            if (queue.holder !== turn) return; // it was stolen
            queue.holder = undefined;
            queue.waiting.shift()?.grant();
          })
          .then(resolve, reject);
      },
      rob: () => reject(new DOMException("the lock was stolen", "AbortError")),
    };
    signal?.addEventListener("abort", () => {
      const place = queue.waiting.indexOf(turn);
      if (place < 0) return;
      queue.waiting.splice(place, 1);
      reject(signal.reason);
    });
    if (signal?.aborted) return reject(signal.reason);
    if (queue.holder && !steal) return void queue.waiting.push(turn);
    const robbed = queue.holder;
    turn.grant();
    robbed?.rob();
  });
}
