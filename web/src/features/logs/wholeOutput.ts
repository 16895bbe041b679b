import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, data } from "@/api/client";
import { ApiError, problemOf } from "@/api/errors";
import { type BytesPage, linesOf } from "./pages";

const PAGE_BYTES = 1_048_576;
const MOST_PAGES = 16; // beyond it a download serves better

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
