// The Chromium lane's worker: the bridge with the browser's own IndexedDB, locks and onnxruntime-web, and Python beside it.
import { runLane } from "./lane.mjs";

onmessage = async ({ data: { wheels, pytest } }) => {
  const print = (line) => postMessage({ line });
  let code = 70;
  try {
    await import("./bridge.js");
    const { loadPyodide } = await import("./pyodide/pyodide.mjs");
    code = await runLane({
      name: "chromium",
      loadPyodide,
      indexURL: new URL("./pyodide/", location.href).href,
      read: async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer()),
      wheels,
      pytest,
      print,
    });
  } catch (error) {
    print(`the lane failed: ${error?.stack ?? error}`);
  }
  postMessage({ code });
};
