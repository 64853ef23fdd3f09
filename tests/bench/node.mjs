// Reads [Python source, what `given` is to be] as JSON from standard input, runs it in Pyodide and prints what it comes to.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const pyodideFolder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../web/dist/pyodide");
const [source, given] = JSON.parse(readFileSync(0, "utf8"));
try {
  const { loadPyodide } = await import(path.join(pyodideFolder, "pyodide.mjs"));
  const pyodide = await loadPyodide({ indexURL: pyodideFolder + path.sep });
  await pyodide.loadPackage(["pyruvllm"], { messageCallback: () => {} });
  pyodide.globals.set("given", given);
  console.log(await pyodide.runPythonAsync(source));
} catch (error) {
  console.log(error.message); // left uncaught, Node would show the line of Pyodide it came from: a megabyte
  process.exitCode = 1;
}
