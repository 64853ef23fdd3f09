// Records of the log: what one commit changed, in bodies that stay below the size from which IndexedDB makes a value a file of its own.
//
// A body is: pages in it, records of its commit (big-endian uint32 each); for each page its number, with the top bit set where
// only some of its granules follow (uint32 each); then in the same order the contents: a page, or a mask of granules (uint32, the
// lowest bit for the first) and the granules.
import { GRANULE, GRANULES, PAGE, type Change, type PagedFile } from "./pagedfile";

const ALL = 0xffffffff; // the mask of a whole page
const HEADER = 8; // bytes
const NUMBER = 4;
const MASK = 4;
const IN_PART = 0x80000000; // of a page number
const MOST = 14 * (NUMBER + PAGE); // bytes after the header: values of 64 KB and more become files of their own, which is slow

/** The bodies of a commit's records. They are copies: the file may change while they are on their way. */
export function logBodies(file: PagedFile, changes: Change[]): Uint8Array[] {
  const groups: Change[][] = [];
  let room = 0;
  for (const change of changes) {
    const size = NUMBER + contentSize(change.mask);
    if (size > room) {
      groups.push([]);
      room = MOST;
    }
    groups.at(-1)!.push(change);
    room -= size;
  }
  return groups.map((group) => logBody(file, group, groups.length));
}

/** Gives what a body says was changed, in views of it. Returns of how many records its commit is made. */
export function readLogBody(body: Uint8Array, take: (change: Change, content: Uint8Array) => void): number {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const count = view.getUint32(0);
  let start = HEADER + NUMBER * count;
  for (let n = 0; n < count; n++) {
    const number = view.getUint32(HEADER + NUMBER * n);
    const inPart = number >= IN_PART;
    const mask = inPart ? view.getUint32(start) : ALL;
    const end = start + contentSize(mask);
    take({ page: inPart ? number - IN_PART : number, mask }, body.subarray(inPart ? start + MASK : start, end));
    start = end;
  }
  return view.getUint32(4);
}

/** Puts what a record has of a page in its place. */
export function putGranules(page: Uint8Array, mask: number, content: Uint8Array): void {
  if (mask === ALL) return page.set(content);
  let from = 0;
  eachGranule(mask, (start) => {
    page.set(content.subarray(from, from + GRANULE), start);
    from += GRANULE;
  });
}

function logBody(file: PagedFile, group: Change[], records: number): Uint8Array {
  const size = group.reduce((sum, { mask }) => sum + NUMBER + contentSize(mask), HEADER);
  const body = new Uint8Array(size);
  const view = new DataView(body.buffer);
  view.setUint32(0, group.length);
  view.setUint32(4, records);
  let at = HEADER + NUMBER * group.length;
  group.forEach(({ page, mask }, n) => {
    view.setUint32(HEADER + NUMBER * n, mask === ALL ? page : page + IN_PART);
    const content = file.page(page);
    if (mask === ALL) {
      body.set(content, at);
    } else {
      view.setUint32(at, mask);
      let to = at + MASK;
      eachGranule(mask, (start) => {
        body.set(content.subarray(start, start + GRANULE), to);
        to += GRANULE;
      });
    }
    at += contentSize(mask);
  });
  return body;
}

/** Calls with where each granule of a mask starts in its page. */
function eachGranule(mask: number, act: (start: number) => void): void {
  for (let granule = 0; granule < GRANULES; granule++) if (mask & (1 << granule)) act(granule * GRANULE);
}

function contentSize(mask: number): number {
  return mask === ALL ? PAGE : MASK + GRANULE * ones(mask);
}

function ones(mask: number): number {
  let count = 0;
  for (let rest = mask; rest; rest &= rest - 1) count++;
  return count;
}
