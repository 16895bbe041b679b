import { createFileRoute } from "@tanstack/react-router";
import { NotificationsPage } from "@/features/notifications/NotificationsPage";

export const Route = createFileRoute("/_app/notifications")({
  validateSearch: (search): { unread?: true } => (search["unread"] === true ? { unread: true } : {}),
  component: Notifications,
});

function Notifications() {
  return <NotificationsPage unread={Route.useSearch().unread ?? false} />;
}
