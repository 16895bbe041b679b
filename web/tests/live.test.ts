import { describe, expect, it } from "vitest";
import { type Connect, type End, live, type LiveEvent, type LiveState, type Way } from "@/api/live";

const event = (seq: number): LiveEvent => ({ seq, kind: "tool.output", data: { seq }, at: "2026-01-01T00:00:00Z" });
const BROKEN: End = { why: "broken", opened: true };
const NEVER_OPENED: End = { why: "broken", opened: false };
const FINISHED: End = { why: "finished" };

/** A server that has `events`, and breaks as its script says: a connection's last act is its turn of the script. */
function scripted(script: { way?: Way; sends: (after: number) => LiveEvent[]; ends: End }[]) {
  const asked: { way: Way; after: number }[] = [];
  const states: LiveState[] = [];
  const seen: number[] = [];
  const connect = (way: Way): Connect => async (after, on) => {
    asked.push({ way, after });
    const turn = script.shift() ?? { sends: () => [], ends: FINISHED };
    if (turn.ends.why !== "broken" || turn.ends.opened) on.open();
    for (const each of turn.sends(after)) on.event(each);
    return turn.ends;
  };
  const over = new Promise<void>((resolve) => {
    live({
      ways: { websocket: connect("websocket"), sse: connect("sse"), polling: connect("polling") },
      onEvents: (events) => seen.push(...events.map((each) => each.seq)),
      onState: (state) => {
        states.push(state);
        if (state.is === "ended" || state.is === "refused") resolve();
      },
      wait: async () => undefined,
      random: () => 1,
      now: () => new Date(0),
      schedule: (flush) => queueMicrotask(flush),
    });
  });
  return { asked, states, seen, over };
}

describe("one stream from one cursor", () => {
  it("loses and doubles nothing over a cut", async () => {
    const all = [1, 2, 3, 4, 5, 6].map(event);
    const run = scripted([
      { sends: () => all.slice(0, 3), ends: BROKEN },
      { sends: (after) => all.filter((each) => each.seq > after), ends: FINISHED },
    ]);
    await run.over;
    expect(run.seen).toEqual([1, 2, 3, 4, 5, 6]);
    expect(run.asked.map((each) => each.after)).toEqual([0, 3]);
  });

  it("drops what a server sends twice", async () => {
    const run = scripted([{ sends: () => [event(1), event(1), event(2), event(1), event(3)], ends: FINISHED }]);
    await run.over;
    expect(run.seen).toEqual([1, 2, 3]);
  });

  it("hands nothing over behind a gap, and asks again from the cursor", async () => {
    const run = scripted([
      { sends: () => [event(1), event(3), event(4)], ends: BROKEN },
      { sends: () => [event(2), event(3), event(4)], ends: FINISHED },
    ]);
    await run.over;
    expect(run.seen).toEqual([1, 2, 3, 4]);
    expect(run.asked.map((each) => each.after)).toEqual([0, 1]);
  });

  it("goes from WebSocket over server-sent events to polling when they never open", async () => {
    const run = scripted([
      ...[1, 2, 3, 4].map(() => ({ sends: () => [], ends: NEVER_OPENED })),
      { sends: () => [event(1)], ends: FINISHED },
    ]);
    await run.over;
    expect(run.asked.map((each) => each.way)).toEqual(["websocket", "websocket", "sse", "sse", "polling"]);
    expect(run.seen).toEqual([1]);
  });

  it("stays with what works after a cut", async () => {
    const run = scripted([1, 2, 3, 4].map((seq) => ({ sends: () => [event(seq)], ends: seq === 4 ? FINISHED : BROKEN })));
    await run.over;
    expect(new Set(run.asked.map((each) => each.way))).toEqual(new Set(["websocket"]));
  });

  it("says live, reconnecting and ended", async () => {
    const run = scripted([
      { sends: () => [event(1)], ends: BROKEN },
      { sends: () => [event(2)], ends: FINISHED },
    ]);
    await run.over;
    expect(run.states.map((each) => each.is)).toEqual(["connecting", "live", "reconnecting", "live", "ended"]);
  });

  it("says offline, and since when, after three failures", async () => {
    const run = scripted([...[1, 2, 3].map(() => ({ sends: () => [], ends: NEVER_OPENED })), { sends: () => [], ends: FINISHED }]);
    await run.over;
    expect(run.states).toContainEqual({ is: "offline", since: new Date(0) });
  });

  it("stops for good where it is not permitted", async () => {
    const run = scripted([{ sends: () => [], ends: { why: "refused", detail: "no longer permitted" } }]);
    await run.over;
    expect(run.states.at(-1)).toEqual({ is: "refused", why: "no longer permitted" });
    expect(run.asked).toHaveLength(1);
  });
});
