// One test run inside Pyodide, the same in Node and in a browser's worker: loads the distribution that was built,
// installs pytest from its wheels, unpacks the tests and runs them. Resolves to pytest's exit code.

/**
 * @param name      "node" or "chromium"
 * @param loadPyodide, indexURL   of the built distribution
 * @param read      (path under build/lane) => Promise<Uint8Array>
 * @param wheels    names under wheels/
 * @param pytest    arguments for pytest
 * @param print     (line) => void
 */
export async function runLane({ name, loadPyodide, indexURL, read, wheels, pytest, print }) {
  const pyodide = await loadPyodide({ indexURL, stdout: print, stderr: print, env: { PYRUVLLM_LANE: name, HOME: "/home/pyodide", COLUMNS: "240" } });
  await pyodide.loadPackage(["pyruvllm"], { messageCallback: () => {} });
  const site = pyodide.runPython("import site; site.getsitepackages()[0]");
  for (const wheel of wheels) pyodide.unpackArchive(await read(`wheels/${wheel}`), "wheel", { extractDir: site });
  pyodide.unpackArchive(await read("tests.zip"), "zip", { extractDir: "/project" });
  pyodide.globals.set("arguments", pyodide.toPy(pytest));
  return await pyodide.runPythonAsync(`
import os, sys
os.chdir("/project")
sys.path.insert(0, "/project")
import pytest
code = int(pytest.main([
    "-p", "tests.pyodide.plugin", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=sys", "--color=no",
    *(arguments if any(each.startswith("tests/") for each in arguments) else ["tests/pyodide/suite", *arguments]),
]))
sys.stdout.flush()
code
`);
}
