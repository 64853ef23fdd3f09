import assert from "node:assert/strict";
import { test } from "node:test";
import { countDownloads } from "../src/worker/downloads";

interface Asked {
  cache: RequestCache | undefined;
  given: Response;
}

/** A network whose answers have these headers and a body of 3,000 bytes; what was asked of it, and what was told while `work` ran. */
async function counted(headers: Record<string, string>, work: () => Promise<void>): Promise<{ asked: Asked[]; told: [number, number][] }> {
  const before = globalThis.fetch;
  const asked: Asked[] = [];
  const told: [number, number][] = [];
  globalThis.fetch = async (_, init) => {
    asked.push({ cache: init?.cache, given: new Response(new Uint8Array(3000), { headers }) });
    return asked.at(-1)!.given;
  };
  const network = globalThis.fetch;
  const counting = countDownloads((done, total) => told.push([done, total]));
  try {
    await work();
    counting.end();
    assert.equal(globalThis.fetch, network);
  } finally {
    globalThis.fetch = before;
  }
  return { asked, told };
}

test("bytes are counted as they come, and add up", async () => {
  const { asked, told } = await counted({ "content-length": "3000", "content-type": "text/plain" }, async () => {
    for (let file = 0; file < 2; file++) assert.equal((await (await fetch("a")).arrayBuffer()).byteLength, 3000);
  });
  assert.equal(asked.length, 2);
  assert.deepEqual(told, [
    [3000, 3000],
    [6000, 6000],
  ]);
});

test("of a compressed body the sum is not known", async () => {
  const { told } = await counted({ "content-length": "30", "content-encoding": "gzip" }, async () => {
    await (await fetch("a")).arrayBuffer();
  });
  assert.deepEqual(told, [[3000, 0]]);
});

test("a module is counted, and then given as it lies in the browser's cache, with what was compiled of it", async () => {
  let got: Response;
  const { asked, told } = await counted({ "content-length": "3000", "content-type": "application/wasm", "cache-control": "no-cache" }, async () => {
    got = await fetch("a.wasm");
  });
  assert.deepEqual(told, [[3000, 3000]]);
  assert.deepEqual(asked.map(({ cache }) => cache), [undefined, "force-cache"]);
  assert.equal(got!, asked[1]!.given);
});

test("a module that no cache keeps is fetched once", async () => {
  const { asked, told } = await counted({ "content-type": "application/wasm", "cache-control": "private, no-store" }, async () => {
    assert.equal((await (await fetch("a.wasm")).arrayBuffer()).byteLength, 3000);
  });
  assert.equal(asked.length, 1);
  assert.equal(told.at(-1)![0], 3000);
});
