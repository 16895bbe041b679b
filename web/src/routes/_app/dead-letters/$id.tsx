import { createFileRoute } from "@tanstack/react-router";
import { DeadLetterPage } from "@/features/dead-letters/DeadLetterPage";

export const Route = createFileRoute("/_app/dead-letters/$id")({ component: DeadLetter });

function DeadLetter() {
  const { id } = Route.useParams();
  return <DeadLetterPage key={id} id={id} />;
}
