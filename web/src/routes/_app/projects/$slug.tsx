import { createFileRoute } from "@tanstack/react-router";
import { ProjectPage } from "@/features/projects/ProjectPage";

export const Route = createFileRoute("/_app/projects/$slug")({ component: () => <ProjectPage slug={Route.useParams().slug} /> });
