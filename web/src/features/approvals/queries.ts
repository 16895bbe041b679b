import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";

export type Approval = Api["ApprovalReply"];

export const pendingOfJob = (jobId: string) =>
  queryOptions({
    queryKey: ["approvals", "pending", jobId],
    queryFn: () => data(api.GET("/api/v1/approvals", { params: { query: { job: jobId, state: "pending" } } })),
    refetchInterval: 10_000,
  });

export const approve = (id: string, remember: boolean, reason: string) =>
  data(api.POST("/api/v1/approvals/{approval_id}/approve", { params: { path: { approval_id: id } }, body: { remember, ...(reason ? { reason } : {}) } }));

export const reject = (id: string, reason: string) =>
  data(api.POST("/api/v1/approvals/{approval_id}/reject", { params: { path: { approval_id: id } }, body: reason ? { reason } : {} }));

/** What is asked, as one text: the command itself where there is one. */
export function commandOf(approval: Approval): string | null {
  const command = approval.arguments["command"];
  return typeof command === "string" ? command : null;
}

/** The other arguments, as JSON; empty where there are none. */
export function restOf(approval: Approval): string {
  const { command: _, ...rest } = approval.arguments;
  const shown = commandOf(approval) === null ? approval.arguments : rest;
  return Object.keys(shown).length > 0 ? JSON.stringify(shown, null, 2) : "";
}
