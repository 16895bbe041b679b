import { createFileRoute } from "@tanstack/react-router";
import { ChannelsPage } from "@/features/notifications/ChannelsPage";

export const Route = createFileRoute("/_app/settings/notifications")({ component: ChannelsPage });
