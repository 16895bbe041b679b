import { createFileRoute } from "@tanstack/react-router";
import { DeadLettersPage, type Shown } from "@/features/dead-letters/DeadLettersPage";

export const Route = createFileRoute("/_app/dead-letters/")({
  validateSearch: (search): { state?: Shown } => (search["state"] === "requeued" || search["state"] === "discarded" ? { state: search["state"] } : {}),
  component: DeadLetters,
});

function DeadLetters() {
  const { state = "open" } = Route.useSearch();
  return <DeadLettersPage key={state} state={state} />;
}
