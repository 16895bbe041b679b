import type { FileData } from "react-diff-view";

export const MOST_BYTES = 4_000_000; // beyond it a page is no help
export const FOLDED_FROM_LINES = 1_500;

export interface ChangedFile {
  id: string;
  path: string;
  name: string;
  depth: number; // folders above it
  renamedFrom: string | null;
  what: string;
  added: number;
  deleted: number;
  parsed: FileData;
}

const WHAT: Record<FileData["type"], string> = { add: "new", delete: "deleted", modify: "changed", rename: "renamed", copy: "copied" };

/** The files of a diff in the order of their paths, with how much of each changed. */
export function filesOf(parsed: FileData[]): ChangedFile[] {
  const files = parsed.map((file, index): ChangedFile => {
    const path = file.type === "delete" ? file.oldPath : file.newPath;
    const lines = file.hunks.flatMap((hunk) => hunk.changes);
    return {
      id: `file-${index}`,
      path,
      name: path.split("/").at(-1) ?? path,
      depth: path.split("/").length - 1,
      renamedFrom: file.type === "rename" || file.type === "copy" ? file.oldPath : null,
      what: WHAT[file.type],
      added: lines.filter((line) => line.type === "insert").length,
      deleted: lines.filter((line) => line.type === "delete").length,
      parsed: file,
    };
  });
  return files.toSorted((a, b) => a.path.localeCompare(b.path));
}
