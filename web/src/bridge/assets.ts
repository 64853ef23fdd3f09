// Files that belong to the page: WASM modules, models, tokenizers. Always from the page's own server.

export type Progress = (done: number, total: number) => void;
type Reader = (path: string, progress?: Progress) => Promise<Uint8Array>;

let read: Reader = fetched(new URL("./", globalThis.location?.href ?? "file:///"));

/** Sets where assets come from: a base address, or a reader of one's own (Node, tests). */
export function configure(options: { base?: string | URL; read?: Reader }): void {
  if (options.read) read = options.read;
  else if (options.base) read = fetched(new URL(options.base, globalThis.location?.href));
}

/** The bytes of one asset. Rejects with an Error that names the path and the status. */
export function asset(path: string, progress?: Progress): Promise<Uint8Array> {
  return read(path, progress);
}

function fetched(base: URL): Reader {
  return async (path, progress) => {
    const url = new URL(path, base);
    const response = await fetch(url);
    if (!response.ok || !response.body) throw new Error(`${path}: the server answered ${response.status} ${response.statusText}`);
    const total = Number(response.headers.get("content-length") ?? 0);
    const parts: Uint8Array[] = [];
    let done = 0;
    const reader = response.body.getReader();
    for (let step = await reader.read(); !step.done; step = await reader.read()) {
      parts.push(step.value);
      done += step.value.length;
      progress?.(done, Math.max(total, done));
    }
    const bytes = new Uint8Array(done);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  };
}
