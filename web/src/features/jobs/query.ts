import type { Api } from "@/api/types";

export type State = Api["State"];

/** What `GET /api/v1/jobs` filters by. */
export interface JobFilters {
  state?: State[];
  project?: string;
  agent?: string;
  label?: string;
  parent?: string;
  since?: string;
}

export interface ParsedQuery {
  filters: JobFilters;
  problems: string[]; // for people: what was left out, and what to write instead
}

export const STATES: State[] = ["queued", "running", "waiting", "succeeded", "failed", "cancelled", "dead"];
const KNOWN = "status, project, agent, label, parent and since";
const UNIT_S: Record<string, number> = { m: 60, h: 3_600, d: 86_400, w: 604_800 };
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** `status:failed,dead agent:coding project:pay label:ticket=PAY-412 since:7d`; quotes hold spaces together. */
export function parseQuery(text: string, now: Date = new Date()): ParsedQuery {
  const filters: JobFilters = {};
  const problems: string[] = [];
  for (const token of tokens(text)) {
    const colon = token.indexOf(":");
    const name = colon < 0 ? "" : token.slice(0, colon).toLowerCase();
    const value = token.slice(colon + 1);
    const read = READERS[name === "state" ? "status" : name];
    if (!read) problems.push(leftOut(name, token));
    else if (value === "") problems.push(`${name}: names nothing. Write it with a value, or take it away.`);
    else {
      const problem = read(value, filters, now);
      if (problem) problems.push(problem);
    }
  }
  return { filters, problems };
}

function leftOut(name: string, token: string): string {
  if (name === "") return `"${token}" was left out: the server doesn't search in texts. It filters by ${KNOWN}.`;
  return `"${token}" was left out: the server doesn't filter by ${name}. It filters by ${KNOWN}.`;
}

type Read = (value: string, filters: JobFilters, now: Date) => string | undefined;

const once = (name: "project" | "agent"): Read => (value, filters) => {
  if (filters[name] !== undefined) return `Only one ${name} can be asked for: "${value}" was left out.`;
  filters[name] = value;
  return undefined;
};

const READERS: Record<string, Read> = {
  project: once("project"),
  agent: once("agent"),
  status: (value, filters) => {
    const asked = value.toLowerCase().split(",").filter(Boolean);
    const unknown = asked.filter((each) => !STATES.includes(each as State));
    const known = asked.filter((each) => STATES.includes(each as State)) as State[];
    if (known.length > 0) filters.state = [...new Set([...(filters.state ?? []), ...known])];
    return unknown.length > 0 ? `There is no status "${unknown.join(", ")}". There are ${STATES.join(", ")}.` : undefined;
  },
  label: (value, filters) => {
    if (!value.includes("=")) return `label: takes name=value, like label:ticket=PAY-412; "${value}" was left out.`;
    if (filters.label !== undefined) return `Only one label can be asked for: "${value}" was left out.`;
    filters.label = value;
    return undefined;
  },
  parent: (value, filters) => {
    if (!ID.test(value)) return `parent: takes the whole id of a job; "${value}" was left out.`;
    filters.parent = value;
    return undefined;
  },
  since: (value, filters, now) => {
    const since = moment(value, now);
    if (since === null) return `since: takes 30m, 24h, 7d, 2w or a date like 2026-01-31; "${value}" was left out.`;
    filters.since = since.toISOString();
    return undefined;
  },
};

function moment(value: string, now: Date): Date | null {
  const span = /^(\d{1,5})([mhdw])$/.exec(value);
  if (span) return new Date(now.getTime() - Number(span[1]) * (UNIT_S[span[2] ?? ""] ?? 0) * 1000);
  if (!/^\d{4}-\d\d-\d\d/.test(value)) return null;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** Words apart, those in quotes together: `label:a="b c"` is one. */
function tokens(text: string): string[] {
  return (text.match(/(?:[^\s"]+|"[^"]*"?)+/g) ?? []).map((each) => each.replaceAll('"', ""));
}
