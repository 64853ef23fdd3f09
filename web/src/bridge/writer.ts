// The writer's lock: one writer per database among all tabs and workers of the origin.
//
// Where the Web Locks API is missing (Node 20) the lock reaches only as far as this realm; between realms the epoch in the
// page store fences.

type Granted = () => Promise<void> | void;
export type Release = () => void;

// A tab that is being reloaded may still hold the lock for a moment, and one that waits for it holds it for an instant.
const PATIENCE_MS = 250;

/** The lock, or undefined if somebody else holds it. It goes back when it is called, or when the tab or worker dies. */
export function acquire(name: string): Promise<Release | undefined> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  return new Promise((resolve, reject) => {
    const granted = () => {
      clearTimeout(timer);
      return new Promise<void>(resolve);
    };
    request(lockName(name), { signal: patience.signal }, granted).catch((error) => {
      if (patience.signal.aborted) resolve(undefined);
      else reject(error);
    });
  });
}

/** Resolves with true when the lock has become free, with false when `signal` ended the wait. */
export async function becomesFree(name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await request(lockName(name), { signal }, () => undefined);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

function lockName(name: string): string {
  return `pyruvllm:writer:${name}`;
}

function request(name: string, options: { signal: AbortSignal }, granted: Granted): Promise<unknown> {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(name, options, granted) : requestInRealm(name, options, granted);
}

const queues = new Map<string, Promise<void>>(); // by lock: settles when the last in the queue has left

/** As LockManager.request, among the callers of this realm. */
async function requestInRealm(name: string, { signal }: { signal: AbortSignal }, granted: Granted): Promise<void> {
  const before = queues.get(name) ?? Promise.resolve();
  let leave!: () => void;
  const left = new Promise<void>((resolve) => (leave = resolve));
  const tail = before.then(() => left);
  queues.set(name, tail);
  void tail.then(() => queues.get(name) === tail && queues.delete(name));
  try {
    await Promise.race([before, aborted(signal)]);
    await granted();
  } finally {
    leave();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
