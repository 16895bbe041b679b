import { LogBuffer } from "./buffer";

export interface BytesPage {
  start: number;
  bytes: Uint8Array;
}

/** All pages as lines, in order; what stands before the first line's end belongs to a page that isn't there yet. */
export function linesOf(pages: BytesPage[]): LogBuffer {
  const inOrder = pages.toReversed();
  const bytes = new Uint8Array(inOrder.reduce((sum, page) => sum + page.bytes.length, 0));
  let at = 0;
  for (const page of inOrder) {
    bytes.set(page.bytes, at);
    at += page.bytes.length;
  }
  let text = new TextDecoder().decode(bytes).replaceAll("\r\n", "\n");
  if ((inOrder[0]?.start ?? 0) > 0) text = text.slice(text.indexOf("\n") + 1);
  const lines = new LogBuffer(2_000_000, 40_000_000);
  lines.append(text);
  return lines;
}
