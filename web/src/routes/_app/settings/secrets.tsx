import { createFileRoute } from "@tanstack/react-router";
import { SecretsPage } from "@/features/settings/SecretsPage";

export const Route = createFileRoute("/_app/settings/secrets")({ component: SecretsPage });
