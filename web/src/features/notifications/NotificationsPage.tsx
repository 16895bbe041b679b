import { Anchor, Button, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

type Told = Api["NotificationReply"];

/** What the platform told: alerts and pauses, newest first, with the marks of what one has read. */
export function NotificationsPage({ unread }: { unread: boolean }) {
  const navigate = useNavigate();
  const may = useMay("notification.edit");
  const settings = may ? <Button component={Link} to="/settings/notifications" variant="default">Where they go</Button> : undefined;
  return (
    <Page title="Notifications" actions={settings}>
      <Group>
        <SegmentedControl
          aria-label="Which" value={unread ? "unread" : "all"} data={[{ value: "all", label: "All" }, { value: "unread", label: "Unread" }]}
          onChange={(which) => void navigate({ to: "/notifications", search: which === "unread" ? { unread: true } : {} })}
        />
      </Group>
      <List
        queryKey={["notifications", "list", unread]} empty={<Empty says={unread ? "Nothing unread." : "Nothing yet. What budgets reach and pause is told here."} cli="shopfloor notification list" />}
        page={(cursor) => data(api.GET("/api/v1/notifications", { params: { query: { ...(unread ? { unread } : {}), ...(cursor ? { cursor } : {}) } } }))}
      >
        {(items: Told[]) => <Items of={items} />}
      </List>
    </Page>
  );
}

function Items({ of: items }: { of: Told[] }) {
  const queries = useQueryClient();
  const renewed = { onSuccess: () => queries.invalidateQueries({ queryKey: ["notifications"] }) };
  const path = (id: string) => ({ params: { path: { notification_id: id } } });
  const one = useMutation({ ...renewed, mutationFn: (id: string) => api.PUT("/api/v1/notifications/{notification_id}/read", path(id)) });
  const all = useMutation({ ...renewed, mutationFn: (id: string) => api.PUT("/api/v1/notifications/{notification_id}/read-up-to", path(id)) });
  const [newest] = items;
  return (
    <Stack gap="md">
      {newest && items.some((each) => !each.read_at) ? <Group><Button size="compact-sm" variant="default" loading={all.isPending} onClick={() => all.mutate(newest.id)}>Mark all as read</Button></Group> : null}
      <Stack component="ul" gap="md" m={0} p={0} style={{ listStyle: "none" }}>
        {items.map((each) => (
          <li key={each.id}>
            <Group justify="space-between" align="flex-start">
              <Stack gap={2} style={{ flex: "1 1 240px", minWidth: 0 }}>
                <Text fw={each.read_at ? 400 : 700} className="wrap-anywhere">{each.title}</Text>
                <Text size="sm" className="wrap-anywhere" style={{ whiteSpace: "pre-line" }}>{each.body}</Text>
                <Text size="xs" c="dimmed"><When at={each.created_at} /></Text>
                <About of={each} />
              </Stack>
              {each.read_at ? <Status is="good">read</Status> : <Button size="compact-sm" variant="default" aria-label={`Mark as read: ${each.title}`} onClick={() => one.mutate(each.id)}>Mark as read</Button>}
            </Group>
          </li>
        ))}
      </Stack>
    </Stack>
  );
}

function About({ of: told }: { of: Told }) {
  const budget = told.data["budget_id"];
  return typeof budget === "string" ? <Anchor component={Link} to={`/budgets/${budget}`} size="sm">Look at the budget</Anchor> : null;
}
