// Bundles TypeScript with esbuild. One argument says what: bridge | page (into web/dist) | tests (into build/).
// Prints what it made, one path a line, relative to the project's root.
import { build } from "esbuild";
import { copyFile, mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

const common = {
  absWorkingDir: root,
  bundle: true,
  target: "es2022",
  sourcemap: "linked",
  loader: { ".py": "text" },
  nodePaths: ["web/node_modules"],
  logLevel: "warning",
  metafile: true,
};
const browser = {
  ...common,
  minify: true,
  platform: "browser",
  legalComments: "linked",
  // Emscripten's output asks for these only where it finds itself in Node; Pyodide and pictures lie beside the bundle as they are.
  external: ["node:*", "module", "fs", "path", "crypto", "worker_threads", "url", "os", "./pyodide/*", "./*.svg"],
};

const targets = {
  bridge: {
    ...one(browser, "web/src/bridge/index.ts", "web/dist/bridge.js", "esm"),
    copies: {
      "web/dist/wasm/sql-wasm.wasm": "web/node_modules/sql.js/dist/sql-wasm-browser.wasm",
      "web/dist/wasm/ort-wasm-simd-threaded.wasm": "web/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    },
  },
  page: {
    bundles: [
      ...one(browser, "web/src/page/main.ts", "web/dist/main.js", "esm").bundles,
      ...one(browser, "web/src/page/theme-first.ts", "web/dist/theme.js", "iife").bundles,
      ...one(browser, "web/src/page/page.css", "web/dist/page.css").bundles,
      ...one(browser, "web/src/worker/worker.ts", "web/dist/worker.js", "esm").bundles,
    ],
    copies: { "web/dist/index.html": "web/src/page/index.html", ...(await mirrored("web/public", "web/dist")) },
  },
  tests: {
    bundles: [
      {
        ...common,
        platform: "node",
        entryPoints: (await inside("web/test")).filter((name) => name.endsWith(".test.ts")).map((name) => path.join("web/test", name)),
        outdir: "build/web-tests",
        outExtension: { ".js": ".cjs" },
        format: "cjs",
        sourcemap: "inline",
      },
    ],
    copies: {},
  },
};

const { bundles, copies } = targets[process.argv[2]];
const made = [];
try {
  for (const bundle of bundles) made.push(...Object.keys((await build(bundle)).metafile.outputs));
} catch {
  process.exit(1); // esbuild has said where
}
for (const [to, from] of Object.entries(copies)) {
  await mkdir(path.join(root, path.dirname(to)), { recursive: true });
  await copyFile(path.join(root, from), path.join(root, to));
  made.push(to);
}
process.stdout.write(made.join("\n") + "\n");

function one(base, from, to, format) {
  return { bundles: [{ ...base, entryPoints: [from], outfile: to, format }] };
}

/** The files under a folder, relative to it. */
async function inside(folder) {
  const entries = await readdir(path.join(root, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(path.join(root, folder), path.join(entry.parentPath ?? entry.path, entry.name)));
}

async function mirrored(from, to) {
  return Object.fromEntries((await inside(from)).map((name) => [path.join(to, name), path.join(from, name)]));
}
