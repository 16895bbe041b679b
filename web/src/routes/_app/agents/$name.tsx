import { createFileRoute } from "@tanstack/react-router";
import { AgentPage } from "@/features/agents/AgentPage";

export const Route = createFileRoute("/_app/agents/$name")({ component: () => <AgentPage name={Route.useParams().name} /> });
