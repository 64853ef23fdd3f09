// The Node lane: node [flags] tests/pyodide/node.mjs [pytest arguments]. IndexedDB is fake-indexeddb, assets are read from web/dist.
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import "../../web/node_modules/fake-indexeddb/auto/index.mjs";
import { runLane } from "./lane.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const dist = path.join(root, "web/dist");
const lane = path.join(root, "build/lane");
const load = (file) => import(pathToFileURL(file).href);

const { bridge } = await load(path.join(lane, "bridge.mjs"));
bridge.configure({ read: async (name) => new Uint8Array(await readFile(path.join(dist, name))) });
const { loadPyodide } = await load(path.join(dist, "pyodide/pyodide.mjs"));

const code = await runLane({
  name: "node",
  loadPyodide,
  indexURL: path.join(dist, "pyodide") + path.sep,
  read: (name) => readFile(path.join(lane, name)),
  wheels: await readdir(path.join(lane, "wheels")),
  pytest: process.argv.slice(2),
  print: (line) => console.log(line),
});
process.exit(code);
