import { api, data } from "./client";
import { ApiError, problemOf } from "./errors";
import type { Connect, End, LiveEvent, Way } from "./live";

const SILENT_MS = 40_000; // the server pings every 15 s
const POLL_MS = 2_000;
const OF_THE_LAST: ReadonlySet<string> = new Set(["job.succeeded", "job.failed", "job.cancelled", "job.dead"]);

/** The three ways to the events of one job. */
export function jobWays(jobId: string): Record<Way, Connect> {
  return { websocket: bySocket(jobId), sse: bySse(jobId), polling: byPolling(jobId) };
}

function bySocket(jobId: string): Connect {
  return async (after, on, signal) => {
    let ticket: string;
    try {
      ticket = (await data(api.POST("/api/v1/auth/ws-ticket", { signal }))).ticket;
    } catch (error) {
      return refusal(error);
    }
    const url = new URL(`/api/v1/jobs/${jobId}/stream`, location.origin);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({ after: String(after), ticket }).toString();
    return new Promise<End>((resolve) => {
      const socket = new WebSocket(url);
      const silence = watch(() => socket.close(4000));
      let opened = false;
      socket.onopen = () => {
        opened = true;
        on.open();
      };
      socket.onmessage = (message) => {
        silence.heard();
        const event = JSON.parse(String(message.data)) as LiveEvent;
        if (event.kind !== "ping") on.event(event);
      };
      socket.onclose = ({ code, reason }) => {
        silence.stop();
        if (code === 1000) resolve({ why: "finished" });
        else if (code === 1008 && opened) resolve({ why: "refused", detail: reason });
        else resolve({ why: "broken", opened });
      };
      signal.addEventListener("abort", () => socket.close(4001), { once: true });
    });
  };
}

/** Read by fetch, not EventSource: each event has a name of its own here, and the pauses are ours to choose. */
function bySse(jobId: string): Connect {
  return async (after, on, signal) => {
    let opened = false;
    let last = "";
    const silent = new AbortController();
    const silence = watch(() => silent.abort());
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
      const stopped = AbortSignal.any([signal, silent.signal]);
      const response = await fetch(`/api/v1/jobs/${jobId}/events`, { headers, signal: stopped });
      if (response.status === 204) return { why: "finished" };
      if (!response.ok || !response.body) return refused(response);
      opened = true;
      on.open();
      for await (const frame of frames(response.body)) {
        silence.heard();
        if (frame === "") continue;
        const event = JSON.parse(frame) as LiveEvent;
        last = event.kind;
        on.event(event);
      }
    } catch {
      return { why: "broken", opened };
    } finally {
      silence.stop();
    }
    return OF_THE_LAST.has(last) ? { why: "finished" } : { why: "broken", opened };
  };
}

async function refused(response: Response): Promise<End> {
  const body: unknown = await response.json().catch(() => null);
  return refusal(new ApiError(problemOf(body, response.status)));
}

/** The `data` of each event of a stream; empty for a comment. Source: WHATWG HTML, 9.2.6. */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      yield block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

function byPolling(jobId: string): Connect {
  return async (after, on, signal) => {
    let opened = false;
    let last = after;
    while (!signal.aborted) {
      try {
        const path = { job_id: jobId };
        const page = await data(api.GET("/api/v1/jobs/{job_id}/events", { params: { path, query: { after: String(last), limit: 200 } }, signal }));
        if (!opened) on.open();
        opened = true;
        for (const event of page.items as LiveEvent[]) {
          on.event(event);
          last = event.seq;
          if (OF_THE_LAST.has(event.kind)) return { why: "finished" };
        }
        if (page.items.length === 0 || last >= page.last_seq) await pause(POLL_MS, signal);
      } catch (error) {
        const end = refusal(error);
        return end.why === "broken" ? { why: "broken", opened } : end;
      }
    }
    return { why: "broken", opened };
  };
}

function refusal(error: unknown): End {
  const known = error instanceof ApiError && [401, 403, 404].includes(error.status);
  return known ? { why: "refused", detail: error.problem.detail } : { why: "broken", opened: false };
}

function watch(silent: () => void): { heard: () => void; stop: () => void } {
  let timer = setTimeout(silent, SILENT_MS);
  return {
    heard: () => {
      clearTimeout(timer);
      timer = setTimeout(silent, SILENT_MS);
    },
    stop: () => clearTimeout(timer),
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
