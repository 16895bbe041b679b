import type { Api } from "@/api/types";

/** What is typed into the form, as text: what it means is decided when it is sent. */
export interface JobForm {
  project: string;
  agent: string;
  model: string;
  repo: string;
  ref: string;
  task: string;
  checks: "default" | "none" | "these";
  commands: string;
  costUsd: string;
  turns: string;
  timeoutS: string;
  network: string;
  labels: string;
  priority: string;
  pushBranch: string;
  approveCommands: string;
  approvePush: boolean;
}

export const EMPTY: JobForm = {
  project: "default", agent: "", model: "", repo: "", ref: "", task: "", checks: "default", commands: "", costUsd: "", turns: "",
  timeoutS: "", network: "", labels: "", priority: "", pushBranch: "", approveCommands: "", approvePush: false,
};

export type Submission = Api["JobSubmission"];

/** The request that the form stands for: only what was filled in. `problems` by field, for what can't be read at all. */
export function bodyOf(form: JobForm): { body: Submission; problems: Partial<Record<keyof JobForm, string>> } {
  const problems: Partial<Record<keyof JobForm, string>> = {};
  const whole = (field: "turns" | "timeoutS" | "priority"): number | undefined => {
    const typed = form[field].trim();
    if (typed === "") return undefined;
    if (!/^-?\d+$/.test(typed)) problems[field] = "Write a whole number.";
    return Number(typed);
  };
  const labels: Record<string, string> = {};
  for (const line of lines(form.labels)) {
    const at = line.indexOf("=");
    if (at <= 0) problems.labels = `Write labels as name=value, one a line; "${line}" has no name or no =.`;
    else labels[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  if (form.task.trim() === "") problems.task = "Say what is to be done.";
  if (form.costUsd.trim() !== "" && !/^\d+(\.\d+)?$/.test(form.costUsd.trim())) problems.costUsd = "Write dollars, like 2.50.";
  const [turns, timeout, priority] = [whole("turns"), whole("timeoutS"), whole("priority")];
  const limits = {
    ...(form.costUsd.trim() ? { cost_usd: form.costUsd.trim() } : {}),
    ...(turns === undefined ? {} : { turns }),
    ...(timeout === undefined ? {} : { timeout_s: timeout }),
  };
  const approvals = {
    ...(lines(form.approveCommands).length > 0 ? { commands: lines(form.approveCommands) } : {}),
    ...(form.approvePush ? { push: true } : {}),
  };
  const body = {
    task: form.task,
    project: form.project.trim() || "default",
    ...(form.agent ? { agent: form.agent } : {}),
    ...(form.model.trim() ? { model: form.model.trim() } : {}),
    ...(form.repo.trim() ? { repo: { url: form.repo.trim(), ...(form.ref.trim() ? { ref: form.ref.trim() } : {}) } } : {}),
    ...(form.checks === "none" ? { checks: [] } : form.checks === "these" ? { checks: lines(form.commands) } : {}),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    ...(lines(form.network).length > 0 ? { network: lines(form.network) } : {}),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(priority === undefined ? {} : { priority }),
    ...(form.pushBranch.trim() ? { push_branch: form.pushBranch.trim() } : {}),
    ...(Object.keys(approvals).length > 0 ? { approvals } : {}),
  };
  return { body: body as unknown as Submission, problems };
}

/** The server's names of fields, by those of the form. */
export const FIELDS: Record<keyof JobForm, string[]> = {
  project: ["project"], agent: ["agent"], model: ["model"], repo: ["repo", "repo.url"], ref: ["repo.ref"], task: ["task"], checks: [],
  commands: ["checks"], costUsd: ["limits.cost_usd"], turns: ["limits.turns"], timeoutS: ["limits.timeout_s"], network: ["network"],
  labels: ["labels"], priority: ["priority"], pushBranch: ["push_branch"], approveCommands: ["approvals", "approvals.commands"], approvePush: ["approvals.push"],
};

/** The error beside a field: its own, or that of one of its parts (`checks.2`). */
export function errorOf(field: keyof JobForm, errors: Record<string, string>): string | undefined {
  for (const name of FIELDS[field]) {
    if (errors[name]) return errors[name];
    const inside = Object.keys(errors).find((each) => each.startsWith(`${name}.`) && !Object.values(FIELDS).flat().includes(each));
    if (inside) return errors[inside];
  }
  return undefined;
}

/** The same as a command; what the command line has no option for is named. */
export function asCli(form: JobForm): { command: string; leftOut: string[] } {
  const { body } = bodyOf(form);
  const sent = body as unknown as Record<string, unknown> & { repo?: { url: string; ref?: string }; limits?: Record<string, unknown>; labels?: Record<string, string>; checks?: string[] };
  const words = ["shopfloor", "job", "submit", quoted(form.task)];
  const option = (name: string, value: unknown) => {
    if (value !== undefined && value !== "") words.push(`--${name}`, quoted(String(value)));
  };
  if (sent["project"] !== "default") option("project", sent["project"]);
  option("repo", sent.repo?.url);
  option("ref", sent.repo?.ref);
  option("agent", sent["agent"]);
  option("model", sent["model"]);
  for (const check of sent.checks ?? []) option("check", check);
  option("cost-usd", sent.limits?.["cost_usd"]);
  option("turns", sent.limits?.["turns"]);
  option("timeout", sent.limits?.["timeout_s"]);
  for (const [name, value] of Object.entries(sent.labels ?? {})) option("label", `${name}=${value}`);
  const leftOut = ["network", "priority", "push_branch", "approvals"].filter((name) => name in sent);
  if (form.checks === "none") leftOut.push("no checks");
  return { command: words.join(" "), leftOut };
}

/** The same as a request. The key is the reader's own: none is put in. */
export function asCurl(form: JobForm, origin: string): string {
  const body = JSON.stringify(bodyOf(form).body);
  return [
    `curl -fsS ${quoted(`${origin}/api/v1/jobs`)}`, '-H "Authorization: Bearer $SHOPFLOOR_API_KEY"', "-H 'Content-Type: application/json'",
    '-H "Idempotency-Key: $(uuidgen)"', `--data ${quoted(body)}`,
  ].join(" \\\n  ");
}

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** For a POSIX shell: nothing inside single quotes means anything but a single quote. */
export function quoted(text: string): string {
  return /^[\w./:@=,+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
