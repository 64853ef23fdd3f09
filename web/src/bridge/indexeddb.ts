// IndexedDB as promises, and the layout of the IndexedDB database that one memory is kept in.
import { Failure, failed } from "./failure";

const VERSION = 1;
const DELETE_WAIT_MS = 10_000;

export function idbName(name: string): string {
  return `pyruvllm:${name}`;
}

/** Opens the IndexedDB of a memory; undefined if there is none and `create` is false. */
export async function connect(name: string, create: boolean): Promise<IDBDatabase | undefined> {
  const request = indexedDB.open(idbName(name), VERSION);
  let absent = false;
  request.onupgradeneeded = () => {
    if (create) {
      for (const store of ["meta", "log", "base"]) request.result.createObjectStore(store);
    } else {
      absent = true;
      request.transaction!.abort(); // leaves nothing behind
    }
  };
  try {
    return await settled(request);
  } catch (error) {
    if (absent) return undefined;
    throw failed(`opening the database "${name}"`, error);
  }
}

/** Removes the IndexedDB of a memory. Connections of other tabs are told to close first. */
export async function remove(name: string): Promise<void> {
  const request = indexedDB.deleteDatabase(idbName(name));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Failure("StorageError", `the database "${name}" was not deleted: another tab does not let go of it; close that tab`)),
      DELETE_WAIT_MS,
    );
  });
  try {
    await Promise.race([settled(request), stuck]);
  } catch (error) {
    throw failed(`deleting the database "${name}"`, error);
  } finally {
    clearTimeout(timer);
  }
}

export function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Resolves when a transaction has completed, which for a strict one means: is on disk. */
export function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("the transaction was aborted", "AbortError"));
  });
}
