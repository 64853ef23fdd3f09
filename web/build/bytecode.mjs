// Compiles the Python sources in archives, in their place, by the Python that will run them: a page that starts would do so every time.
// node bytecode.mjs PYODIDE ARCHIVE...: PYODIDE is the folder of its core; a .whl goes to site-packages, a .zip is imported from as it is.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";

const COMPILE = `
import pathlib, py_compile, sys, zipfile

def compiled(wheel):
    major, minor = sys.version_info[:2]
    place = f"/lib/python{major}.{minor}/site-packages" if wheel else f"/lib/python{major}{minor}.zip"
    with zipfile.ZipFile("/given") as given, zipfile.ZipFile("/made", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name in given.namelist():
            content = given.read(name)
            if name.endswith(".py"):
                pathlib.Path("/source").write_bytes(content)
                py_compile.compile("/source", "/bytecode", f"{place}/{name}", doraise=True)
                name, content = name + "c", pathlib.Path("/bytecode").read_bytes()
            made.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
compiled
`;

const [folder, ...archives] = process.argv.slice(2).map((each) => path.resolve(each));
const { loadPyodide } = await import(pathToFileURL(path.join(folder, "pyodide.mjs")).href);
const pyodide = await loadPyodide({ indexURL: folder + path.sep });
const compiled = pyodide.runPython(COMPILE);
for (const archive of archives) {
  pyodide.FS.writeFile("/given", await readFile(archive));
  compiled(archive.endsWith(".whl"));
  await writeFile(archive, pyodide.FS.readFile("/made"));
}
process.exit(0);
