export const TABS = ["activity", "logs", "changes", "artifacts", "cost", "details"] as const;

/** All that a job's page shows, as its address has it. */
export interface JobSearch {
  tab?: (typeof TABS)[number] | undefined;
  step?: string | undefined; // of timeline and log
  run?: number | undefined;
  wrap?: boolean | undefined;
  split?: boolean | undefined;
}

export function jobSearch(search: Record<string, unknown>): JobSearch {
  const tab = TABS.find((each) => each === search["tab"]);
  const step = search["step"];
  const run = Number(search["run"]);
  return {
    ...(tab ? { tab } : {}),
    ...(typeof step === "string" || typeof step === "number" ? { step: String(step) } : {}),
    ...(Number.isInteger(run) && run > 0 ? { run } : {}),
    ...(search["wrap"] === true ? { wrap: true } : {}),
    ...(search["split"] === true ? { split: true } : {}),
  };
}
