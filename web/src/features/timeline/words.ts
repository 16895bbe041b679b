import { type Step, text } from "./story";

/** The argument that says most, on one line. */
export function argumentOf(step: Step): string {
  for (const name of ["command", "path", "pattern", "agent", "branch"]) {
    if (name in step.arguments) return text(step.arguments[name]).replaceAll(/\s+/g, " ");
  }
  return "";
}

export function endingOf(step: Step): string {
  if (step.state === "running") return "· running";
  if (step.state === "unknown") return "· its fate is unknown";
  const code = (step.result?.["facts"] as Record<string, unknown> | undefined)?.["exit_code"];
  if (typeof code === "number") return `· exit ${code}`;
  return step.result?.["ok"] === false ? "· refused or failed" : "";
}
