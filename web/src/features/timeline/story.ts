import type { LiveEvent } from "@/api/live";
import type { Api } from "@/api/types";
import { LogBuffer } from "@/features/logs/buffer";

export type Json = Record<string, unknown>;

/** One model reply or tool call, as journal and events tell it. Times are ISO texts. */
export interface Step {
  key: string; // stable over reloads: what addresses name
  scope: string; // of a delegated agent: the calls that lead to it
  turn: number;
  kind: "model" | "tool";
  call: string;
  name: string;
  state: "running" | "done" | "unknown";
  arguments: Json;
  result: Json | null;
  text: string; // what the model said
  runId: string | null;
  tokens: number;
  costNanos: number;
  startedAt: string | null;
  endedAt: string | null;
  artifact: string | null; // its whole output, where the result was cut
}

/** What happened beside the steps: a run that was lost, a model that was changed, a plan. */
export interface Note {
  seq: number;
  at: string;
  kind: string;
  says: string;
  tone: "plain" | "warning" | "bad";
}

/**
 * A job's story: filled from its journal first, then by its events. What is told twice changes nothing: a reply or a
 * result that is known stays, so events may overlap with the journal.
 */
export interface Story {
  steps: Map<string, Step>;
  notes: Map<number, Note>;
  outputs: Map<string, Output>; // what running calls have said so far, by step
  lastAt: string | null;
  lastSeq: number;
}

/** Live output of one call, as long as it runs. */
export interface Output {
  lines: LogBuffer;
  skippedBytes: number;
}

export function emptyStory(): Story {
  return { steps: new Map(), notes: new Map(), outputs: new Map(), lastAt: null, lastSeq: 0 };
}

export function stepKey(scope: string, turn: number, call: string): string {
  return [scope, turn, call].filter((each) => each !== "").join(".");
}

export function addJournal(story: Story, rows: Api["StepReply"][]): void {
  for (const row of rows) {
    const key = stepKey(row.scope, row.turn, row.key);
    const known = story.steps.get(key);
    if (known?.state === "done" && row.state !== "done") continue;
    const result = row.result as Json | null;
    story.steps.set(key, {
      key,
      scope: row.scope,
      turn: row.turn,
      kind: row.kind,
      call: row.key,
      name: row.kind === "model" ? text(result?.["model_name"]) || "model" : row.name,
      state: row.state === "intended" ? "running" : row.state,
      arguments: row.kind === "tool" ? (row.request as Json) : {},
      result: row.kind === "tool" ? result : null,
      text: row.kind === "model" ? saidBy(result) : "",
      runId: row.run_id,
      tokens: tokensOf(row.usage),
      costNanos: row.cost_nanos,
      startedAt: row.intended_at,
      endedAt: row.done_at,
      artifact: artifactOf(result),
    });
  }
}

export function addEvents(story: Story, events: LiveEvent[]): void {
  for (const event of events) {
    const data = (event.data ?? {}) as Json;
    const tell = STEPS[event.kind];
    if (tell) tell(story, data, event);
    else note(story, event, data);
    story.lastAt = event.at;
    story.lastSeq = Math.max(story.lastSeq, event.seq);
  }
}

/** Notes of events that lie before what is followed; their steps are in the journal. Returns how many there were. */
export function addEarlier(story: Story, events: LiveEvent[]): number {
  const before = story.notes.size;
  for (const event of events) {
    if (!(event.kind in STEPS)) note(story, event, (event.data ?? {}) as Json);
  }
  return story.notes.size - before;
}

type Tell = (story: Story, data: Json, event: LiveEvent) => void;

const STEPS: Record<string, Tell> = {
  "model.replied": (story, data, event) => {
    const scope = text(data["scope"]);
    const key = stepKey(scope, Number(data["turn"]), "");
    const known = story.steps.get(key);
    if (known?.state === "done") return;
    story.steps.set(key, {
      ...blank(key, scope, Number(data["turn"]), "model", ""),
      name: text(data["model"]) || "model",
      state: "done",
      text: text(data["text"]),
      runId: known?.runId ?? null,
      tokens: tokensOf(data["usage"] as Record<string, number> | null),
      costNanos: Number(data["cost_nanos"] ?? 0),
      startedAt: known?.startedAt ?? story.lastAt,
      endedAt: event.at,
    });
  },
  "tool.started": (story, data, event) => {
    const scope = text(data["scope"]);
    const key = stepKey(scope, Number(data["turn"]), text(data["call"]));
    if (story.steps.get(key)?.state === "done") return;
    story.outputs.delete(key); // a new try of a call whose worker was lost
    story.steps.set(key, {
      ...blank(key, scope, Number(data["turn"]), "tool", text(data["call"])),
      name: text(data["tool"]),
      arguments: (data["arguments"] ?? {}) as Json,
      startedAt: event.at,
    });
  },
  "tool.output": (story, data) => {
    const step = runningCall(story, text(data["scope"]), text(data["call_id"]));
    if (!step) return;
    const output = story.outputs.get(step.key) ?? { lines: new LogBuffer(), skippedBytes: 0 };
    const skipped = Number(data["skipped_bytes"] ?? 0);
    if (skipped > 0) output.lines.append(`\n[... ${skipped.toLocaleString("en")} bytes left out ...]\n`);
    output.skippedBytes += skipped;
    output.lines.append(text(data["text"]));
    story.outputs.set(step.key, output);
  },
  "tool.finished": (story, data, event) => {
    const scope = text(data["scope"]);
    const key = stepKey(scope, Number(data["turn"]), text(data["call"]));
    const known = story.steps.get(key);
    if (known?.state === "done") return;
    const result = (data["result"] ?? {}) as Json;
    story.outputs.delete(key);
    story.steps.set(key, {
      ...(known ?? blank(key, scope, Number(data["turn"]), "tool", text(data["call"]))),
      name: text(data["tool"]),
      state: "done",
      result,
      endedAt: event.at,
      artifact: artifactOf(result),
    });
  },
};

function blank(key: string, scope: string, turn: number, kind: Step["kind"], call: string): Step {
  return {
    key, scope, turn, kind, call, name: kind, state: "running", arguments: {}, result: null, text: "", runId: null,
    tokens: 0, costNanos: 0, startedAt: null, endedAt: null, artifact: null,
  };
}

function runningCall(story: Story, scope: string, call: string): Step | undefined {
  let found: Step | undefined;
  for (const step of story.steps.values()) {
    if (step.scope === scope && step.call === call && step.kind === "tool" && step.state !== "done") found = step;
  }
  return found;
}

const SILENT = new Set(["network.allowed"]);

function note(story: Story, event: LiveEvent, data: Json): void {
  if (SILENT.has(event.kind) || story.notes.has(event.seq)) return;
  const [says, tone] = (NOTES[event.kind] ?? ((): [string, Note["tone"]] => [event.kind, "plain"]))(data);
  story.notes.set(event.seq, { seq: event.seq, at: event.at, kind: event.kind, says, tone });
}

type Words = (data: Json) => [string, Note["tone"]];
const detail = (data: Json, name = "error"): string => text((data[name] as Json | null)?.["detail"]);
const ended: Words = (data) => [`The job ended: ${text(data["ending"]) || "cancelled"}. ${detail(data)}`.trim(), "plain"];

const NOTES: Record<string, Words> = {
  "job.queued": (data) => [data["why"] ? `Queued again: ${text(data["why"])}` : `Queued for the agent ${text(data["agent"])}`, "plain"],
  "job.running": (data) => [`Run ${Number(data["run"] ?? 1)} started on ${text(data["worker"])}`, "plain"],
  "job.waiting": (data) => [`Waits for ${text(data["reason"])}: ${detail(data)}`, "warning"],
  "job.cancelling": (data) => [`${text(data["by"])} asked to cancel it`, "warning"],
  "job.succeeded": ended,
  "job.failed": ended,
  "job.cancelled": ended,
  "job.dead": ended,
  "approval.asked": (data) => [`Needs an approval: ${text(data["summary"])}`, "warning"],
  "approval.decided": (data) => [
    `${text(data["state"])} by ${text(data["by"]) || "nobody in time"}${data["reason"] ? `: ${text(data["reason"])}` : ""}`, "plain",
  ],
  "repository.ready": (data) => [`Files are at ${text(data["commit"]).slice(0, 12)}`, "plain"],
  "checks.baseline": (data) => [`Checks before the work: ${verdicts(data)}`, "plain"],
  "sandbox.opened": (data) => [`Sandbox ${text((data["isolation"] as Json | null)?.["runtime"])}`, "plain"],
  "network.refused": (data) => [`The network refused ${text(data["place"])}: ${text(data["reason"])}`, "warning"],
  "model.retrying": (data) => [`The model is asked again: ${text(data["detail"]) || text(data["code"])}`, "warning"],
  "model.failed-over": (data) => [`From the model ${text(data["from"])} to ${text(data["to"])}`, "warning"],
  "plan.updated": (data) => [`Plan: ${planOf(data)}`, "plain"],
  "checks.after.started": () => ["The platform checks the result itself, in a fresh sandbox", "plain"],
  "checks.after": (data) => [`Checks of the result: ${verdicts(data)}`, failing(data) ? "bad" : "plain"],
  "agent.nudged": (data) => [`Nudged: ${text(data["detail"])}`, "warning"],
  "agent.compacted": (data) => [`The conversation was shortened (${text(data["how"])})`, "plain"],
  "run.lost": (data) => [`The worker ${text(data["worker"])} was lost; the job goes on elsewhere`, "warning"],
  "run.failed": (data) => [`The run failed: ${detail(data)}`, "bad"],
};

const results = (data: Json): Json[] => (Array.isArray(data["results"]) ? (data["results"] as Json[]) : []);
const failing = (data: Json): boolean => results(data).some((each) => each["passed"] !== true);

function verdicts(data: Json): string {
  const words = results(data).map((each) => `${each["passed"] === true ? "passed" : "FAILED"} ${text(each["command"])}`);
  return words.length > 0 ? words.join(", ") : "there are none, so the result can't be verified";
}

function planOf(data: Json): string {
  const steps = Array.isArray(data["steps"]) ? (data["steps"] as Json[]) : [];
  const done = steps.filter((each) => each["status"] === "done").length;
  const now = steps.find((each) => each["status"] === "in_progress");
  return `${done} of ${steps.length} done${now ? `, now: ${text(now["step"])}` : ""}`;
}

function saidBy(reply: Json | null): string {
  const parts = Array.isArray(reply?.["parts"]) ? (reply["parts"] as Json[]) : [];
  return parts.filter((each) => each["part_kind"] === "text").map((each) => text(each["content"])).filter(Boolean).join("\n");
}

/** All tokens of a reply: its classes are disjoint, and requests are none. */
export function tokensOf(usage: Record<string, number> | null | undefined): number {
  return Object.entries(usage ?? {}).reduce((sum, [name, n]) => (name === "requests" ? sum : sum + n), 0);
}

function artifactOf(result: Json | null): string | null {
  return typeof result?.["artifact"] === "string" ? result["artifact"] : null;
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value);
}
