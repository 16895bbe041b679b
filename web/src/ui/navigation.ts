import type { Me } from "@/api/session";
import * as icons from "./icons";

export interface Place {
  to: string;
  name: string;
  icon: typeof icons.IconJobs;
  keys: string; // after `g`
  permission: string | null; // needed in some project at least; null: everybody's
}

/** The app's pages, in the order of the navigation. What one may not see isn't there. */
export const PLACES: Place[] = [
  { to: "/jobs", name: "Jobs", icon: icons.IconJobs, keys: "g j", permission: "job.read" },
  { to: "/approvals", name: "Approvals", icon: icons.IconApproval, keys: "g y", permission: "job.read" },
  { to: "/projects", name: "Projects", icon: icons.IconProject, keys: "g p", permission: "project.read" },
  { to: "/agents", name: "Agents", icon: icons.IconAgent, keys: "g a", permission: "agent.read" },
  { to: "/providers", name: "Providers and models", icon: icons.IconProvider, keys: "g m", permission: "provider.read" },
  { to: "/budgets", name: "Cost and budgets", icon: icons.IconBudget, keys: "g b", permission: "budget.read" },
  { to: "/dead-letters", name: "Dead letters", icon: icons.IconGivenUp, keys: "g d", permission: "deadletter.read" },
  { to: "/audit", name: "Audit", icon: icons.IconAudit, keys: "g u", permission: "audit.read" },
  { to: "/health", name: "Health", icon: icons.IconHealth, keys: "g h", permission: "system.read" },
  { to: "/settings", name: "Settings", icon: icons.IconSettings, keys: "g s", permission: null },
];

export function placesOf(me: Me | undefined): Place[] {
  return PLACES.filter((each) => each.permission === null || me?.anywhere.has(each.permission));
}
