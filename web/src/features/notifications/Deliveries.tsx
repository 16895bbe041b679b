import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { List } from "@/ui/List";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

type Delivery = Api["DeliveryReply"];
const LOOKS = { pending: "warning", retrying: "warning", delivered: "good", failed: "bad" } as const;

/** What went over a channel and how that went; a test, and once more what failed. */
export function Deliveries({ channel }: { channel: Api["ChannelReply"] }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button size="compact-sm" variant="default" aria-label={`Deliveries: ${channel.address}`} onClick={open}>Deliveries</Button>
      <Modal opened={opened} onClose={close} size="xl" title={`Deliveries to ${channel.address}`} closeButtonProps={{ "aria-label": "Close" }}>
        <Log channel={channel} />
      </Modal>
    </>
  );
}

function Log({ channel }: { channel: Api["ChannelReply"] }) {
  const queries = useQueryClient();
  const queryKey = ["channels", channel.id, "deliveries"];
  const path = { channel_id: channel.id };
  const renewed = { onSuccess: () => queries.invalidateQueries({ queryKey }) };
  const testing = useMutation({ ...renewed, mutationFn: () => api.POST("/api/v1/notifications/channels/{channel_id}/test", { params: { path } }) });
  const again = useMutation({ ...renewed, mutationFn: (delivery_id: string) => api.POST("/api/v1/notifications/channels/{channel_id}/deliveries/{delivery_id}/redeliver", { params: { path: { ...path, delivery_id } } }) });
  return (
    <Stack>
      <Group>
        <Button size="compact-sm" loading={testing.isPending} onClick={() => testing.mutate()}>Send a test</Button>
        <Button size="compact-sm" variant="default" onClick={() => void queries.invalidateQueries({ queryKey })}>Look again</Button>
      </Group>
      <List queryKey={queryKey} page={(cursor) => data(api.GET("/api/v1/notifications/channels/{channel_id}/deliveries", { params: { path, query: cursor ? { cursor } : {} } }))} empty={<Text size="sm">Nothing went over it yet.</Text>}>
        {(items: Delivery[]) => (
          <DataTable
            label="Deliveries" rows={items} id={(each) => each.id}
            columns={[
              { name: "When", cell: (each) => <When at={each.created_at} /> },
              { name: "State", cell: (each) => <Status is={LOOKS[each.state]}>{each.state}</Status> },
              { name: "Attempts", cell: (each) => each.attempts },
              { name: "Answer", cell: (each) => <Text size="sm" className="wrap-anywhere">{[each.last_status, each.last_error, each.last_excerpt].filter(Boolean).join(": ")}</Text> },
              { name: "Actions", cell: (each) => <Button size="compact-sm" variant="default" aria-label={`Send again: ${each.id}`} loading={again.isPending && again.variables === each.id} onClick={() => again.mutate(each.id)}>Send again</Button> },
            ]}
          />
        )}
      </List>
    </Stack>
  );
}
