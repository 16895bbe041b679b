import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, data } from "@/api/client";
import { ApiError, problemOf } from "@/api/errors";
import { LogBuffer } from "./buffer";

const PAGE_BYTES = 1_048_576;
const MOST_PAGES = 16; // beyond it a download serves better

interface BytesPage {
  start: number;
  bytes: Uint8Array;
}

/** A call's whole output, kept as an artifact: its end first, pages backwards on request. */
export function useWholeOutput(artifactId: string | null) {
  const pages = useInfiniteQuery({
    queryKey: ["artifact-bytes", artifactId],
    enabled: artifactId !== null,
    staleTime: Infinity, // artifacts never change
    gcTime: 60_000,
    initialPageParam: null as number | null, // where the page ends; null: at the end of all
    queryFn: async ({ pageParam, signal }): Promise<BytesPage> => {
      const id = artifactId ?? "";
      const end = pageParam ?? (await data(api.GET("/api/v1/artifacts/{artifact_id}", { params: { path: { artifact_id: id } }, signal }))).size_bytes;
      const start = Math.max(0, end - PAGE_BYTES);
      return { start, bytes: end === 0 ? new Uint8Array() : await range(id, start, end, signal) };
    },
    getNextPageParam: (last, all) => (last.start > 0 && all.length < MOST_PAGES ? last.start : undefined),
  });
  const held = pages.data?.pages;
  const lines = useMemo(() => (held ? linesOf(held) : null), [held]);
  const start = held?.at(-1)?.start ?? 0;
  return { lines, start, fromEnd: start > 0, full: pages.data !== undefined && start > 0 && !pages.hasNextPage, pages };
}

async function range(id: string, start: number, end: number, signal: AbortSignal): Promise<Uint8Array> {
  const response = await fetch(`/api/v1/artifacts/${id}/content`, { headers: { Range: `bytes=${start}-${end - 1}` }, signal });
  if (!response.ok) throw new ApiError(problemOf(await response.json().catch(() => null), response.status));
  return new Uint8Array(await response.arrayBuffer());
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
