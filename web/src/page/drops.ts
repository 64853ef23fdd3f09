// Files dropped or pasted anywhere on the page, and the file chooser.
import { byId, element } from "./element";

/** Calls `take` with files that are dropped on or pasted into the page. Folders are walked. */
export function takeDrops(take: (files: File[]) => void): void {
  const zone = byId("dropzone");
  let depth = 0;
  const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const show = (on: boolean) => (zone.hidden = !on);
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth++;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) show(false);
  });
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    show(false);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? null); // only readable before the first await
    const plain = [...event.dataTransfer.files];
    const walked = entries.some((entry) => entry?.isDirectory) ? (await Promise.all(entries.map(walk))).flat() : plain;
    if (walked.length) take(walked);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}

/** Opens the browser's file chooser. */
export function chooseFiles(take: (files: File[]) => void, options: { accept?: string; multiple?: boolean } = {}): void {
  const input = element("input", { type: "file", class: "visually-hidden", tabindex: -1, "aria-hidden": "true", multiple: options.multiple ?? true, accept: options.accept });
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.remove();
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

async function walk(entry: FileSystemEntry | null): Promise<File[]> {
  if (!entry || entry.name.startsWith(".")) return [];
  if (entry.isFile) return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: File[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 a call
    if (!some.length) return found;
    for (const child of some) found.push(...(await walk(child)));
  }
}
