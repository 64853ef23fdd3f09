// SQLite as WebAssembly: sql.js, loaded once, with a view of its memory.
import initSqlJs, { type SqlModule } from "sql.js";
import { asset } from "./assets";

export interface Engine {
  sqlite: SqlModule;
  memory: WebAssembly.Memory; // its buffer is another one after each growth: take views when they are used
}

let loading: Promise<Engine> | undefined;

export function engine(): Promise<Engine> {
  loading ??= load().catch((error) => {
    loading = undefined; // the server may answer the next time
    throw error;
  });
  return loading;
}

async function load(): Promise<Engine> {
  const bytes = (await asset("wasm/sql-wasm.wasm")) as Uint8Array<ArrayBuffer>;
  const module = await WebAssembly.compile(bytes);
  let memory: WebAssembly.Memory | undefined;
  const sqlite = await initSqlJs({
    useOldExtensionFunctions: false,
    instantiateWasm(imports, received) {
      void WebAssembly.instantiate(module, imports).then((instance) => {
        memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
        received(instance);
      });
      return {};
    },
  });
  return { sqlite, memory: memory! };
}
