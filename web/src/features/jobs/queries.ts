import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import type { JobFilters } from "./query";

export type Job = Api["JobReply"];

const OVER: ReadonlySet<Api["State"]> = new Set(["succeeded", "failed", "cancelled", "dead"]);

export function isOver(job: Job): boolean {
  return OVER.has(job.state);
}

export const PAGE = 50;

export function jobsPage(filters: JobFilters, cursor?: string): Promise<Api["Page_JobReply_"]> {
  return data(api.GET("/api/v1/jobs", { params: { query: { ...filters, limit: PAGE, ...(cursor ? { cursor } : {}) } } }));
}

export const jobQuery = (id: string) =>
  queryOptions({ queryKey: ["jobs", "one", id], queryFn: () => data(api.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: id } } })), staleTime: 1_000 });

export const runsQuery = (id: string) =>
  queryOptions({ queryKey: ["jobs", "runs", id], queryFn: () => data(api.GET("/api/v1/jobs/{job_id}/runs", { params: { path: { job_id: id } } })) });

export const usageQuery = (id: string) =>
  queryOptions({ queryKey: ["jobs", "usage", id], queryFn: () => data(api.GET("/api/v1/jobs/{job_id}/usage", { params: { path: { job_id: id } } })) });

export const cancelJob = (id: string) => data(api.POST("/api/v1/jobs/{job_id}/cancel", { params: { path: { job_id: id } } }));

export const retryJob = (id: string, mode: "run" | "replay" = "run") =>
  data(api.POST("/api/v1/jobs/{job_id}/retry", { params: { path: { job_id: id } }, body: { mode } }));

/** The first line of what was asked, as a name for the job. */
export function titleOf(job: Job, chars = 100): string {
  const line = job.task.trim().split("\n")[0] ?? "";
  return line.length > chars ? `${line.slice(0, chars - 3)}...` : line;
}
