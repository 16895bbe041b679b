import { describe, expect, it } from "vitest";
import { parseDiff } from "react-diff-view";
import { byModel } from "@/features/cost-of-job/sums";
import { filesOf } from "@/features/diff/files";
import { dropDraft, keepDraft, readDraft } from "@/features/newjob/draft";
import { asCli, asCurl, bodyOf, EMPTY, errorOf, quoted } from "@/features/newjob/form";

const FULL = {
  ...EMPTY, task: "It's broken", project: "pay", repo: "https://git.example.com/a/b.git", ref: "main", checks: "these" as const, commands: "pytest -q\n\nruff check ",
  costUsd: "2.50", turns: "60", labels: "ticket=PAY-412\nteam = web", network: "packages.example.com:443", approvePush: true,
};

describe("a new job", () => {
  it("says only what was filled in", () => {
    expect(bodyOf({ ...EMPTY, task: "x" })).toEqual({ body: { task: "x", project: "default" }, problems: {} });
    expect(bodyOf(FULL).body).toEqual({
      task: "It's broken", project: "pay", repo: { url: "https://git.example.com/a/b.git", ref: "main" }, checks: ["pytest -q", "ruff check"],
      limits: { cost_usd: "2.50", turns: 60 }, labels: { ticket: "PAY-412", team: "web" }, network: ["packages.example.com:443"], approvals: { push: true },
    });
  });

  it("tells no checks from the project's", () => {
    expect(bodyOf({ ...EMPTY, task: "x", checks: "none" }).body).toMatchObject({ checks: [] });
    expect("checks" in bodyOf({ ...EMPTY, task: "x" }).body).toBe(false);
  });

  it("says what can't be read", () => {
    const { problems } = bodyOf({ ...EMPTY, turns: "many", costUsd: "2,50", labels: "nothing" });
    expect(Object.keys(problems).toSorted()).toEqual(["costUsd", "labels", "task", "turns"]);
  });

  it("has the server's errors beside its fields", () => {
    const errors = { "limits.turns": "at most 1000", "checks.1": "too long", "repo.url": "not allowed", task: "empty" };
    expect(errorOf("turns", errors)).toBe("at most 1000");
    expect(errorOf("commands", errors)).toBe("too long");
    expect(errorOf("repo", errors)).toBe("not allowed");
    expect(errorOf("ref", errors)).toBeUndefined();
  });

  it("is a command that a shell reads as it was meant", () => {
    expect(quoted("a'b $(c)")).toBe(`'a'\\''b $(c)'`);
    const { command, leftOut } = asCli(FULL);
    expect(command).toBe(
      `shopfloor job submit 'It'\\''s broken' --project pay --repo https://git.example.com/a/b.git --ref main --check 'pytest -q' --check 'ruff check' --cost-usd 2.50 --turns 60 --label ticket=PAY-412 --label team=web`,
    );
    expect(leftOut).toEqual(["network", "approvals"]);
    expect(asCurl(FULL, "http://here")).toContain(`--data '{"task":"It'\\''s broken"`);
  });

  it("is kept as a draft, and old drafts lose what is unknown", () => {
    const held = new Map<string, string>();
    const store = { getItem: (key: string) => held.get(key) ?? null, setItem: (key: string, value: string) => held.set(key, value), removeItem: (key: string) => held.delete(key) } as unknown as Storage;
    expect(readDraft(store)).toBeNull();
    keepDraft(FULL, store);
    expect(readDraft(store)).toEqual(FULL);
    held.set([...held.keys()][0] ?? "", '{"task": "kept", "turns": 5, "gone": "x"}');
    expect(readDraft(store)).toEqual({ ...EMPTY, task: "kept" });
    dropDraft(store);
    expect(readDraft(store)).toBeNull();
  });
});

describe("a diff's files", () => {
  it("are in order, with what became of each", () => {
    const patch = [
      "diff --git a/z.txt b/z.txt", "index 1..2 100644", "--- a/z.txt", "+++ b/z.txt", "@@ -1,2 +1,2 @@", " same", "-old", "+new",
      "diff --git a/a/new.txt b/a/new.txt", "new file mode 100644", "index 0000000..1111111", "--- /dev/null", "+++ b/a/new.txt", "@@ -0,0 +1 @@", "+one", "",
    ].join("\n");
    expect(filesOf(parseDiff(patch)).map(({ path, what, added, deleted, depth }) => ({ path, what, added, deleted, depth }))).toEqual([
      { path: "a/new.txt", what: "new", added: 1, deleted: 0, depth: 1 },
      { path: "z.txt", what: "changed", added: 1, deleted: 1, depth: 0 },
    ]);
  });
});

describe("a job's cost", () => {
  it("is summed by model, the dearest first", () => {
    const call = (model: string, cost_nanos: number) => ({
      turn: 1, scope: "", attempt: 1, model, state: "settled" as const, bound_nanos: 9, cost_nanos, usage: { input: 1, cache_read: 2, output: 3, requests: 1 }, reason: null,
      held_at: "2026-01-01T00:00:00Z", ended_at: null,
    });
    expect(byModel([call("a", 1), call("b", 5), call("a", 2)])).toEqual([
      { model: "b", calls: 1, costNanos: 5, input: 1, cached: 2, output: 3 },
      { model: "a", calls: 2, costNanos: 3, input: 2, cached: 4, output: 6 },
    ]);
  });
});
