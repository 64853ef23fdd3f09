// Libraries for browsers on the same data, in Node and in Chromium. `modules` is where npm put them, `data` the folder's address.
export async function measure({ library, modules, data, M, ef_construction, efs }) {
  const get = async (name) => (await fetch(`${data}/${name}`)).arrayBuffer();
  const shape = JSON.parse(new TextDecoder().decode(await get("shape.json")));
  const queries = new Float32Array(await get("queries.f32"));
  const truth = new Int32Array(await get("truth.i32"));
  const index = await LIBRARIES[library](modules, shape, M, ef_construction);
  let spent = 0;
  for (let start = 0, number = 0; start < shape.count; number++) {
    const rows = new Float32Array(await get(`base.${number}.f32`));
    const begun = performance.now();
    for (let at = 0; at < rows.length; at += shape.dim) index.add(rows.subarray(at, at + shape.dim), start++);
    spent += performance.now() - begun;
  }
  const query = (i) => queries.subarray(i * shape.dim, (i + 1) * shape.dim);
  const points = [];
  for (const ef of efs) {
    index.width(ef);
    for (let i = 0; i < 20; i++) index.search(query(i));
    const times = [];
    let hits = 0;
    for (let i = 0; i < shape.queries; i++) {
      const begun = performance.now();
      const found = index.search(query(i));
      times.push(performance.now() - begun);
      const best = new Set(truth.subarray(10 * i, 10 * i + 10));
      for (const id of found) hits += best.has(Number(id));
    }
    times.sort((x, y) => x - y);
    const at = (share) => Number(times[Math.floor(share * (times.length - 1))].toFixed(4));
    points.push([ef, Number((hits / (10 * shape.queries)).toFixed(4)), at(0.5), at(0.95)]);
  }
  return { engine: "wasm", "build seconds": Number((spent / 1000).toFixed(1)), bytes: index.bytes(), points };
}

const LIBRARIES = {
  async "hnswlib-wasm"(modules, shape, M, ef_construction) {
    const { default: load } = await import(`${modules}/hnswlib-wasm/dist/hnswlib-317962d7.js`); // its own loader wants IndexedDB
    const node = globalThis.process;
    if (node) Object.assign(globalThis, { process: undefined, window: globalThis, document: {}, location: { href: modules } }); // it refuses Node
    const hnswlib = await load();
    if (node) globalThis.process = node;
    const made = new hnswlib.HierarchicalNSW("ip", shape.dim, "");
    made.initIndex(shape.count, M, ef_construction, 1);
    return {
      add: (row, id) => made.addPoint(row, id, false),
      width: (ef) => made.setEfSearch(ef),
      search: (row) => made.searchKnn(row, 10, undefined).neighbors,
      bytes: () => null, // it does not say
    };
  },
  async "ruvllm-wasm"(modules, shape) {
    const module = await import(`${modules}/@ruvector/ruvllm-wasm/ruvllm_wasm.js`);
    const wasm = `${modules}/@ruvector/ruvllm-wasm/ruvllm_wasm_bg.wasm`;
    const file = typeof process === "object" ? await (await import("node:fs/promises")).readFile(new URL(wasm)) : await fetch(wasm);
    await module.default({ module_or_path: file });
    const made = new module.HnswRouterWasm(shape.dim, shape.count);
    return {
      add: (row, id) => made.addPattern(row, String(id), "{}"),
      width: (ef) => made.setEfSearch(ef),
      search: (row) => made.route(row, 10).map((found) => found.name),
      bytes: () => null,
    };
  },
};

if (typeof process === "object" && process.argv[2]) console.log(JSON.stringify(await measure(JSON.parse(process.argv[2]))));
