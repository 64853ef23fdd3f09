// The Node lane: node [flags] tests/pyodide/node.mjs [pytest arguments]. IndexedDB is fake-indexeddb, assets are read from web/dist.
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import "../../web/node_modules/fake-indexeddb/auto/index.mjs";
import { runLane } from "./lane.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const dist = path.join(root, "web/dist");
const lane = path.join(root, "build/lane");
const bytes = async (...parts) => new Uint8Array(await readFile(path.join(...parts)));
const load = (file) => import(pathToFileURL(file).href);

let code = 70;
try {
  const { bridge } = await load(path.join(lane, "bridge.mjs"));
  bridge.configure({ read: (name) => bytes(dist, name) });
  const { loadPyodide } = await load(path.join(dist, "pyodide/pyodide.mjs"));
  code = await runLane({
    name: "node",
    loadPyodide,
    indexURL: path.join(dist, "pyodide") + path.sep,
    read: (name) => bytes(lane, name),
    wheels: await readdir(path.join(lane, "wheels")),
    pytest: process.argv.slice(2),
    print: (line) => console.log(line),
  });
} catch (error) {
  console.log(`the lane failed: ${error?.stack ?? error}`); // left uncaught, Node would show the line of Pyodide it came from: a megabyte
}
process.exit(code);
