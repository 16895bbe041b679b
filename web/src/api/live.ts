/**
 * One stream of events, from one cursor, by the best way that works: WebSocket, else server-sent events, else polling.
 *
 * An event is handed over once and in order whatever breaks in between: each way starts after the last `seq` that was
 * handed over, and what comes with a known `seq` is dropped. A gap makes it connect anew from the cursor.
 */

export interface LiveEvent {
  seq: number;
  kind: string;
  data: unknown;
  at: string;
}

export type LiveState =
  | { is: "connecting" }
  | { is: "live"; by: Way }
  | { is: "reconnecting"; inS: number }
  | { is: "offline"; since: Date }
  | { is: "ended" }
  | { is: "refused"; why: string };

export type Way = "websocket" | "sse" | "polling";

/** How a connection ended: by itself for good, refused for good, or broken. */
export type End = { why: "finished" } | { why: "refused"; detail: string } | { why: "broken"; opened: boolean };

/** Opens one connection after `after`; `onEvent` for each frame, `onOpen` once it stands. Resolves when it ends. */
export type Connect = (
  after: number,
  on: { open: () => void; event: (event: LiveEvent) => void },
  signal: AbortSignal,
) => Promise<End>;

export interface LiveOptions {
  after?: number;
  ways: Record<Way, Connect>;
  onEvents: (events: LiveEvent[]) => void;
  onState: (state: LiveState) => void;
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
  random?: () => number;
  now?: () => Date;
  schedule?: (flush: () => void) => void;
}

const ORDER: Way[] = ["websocket", "sse", "polling"];
const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const FAILURES_BEFORE_NEXT_WAY = 2;
const FAILURES_BEFORE_OFFLINE = 3;

/** Starts it. The returned function ends it for good. */
export function live(options: LiveOptions): () => void {
  const stop = new AbortController();
  void run(options, stop.signal);
  return () => stop.abort();
}

async function run(options: LiveOptions, signal: AbortSignal): Promise<void> {
  const { ways, onState, wait = sleep, random = Math.random, now = () => new Date() } = options;
  const inbox = new Inbox(options);
  let way = 0;
  let failures = 0;
  let neverOpened = 0;
  let brokenSince: Date | null = null;
  onState({ is: "connecting" });
  while (!signal.aborted) {
    const attempt = new AbortController();
    const link = () => attempt.abort();
    signal.addEventListener("abort", link, { once: true });
    const by = ORDER[way] ?? "polling";
    const on = {
      open: () => {
        failures = 0;
        neverOpened = 0;
        brokenSince = null;
        if (!signal.aborted) onState({ is: "live", by });
      },
      event: (event: LiveEvent) => {
        if (!signal.aborted && !inbox.take(event)) attempt.abort();
      },
    };
    const end = await ways[by](inbox.last, on, attempt.signal).catch((): End => ({ why: "broken", opened: false }));
    signal.removeEventListener("abort", link);
    inbox.flush();
    if (signal.aborted) return;
    if (end.why === "finished") return onState({ is: "ended" });
    if (end.why === "refused") return onState({ is: "refused", why: end.detail });
    failures += 1;
    neverOpened = end.opened ? 0 : neverOpened + 1;
    if (neverOpened >= FAILURES_BEFORE_NEXT_WAY) {
      way = (way + 1) % ORDER.length; // round again: what a proxy broke may be mended
      neverOpened = 0;
    }
    brokenSince ??= now();
    const pauseMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)) * (0.5 + random() / 2);
    onState(
      failures >= FAILURES_BEFORE_OFFLINE
        ? { is: "offline", since: brokenSince }
        : { is: "reconnecting", inS: Math.max(1, Math.round(pauseMs / 1000)) },
    );
    await wait(pauseMs, signal);
  }
}

/** Hands events over in order, once each, many at a time: a page draws a frame, not a line. */
class Inbox {
  last: number;
  private waiting: LiveEvent[] = [];
  private due = false;

  constructor(private readonly options: LiveOptions) {
    this.last = options.after ?? 0;
  }

  /** False: something is missing before this event. */
  take(event: LiveEvent): boolean {
    if (event.seq <= this.last) return true;
    if (event.seq !== this.last + 1) return false;
    this.last = event.seq;
    this.waiting.push(event);
    if (!this.due) {
      this.due = true;
      (this.options.schedule ?? nextFrame)(() => this.flush());
    }
    return true;
  }

  flush(): void {
    this.due = false;
    const events = this.waiting;
    this.waiting = [];
    if (events.length > 0) this.options.onEvents(events);
  }
}

function nextFrame(flush: () => void): void {
  // A hidden tab draws no frames, yet has to empty its inbox.
  if (document.visibilityState === "visible") requestAnimationFrame(flush);
  else setTimeout(flush, 250);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    globalThis.addEventListener?.("online", done, { once: true }); // the network is back: don't wait on
    signal.addEventListener("abort", done, { once: true });
  });
}
