import { describe, expect, it } from "vitest";
import type { LiveEvent } from "@/api/live";
import { parseQuery } from "@/features/jobs/query";
import { jobSearch } from "@/features/jobs/search";
import { dropView, ownViews, saveView } from "@/features/jobs/views";
import { addEarlier, addEvents, addJournal, emptyStory, type Step } from "@/features/timeline/story";
import { rowsOf, span } from "@/features/timeline/tree";

const NOW = new Date("2026-06-15T12:00:00Z");

describe("the query box", () => {
  it("reads what the server filters by", () => {
    const found = parseQuery('status:failed,dead agent:coding project:pay label:"ticket=PAY 412" since:7d', NOW);
    expect(found).toEqual({
      filters: { state: ["failed", "dead"], agent: "coding", project: "pay", label: "ticket=PAY 412", since: "2026-06-08T12:00:00.000Z" },
      problems: [],
    });
  });

  it("takes spans and dates", () => {
    const since = (text: string) => parseQuery(`since:${text}`, NOW).filters.since;
    expect(since("30m")).toBe("2026-06-15T11:30:00.000Z");
    expect(since("24h")).toBe("2026-06-14T12:00:00.000Z");
    expect(since("2w")).toBe("2026-06-01T12:00:00.000Z");
    expect(since("2026-01-31")).toBe("2026-01-31T00:00:00.000Z");
  });

  it("says what was left out, and drops nothing in silence", () => {
    const { filters, problems } = parseQuery("cost:>2 refund status:nonsense,running since:soon parent:12 label:x agent: project:a project:b", NOW);
    expect(filters).toEqual({ state: ["running"], project: "a" });
    expect(problems).toHaveLength(8);
    for (const word of ["cost", "refund", "nonsense", "soon", "12", "label:", "agent:", '"b"']) {
      expect(problems.some((each) => each.includes(word)), word).toBe(true);
    }
  });

  it("is empty for nothing", () => {
    expect(parseQuery("   ", NOW)).toEqual({ filters: {}, problems: [] });
  });
});

describe("saved views", () => {
  const store = (): Storage => {
    const held = new Map<string, string>();
    return { getItem: (key: string) => held.get(key) ?? null, setItem: (key: string, value: string) => held.set(key, value) } as unknown as Storage;
  };

  it("are kept, replaced by their name, and dropped", () => {
    const kept = store();
    saveView({ name: "mine", q: "agent:a" }, kept);
    saveView({ name: "mine", q: "agent:b" }, kept);
    saveView({ name: "other", q: "" }, kept);
    expect(ownViews(kept)).toEqual([{ name: "mine", q: "agent:b" }, { name: "other", q: "" }]);
    expect(dropView("mine", kept)).toEqual([{ name: "other", q: "" }]);
  });

  it("survive what somebody else wrote there", () => {
    const kept = store();
    kept.setItem("shopfloor.jobs.views", '{"a": [1');
    expect(ownViews(kept)).toEqual([]);
    kept.setItem("shopfloor.jobs.views", '[{"name": 1}, {"name": "a", "q": "b"}, null]');
    expect(ownViews(kept)).toEqual([{ name: "a", q: "b" }]);
  });
});

describe("the address of a job's page", () => {
  it("keeps what it knows, and nothing else", () => {
    expect(jobSearch({ tab: "logs", step: 3, run: "2", wrap: true, split: "yes", other: 1 })).toEqual({ tab: "logs", step: "3", run: 2, wrap: true });
    expect(jobSearch({ tab: "nonsense", step: undefined, run: -1 })).toEqual({});
  });
});

let clock = 0;
function event(seq: number, kind: string, data: unknown): LiveEvent {
  clock += 1_000;
  return { seq, kind, data, at: new Date(Date.UTC(2026, 0, 1) + clock).toISOString() };
}

const REPLY = { turn: 1, text: "I look", model: "m", usage: { input_tokens: 10, output_tokens: 5, requests: 1 }, cost_nanos: 7, calls: [] };
const started = (seq: number, call = "c1") => event(seq, "tool.started", { turn: 1, call, tool: "shell", arguments: { command: "ls" } });
const output = (seq: number, text: string, skipped = 0) => event(seq, "tool.output", { call_id: "c1", text, skipped_bytes: skipped });
const finished = (seq: number, call = "c1") => event(seq, "tool.finished", { turn: 1, call, tool: "shell", result: { text: "a\nb", ok: true, artifact: "art" } });

describe("a job's story", () => {
  it("holds turns, calls and notes", () => {
    const story = emptyStory();
    addEvents(story, [event(1, "job.queued", { agent: "coding" }), event(2, "model.replied", REPLY), started(3), finished(4), event(5, "unheard.of", {})]);
    expect([...story.steps.keys()]).toEqual(["1", "1.c1"]);
    expect(story.steps.get("1")).toMatchObject({ kind: "model", text: "I look", tokens: 15, costNanos: 7, state: "done" });
    expect(story.steps.get("1.c1")).toMatchObject({ name: "shell", state: "done", artifact: "art", arguments: { command: "ls" } });
    expect([...story.notes.values()].map((each) => each.says)).toEqual(["Queued for the agent coding", "unheard.of"]);
  });

  it("is the same when its events come twice", () => {
    const events = [event(1, "job.queued", { agent: "a" }), event(2, "model.replied", REPLY), started(3), output(4, "x\n"), finished(5)];
    const once = emptyStory();
    addEvents(once, events);
    const twice = emptyStory();
    addEvents(twice, events);
    addEvents(twice, events);
    expect(twice).toEqual(once);
  });

  it("keeps what the journal knows when older events come", () => {
    const story = emptyStory();
    const row = {
      id: "i", run_id: "r", scope: "", turn: 1, kind: "tool" as const, key: "c1", name: "shell", state: "done" as const, attempt: 1, request: { command: "ls" },
      result: { text: "from the journal", ok: true }, effects: "tree", snapshot_sha: null, usage: null, cost_nanos: 0, intended_at: "2026-01-01T00:00:01Z", done_at: "2026-01-01T00:00:02Z",
    };
    addJournal(story, [row]);
    addEvents(story, [started(3), output(4, "late"), finished(5)]);
    expect(story.steps.get("1.c1")).toMatchObject({ state: "done", result: { text: "from the journal" }, runId: "r" });
    expect(story.outputs.size).toBe(0);
  });

  it("collects the output of a call as long as it runs, and says what was left out", () => {
    const story = emptyStory();
    addEvents(story, [started(1), output(2, "one\ntw"), output(3, "o\n"), output(4, "end", 9_000)]);
    expect(story.outputs.get("1.c1")?.lines.text()).toBe("one\ntwo\n\n[... 9,000 bytes left out ...]\nend");
    addEvents(story, [finished(5)]);
    expect(story.outputs.size).toBe(0);
  });

  it("takes notes of earlier events, and no steps", () => {
    const story = emptyStory();
    addEvents(story, [event(9, "job.running", { run: 2, worker: "w" })]);
    const last = story.lastAt;
    expect(addEarlier(story, [started(2), event(3, "run.lost", { worker: "w" }), event(9, "job.running", { run: 2, worker: "w" })])).toBe(1);
    expect([...story.notes.keys()].toSorted()).toEqual([3, 9]);
    expect(story.steps.size).toBe(0);
    expect(story.lastAt).toBe(last);
  });

  it("begins a call anew whose worker was lost", () => {
    const story = emptyStory();
    addEvents(story, [started(1), output(2, "half"), event(3, "run.lost", { worker: "w" }), started(4), output(5, "whole")]);
    expect(story.outputs.get("1.c1")?.lines.text()).toBe("whole");
  });

  it("becomes a tree: calls under turns, a delegated agent under the call that hired it", () => {
    const story = emptyStory();
    addEvents(story, [
      event(1, "job.running", { run: 1, worker: "w" }),
      event(2, "model.replied", REPLY),
      event(3, "tool.started", { turn: 1, call: "d", tool: "delegate", arguments: { agent: "review" } }),
      event(4, "model.replied", { ...REPLY, scope: "d" }),
      event(5, "tool.started", { turn: 1, scope: "d", call: "c", tool: "grep", arguments: {} }),
      event(6, "model.replied", { ...REPLY, turn: 2 }),
      event(7, "job.succeeded", { ending: "finished" }),
    ]);
    const drawn = rowsOf(story).map((row) => `${row.depth} ${row.is === "step" ? row.step.key : row.note.kind}`);
    expect(drawn).toEqual(["0 job.running", "0 1", "1 1.d", "2 d.1", "3 d.1.c", "0 2", "0 job.succeeded"]);
  });
});

describe("the time line", () => {
  it("places a step inside the job's time", () => {
    const step = { startedAt: "2026-01-01T00:00:10Z", endedAt: "2026-01-01T00:00:20Z" } as Step;
    const from = Date.parse("2026-01-01T00:00:00Z");
    expect(span(step, from, from + 40_000)).toEqual({ left: 25, width: 25 });
    expect(span({ startedAt: null, endedAt: null } as Step, from, from)).toEqual({ left: 0, width: 0.5 });
  });
});
