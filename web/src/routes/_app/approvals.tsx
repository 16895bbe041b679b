import { createFileRoute } from "@tanstack/react-router";
import { ApprovalsPage, type Shown, shownOf } from "@/features/approvals/ApprovalsPage";

export const Route = createFileRoute("/_app/approvals")({
  validateSearch: (search): { state?: Shown } => (search["state"] === undefined ? {} : { state: shownOf(search["state"]) }),
  component: Approvals,
});

function Approvals() {
  const { state } = Route.useSearch();
  const navigate = Route.useNavigate();
  return <ApprovalsPage shown={state ?? "pending"} setShown={(shown) => void navigate({ search: shown === "pending" ? {} : { state: shown } })} />;
}
