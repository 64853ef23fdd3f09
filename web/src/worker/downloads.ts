// Counts what is downloaded while Python loads: Pyodide fetches its files itself and tells no one.

/** Calls `told` with the bytes that came and the bytes expected (0 while that is not known) until `end()`. */
export function countDownloads(told: (done: number, total: number) => void): { restart(): void; end(): void } {
  const original = globalThis.fetch;
  let done = 0;
  let total = 0;
  let known = true;
  const counter = () =>
    new TransformStream<Uint8Array, Uint8Array>({
      transform(part, out) {
        done += part.length;
        told(done, known ? total : 0);
        out.enqueue(part);
      },
    });
  globalThis.fetch = async (input, init) => {
    const response = await original(input, init);
    if (!response.ok || !response.body) return response;
    // a compressed body is longer than its content-length: then the sum is not known
    if (response.headers.has("content-encoding")) known = false;
    total += Number(response.headers.get("content-length") ?? 0);
    const counted = response.body.pipeThrough(counter());
    if (isModule(response)) {
      await counted.pipeTo(new WritableStream());
      return original(input, { ...init, cache: "force-cache" });
    }
    return new Response(counted, { status: response.status, statusText: response.statusText, headers: response.headers });
  };
  return {
    restart() {
      done = total = 0;
      known = true;
    },
    end() {
      globalThis.fetch = original;
    },
  };
}

/** Whether it is WebAssembly that the browser keeps: of the untouched answer, and of no other, it keeps what it compiled as well. */
function isModule(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith("application/wasm") === true && !response.headers.get("cache-control")?.includes("no-store");
}
