// A file of the network, a part at a time, with what went wrong told apart as far as a browser lets a page see it.
import { Failure } from "./failure";

/** The answer to a request. `next` gives the bytes as they come, undefined at the end. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  next(): Promise<Uint8Array | undefined>;
  cancel(): void;
}

const PROBE_MS = 5000;

/**
 * Asks for `address`, with the byte range and the like in `headers`. Rejects with OfflineError, RefusedError (CORS, or this page's
 * content policy) or UnreachableError; `next` with TruncatedError.
 */
export async function openRequest(address: string, headers: Record<string, string>): Promise<Answer> {
  const url = new URL(address, globalThis.location?.href);
  // of these headers only Range may cross origins without asking first, which file servers seldom answer
  if (url.origin !== globalThis.location?.origin) headers = headers.Range ? { Range: headers.Range } : {};
  const abort = new AbortController();
  const refused = new Refusals();
  let response: Response;
  try {
    // a range is of the file as it lies at the server: a cached or packed one would not do
    response = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
  } catch (error) {
    throw await why(url, error as Error, refused);
  } finally {
    refused.end();
  }
  const reader = response.body?.getReader();
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    async next() {
      try {
        const step = await reader?.read();
        return step && !step.done ? step.value : undefined;
      } catch (error) {
        if (offline()) throw new Failure("OfflineError", `the network went away while ${url.href} came`, { cause: error });
        throw new Failure("TruncatedError", `${url.href} stopped in the middle: ${(error as Error).message}`, { cause: error });
      }
    },
    cancel: () => abort.abort(),
  };
}

const offline = (): boolean => globalThis.navigator?.onLine === false;

async function why(url: URL, error: Error, refused: Refusals): Promise<Failure> {
  if (offline()) return new Failure("OfflineError", `this device is offline, so ${url.href} cannot be fetched`, { cause: error });
  if (await refused.happened()) {
    return new Failure("RefusedError", `this page's content policy does not let it read from ${url.host}: download the file yourself and open it here`, { cause: error });
  }
  if (url.origin !== globalThis.location?.origin && (await reachable(url))) {
    return new Failure("RefusedError", `${url.host} does not let other sites' pages read its files (CORS): download the file yourself and open it here`, { cause: error });
  }
  return new Failure("UnreachableError", `${url.host} does not answer: ${error.message}`, { cause: error });
}

/** Whether the server answers at all; what it says stays hidden. */
async function reachable(url: URL): Promise<boolean> {
  try {
    await fetch(url, { mode: "no-cors", method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
    return true;
  } catch {
    return false;
  }
}

/** Notices that the content policy refused something, which the browser tells apart from the failed request, a little later. */
class Refusals {
  private seen = false;
  private readonly note = () => (this.seen = true);

  constructor() {
    globalThis.addEventListener?.("securitypolicyviolation", this.note);
  }

  async happened(): Promise<boolean> {
    globalThis.addEventListener?.("securitypolicyviolation", this.note);
    await new Promise((resolve) => setTimeout(resolve, 50));
    this.end();
    return this.seen;
  }

  end(): void {
    globalThis.removeEventListener?.("securitypolicyviolation", this.note);
  }
}
