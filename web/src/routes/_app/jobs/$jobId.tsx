import { createFileRoute, useLocation } from "@tanstack/react-router";
import { useCallback } from "react";
import { JobPage } from "@/features/jobs/JobPage";
import { type JobSearch, jobSearch } from "@/features/jobs/search";

export const Route = createFileRoute("/_app/jobs/$jobId")({ validateSearch: jobSearch, component: Job });

function Job() {
  const { jobId } = Route.useParams();
  const search = Route.useSearch();
  const { hash } = useLocation();
  const navigate = Route.useNavigate();
  const go = useCallback(
    (change: Partial<JobSearch>, next?: string) =>
      void navigate({ search: (now) => jobSearch({ ...now, ...change }), ...(next ? { hash: next } : {}), resetScroll: false, hashScrollIntoView: false, replace: !("tab" in change) }),
    [navigate],
  );
  return <JobPage key={jobId} jobId={jobId} search={search} hash={hash} go={go} />;
}
