import { createFileRoute } from "@tanstack/react-router";
import { AuditPage } from "@/features/audit/AuditPage";
import { FILTERS, type AuditFilters } from "@/features/audit/filters";

export const Route = createFileRoute("/_app/audit")({
  validateSearch: (search): AuditFilters =>
    Object.fromEntries(FILTERS.flatMap((name) => (typeof search[name] === "string" && search[name] ? [[name, search[name]]] : []))),
  component: () => {
    const navigate = Route.useNavigate();
    return <AuditPage filters={Route.useSearch()} change={(search) => void navigate({ search })} />;
  },
});
