// What the memory needs of a browser, asked before anything is downloaded.

// (module (func (result v128) i32.const 0 i8x16.splat)): valid only where WebAssembly has SIMD.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

/** What is missing, in words for a person; empty when everything is there. */
export async function missingFeatures(): Promise<string[]> {
  const missing: string[] = [];
  if (!window.isSecureContext) missing.push("A secure address: open the page from https:// or localhost");
  if (typeof WebAssembly !== "object") missing.push("WebAssembly");
  else if (!WebAssembly.validate(new Uint8Array(SIMD))) missing.push("WebAssembly SIMD");
  if (!moduleWorkers()) missing.push("Module workers");
  if (!navigator.locks) missing.push("Web Locks");
  if (!(await storageWorks())) missing.push("IndexedDB: this window keeps nothing, as some private windows do");
  return missing;
}

function moduleWorkers(): boolean {
  let asked = false;
  try {
    const options = {
      get type(): "module" {
        asked = true;
        return "module";
      },
    };
    // A browser without module workers never reads `type`. The address has nothing behind it and the worker is ended at once.
    new Worker("./theme.js", options).terminate();
  } catch {
    return false;
  }
  return asked;
}

function storageWorks(): Promise<boolean> {
  return new Promise((resolve) => {
    try {
      const name = "pyruvllm-probe";
      const request = indexedDB.open(name, 1);
      request.onerror = (event) => {
        event.preventDefault();
        resolve(false);
      };
      request.onsuccess = () => {
        request.result.close();
        indexedDB.deleteDatabase(name);
        resolve(true);
      };
    } catch {
      resolve(false);
    }
  });
}
