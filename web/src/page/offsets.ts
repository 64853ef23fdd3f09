// The memory counts code points, JavaScript counts UTF-16 units. They differ after the first emoji.

const PAIR = /[\ud800-\udbff][\udc00-\udfff]/;

/** The UTF-16 positions of code point positions, which must be ascending. */
export function unitOffsets(text: string, points: number[]): number[] {
  if (!PAIR.test(text)) return points.map((point) => Math.min(point, text.length));
  const found: number[] = [];
  let unit = 0;
  let point = 0;
  for (const wanted of points) {
    while (point < wanted && unit < text.length) {
      unit += text.codePointAt(unit)! > 0xffff ? 2 : 1;
      point++;
    }
    found.push(unit);
  }
  return found;
}

export interface Piece {
  text: string;
  marked: boolean;
}

/** Cuts `text` at `spans` (code points, may overlap or be out of order) into marked and plain pieces. */
export function cut(text: string, spans: [number, number][]): Piece[] {
  const merged: [number, number][] = [];
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else if (end > start) merged.push([start, end]);
  }
  const edges = unitOffsets(text, merged.flat());
  const pieces: Piece[] = [];
  let at = 0;
  for (let index = 0; index < edges.length; index += 2) {
    const [start, end] = [edges[index]!, edges[index + 1]!];
    if (start > at) pieces.push({ text: text.slice(at, start), marked: false });
    if (end > start) pieces.push({ text: text.slice(start, end), marked: true });
    at = Math.max(at, end);
  }
  if (at < text.length) pieces.push({ text: text.slice(at), marked: false });
  return pieces;
}
