// Which files are text, and what they say. Judged by their bytes: names lie, and types are often missing.
import { bytes } from "./format";
import type { Item } from "./protocol";

const LIMIT = 8_000_000; // bytes; a text of this size is about 1,300 pages
const KNOWN: Record<string, string> = {
  pdf: "PDF files cannot be read yet; save it as text first",
  docx: "Word files cannot be read yet; save it as text first",
  doc: "Word files cannot be read yet; save it as text first",
  odt: "OpenDocument files cannot be read yet; save it as text first",
  rtf: "RTF files cannot be read yet; save it as text first",
  epub: "E-books cannot be read yet; save it as text first",
};

export type Verdict = { item: Item } | { refused: string };

/** The file as an item to remember, or the reason why it is none. */
export async function readTextFile(file: File): Promise<Verdict> {
  const ending = file.name.split(".").pop()?.toLowerCase() ?? "";
  if (KNOWN[ending]) return { refused: KNOWN[ending] };
  if (file.size === 0) return { refused: "the file is empty" };
  if (file.size > LIMIT) return { refused: `${bytes(file.size)} is more than the ${bytes(LIMIT)} a file may have` };
  let raw: Uint8Array;
  try {
    raw = new Uint8Array(await file.arrayBuffer());
  } catch {
    return { refused: "the file could not be read" };
  }
  const text = decode(raw);
  if (text === null) return { refused: "it is not a text file" };
  if (!text.trim()) return { refused: "there is nothing but white space in it" };
  const markdown = ending === "md" || ending === "markdown";
  return { item: { title: file.name.replace(/\.(txt|md|markdown)$/i, ""), text, media_type: markdown ? "text/markdown" : "text/plain" } };
}

/** UTF-8, or UTF-16 that says so in its first two bytes; null for anything else. */
function decode(raw: Uint8Array): string | null {
  const utf16 = raw[0] === 0xff && raw[1] === 0xfe ? "utf-16le" : raw[0] === 0xfe && raw[1] === 0xff ? "utf-16be" : null;
  if (!utf16 && raw.includes(0)) return null;
  try {
    return new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(raw).replaceAll("\r\n", "\n");
  } catch {
    return null;
  }
}
