import { createFileRoute } from "@tanstack/react-router";
import { JobsPage } from "@/features/jobs/JobsPage";

export const Route = createFileRoute("/_app/jobs/")({
  validateSearch: (search): { q?: string } => (typeof search["q"] === "string" && search["q"] !== "" ? { q: search["q"] } : {}),
  component: Jobs,
});

function Jobs() {
  const { q } = Route.useSearch();
  const navigate = Route.useNavigate();
  return <JobsPage q={q ?? ""} setQ={(next) => void navigate({ search: next === "" ? {} : { q: next } })} />;
}
