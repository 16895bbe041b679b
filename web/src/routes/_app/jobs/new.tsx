import { createFileRoute } from "@tanstack/react-router";
import { NewJobPage } from "@/features/newjob/NewJobPage";

export const Route = createFileRoute("/_app/jobs/new")({ component: NewJobPage });
