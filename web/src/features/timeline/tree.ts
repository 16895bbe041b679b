import type { Note, Step, Story } from "./story";

/** One row of the timeline: a turn, a call under it, or something that happened beside. */
export type Row = { depth: number; at: string } & ({ is: "step"; step: Step } | { is: "note"; note: Note });

/** The story in the order it happened, calls under their turn, and a delegated agent's turns under the call that hired it. */
export function rowsOf(story: Story, runId: string | null = null): Row[] {
  const byScope = new Map<string, Step[]>();
  for (const step of story.steps.values()) {
    if (runId !== null && step.runId !== null && step.runId !== runId) continue;
    const siblings = byScope.get(step.scope);
    if (siblings) siblings.push(step);
    else byScope.set(step.scope, [step]);
  }
  const rows: Row[] = [];
  const walk = (scope: string, depth: number) => {
    for (const step of (byScope.get(scope) ?? []).toSorted(inOrder)) {
      rows.push({ is: "step", step, depth: depth + (step.kind === "tool" && step.turn > 0 ? 1 : 0), at: step.startedAt ?? step.endedAt ?? "" });
      if (step.kind === "tool") walk(scope === "" ? step.call : `${scope}/${step.call}`, depth + 2);
    }
  };
  walk("", 0);
  return withNotes(rows, [...story.notes.values()].toSorted((a, b) => a.seq - b.seq));
}

function inOrder(a: Step, b: Step): number {
  if (a.turn !== b.turn) return a.turn - b.turn;
  if (a.kind !== b.kind) return a.kind === "model" ? -1 : 1;
  return (a.startedAt ?? "").localeCompare(b.startedAt ?? "");
}

/** Notes go before the first turn of the job itself that began after them, or after everything. */
function withNotes(rows: Row[], notes: Note[]): Row[] {
  const found: Row[] = [];
  let next = 0;
  const upTo = (at: string) => {
    for (let note = notes[next]; note !== undefined && note.at <= at; note = notes[++next]) {
      found.push({ is: "note", note, depth: 0, at: note.at });
    }
  };
  for (const row of rows) {
    if (row.is === "step" && row.at !== "" && row.depth <= 1) upTo(row.at);
    found.push(row);
  }
  upTo("9999");
  return found;
}

/** Where a step stands on the job's time line: start and width in percent. */
export function span(step: Step, fromMs: number, toMs: number): { left: number; width: number } {
  const whole = Math.max(1, toMs - fromMs);
  const start = step.startedAt ? Date.parse(step.startedAt) : fromMs;
  const end = step.endedAt ? Date.parse(step.endedAt) : toMs;
  const left = Math.min(100, Math.max(0, ((start - fromMs) / whole) * 100));
  return { left, width: Math.max(0.5, Math.min(100 - left, ((end - start) / whole) * 100)) };
}
