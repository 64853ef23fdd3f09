// Files that belong to the page: WASM modules, models, tokenizers. Always from the page's own server.

export type Progress = (done: number, total: number) => void;
type Reader = (path: string, progress?: Progress) => Promise<Uint8Array>;

let folder: URL | undefined = new URL("./", globalThis.location?.href ?? "file:///");
let read: Reader = fetched(folder);

/** Sets where assets come from: a base address, or a reader of one's own (Node, tests). */
export function configure(options: { base?: string | URL; read?: Reader }): void {
  if (!options.read && !options.base) return;
  folder = options.read ? undefined : new URL(options.base!, globalThis.location?.href);
  read = options.read ?? fetched(folder!);
}

/** The bytes of one asset. Rejects with an Error that names the path and the status. */
export function asset(path: string, progress?: Progress): Promise<Uint8Array> {
  return read(path, progress);
}

/** The address of an asset whose bytes are in the browser's cache by then; undefined where a reader of one's own gives them. Rejects as `asset`. */
export async function cached(path: string): Promise<string | undefined> {
  if (!folder) return undefined;
  const response = await answered(path, folder);
  await response.body.pipeTo(new WritableStream());
  return response.url;
}

async function answered(path: string, base: URL): Promise<Response & { body: ReadableStream<Uint8Array> }> {
  const response = await fetch(new URL(path, base));
  if (!response.ok || !response.body) throw new Error(`${path}: the server answered ${response.status} ${response.statusText}`);
  return response as Response & { body: ReadableStream<Uint8Array> };
}

function fetched(base: URL): Reader {
  return async (path, progress) => {
    const response = await answered(path, base);
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
