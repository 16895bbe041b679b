import { createFileRoute } from "@tanstack/react-router";
import { BudgetPage } from "@/features/budgets/BudgetPage";

export const Route = createFileRoute("/_app/budgets/$id")({ component: Budget });

function Budget() {
  const { id } = Route.useParams();
  return <BudgetPage key={id} id={id} />;
}
