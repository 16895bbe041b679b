import { Checkbox, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { meQuery } from "@/api/session";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Once } from "@/ui/Once";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

const KEYS = [["keys"]];
const DAY_MS = 86_400_000;
const LIVES = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "a year" },
  { value: "", label: "no end" },
];

/** Keys for programs: yours, and those of others for who may see them. */
export function KeysPage() {
  return (
    <Page title="API keys" about="For programs. A key never may more than the person it belongs to." actions={<NewKey />}>
      <List queryKey={["keys"]} page={(cursor) => data(api.GET("/api/v1/api-keys", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No key yet." cli="shopfloor key create ci --permission job.submit" />}>
        {(items: Api["ApiKeyReply"][]) => (
          <DataTable
            label="API keys" rows={items} id={(each) => each.id}
            columns={[
              { name: "Name", cell: (each) => <>{each.name}<Text size="xs" c="dimmed">{each.public_id}</Text></> },
              { name: "May", cell: (each) => <May permissions={each.permissions} /> },
              { name: "Last used", cell: (each) => <When at={each.last_used_at} /> },
              { name: "Ends", cell: (each) => <Ends of={each} /> },
              { name: "Actions", cell: (each) => (each.revoked_at ? null : <KeyActions of={each} />) },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function May({ permissions }: { permissions: string[] }) {
  const shown = permissions.slice(0, 3).join(", ");
  return <span title={permissions.join(", ")}>{permissions.length > 3 ? `${shown} and ${permissions.length - 3} more` : shown}</span>;
}

function Ends({ of: key }: { of: Api["ApiKeyReply"] }) {
  if (key.revoked_at) return <Status is="bad">revoked</Status>;
  return (
    <Group gap="xs">
      <When at={key.expires_at} />
      {key.expires_soon ? <Status is="warning">soon</Status> : null}
    </Group>
  );
}

function KeyActions({ of: key }: { of: Api["ApiKeyReply"] }) {
  const path = { key_id: key.id };
  return (
    <Group gap="xs" wrap="nowrap">
      <Dialog
        small button="Rotate" about={key.name} title={`Rotate the key ${key.name}?`} send="Rotate" renews={KEYS}
        submit={() => data(api.POST("/api/v1/api-keys/{key_id}/rotate", { params: { path }, body: {} }))}
        shows={(made, close) => <Once label="The new key" text={made.key} about="Shown this once. The key before it stays good for the overlap." close={close} />}
      >
        {() => <Text size="sm">It gets a new secret and keeps its id. The secret before it stays good for a day, so that nothing stands still meanwhile.</Text>}
      </Dialog>
      <Dialog small button="Revoke" about={key.name} title={`Revoke the key ${key.name}?`} send="Revoke" danger renews={KEYS} says="The key is revoked." submit={() => api.DELETE("/api/v1/api-keys/{key_id}", { params: { path } })}>
        {() => <Text size="sm">Programs that use it are refused from now on. This can't be undone.</Text>}
      </Dialog>
    </Group>
  );
}

function NewKey() {
  const mine = [...(useQuery({ ...meQuery, enabled: false }).data?.anywhere ?? [])].toSorted();
  const [name, setName] = useState("");
  const [days, setDays] = useState("90");
  const [permissions, setPermissions] = useState<string[]>(["job.submit", "job.read"]);
  return (
    <Dialog
      button="New key" title="New API key" send="Make it" renews={KEYS} onOpen={() => setName("")}
      submit={() => {
        const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null;
        return data(api.POST("/api/v1/api-keys", { body: { name, permissions, expires_at } }));
      }}
      shows={(made, close) => <Once label="The new key" text={made.key} about="Shown this once: keep it where your program finds it." close={close} />}
    >
      {(error) => (
        <Stack gap="sm">
          <TextInput label="Name" required value={name} onChange={(event) => setName(event.currentTarget.value)} error={fieldErrors(error)["name"]} />
          <NativeSelect label="Good for" data={LIVES} value={days} onChange={(event) => setDays(event.currentTarget.value)} />
          <Checkbox.Group label="It may" value={permissions} onChange={setPermissions} error={fieldErrors(error)["permissions"]}>
            <Stack gap={4} mt="xs" mah={220} style={{ overflowY: "auto" }} tabIndex={0} role="group" aria-label="Permissions">
              {mine.map((each) => <Checkbox key={each} value={each} label={each} size="xs" />)}
            </Stack>
          </Checkbox.Group>
        </Stack>
      )}
    </Dialog>
  );
}
