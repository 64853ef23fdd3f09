// Starts the worker, passes its lines to the console, shows pytest's exit code in #code.
const worker = new Worker("./lane-worker.mjs", { type: "module" });
const finish = (code) => (document.querySelector("#code").textContent = String(code));
worker.onmessage = ({ data }) => ("line" in data ? console.log(data.line) : finish(data.code));
worker.onerror = (event) => {
  console.log(`the lane's worker failed: ${event.message} (${event.filename}:${event.lineno})`);
  finish(70);
};
worker.postMessage(JSON.parse(new URLSearchParams(location.search).get("run")));
