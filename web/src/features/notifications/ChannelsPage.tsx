import { Button, Checkbox, Group, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Once } from "@/ui/Once";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { Deliveries } from "./Deliveries";

type Channel = Api["ChannelReply"];
type Event = Api["ChannelNew"]["events"][number];
type Summaries = NonNullable<Channel["summaries"]>;

const CHANNELS = [["channels"]];
const EVENTS: { value: Event; label: string }[] = [
  { value: "budget.alert", label: "A budget reaches one of its alerts" },
  { value: "budget.paused", label: "A budget is paused" },
  { value: "budget.resumed", label: "A budget goes on" },
  { value: "approval.asked", label: "A job waits for somebody's yes" },
  { value: "deadletter.added", label: "A job or a task was given up" },
];
const SUMMARIES = [
  { value: "", label: "none" },
  { value: "daily", label: "each day" },
  { value: "weekly", label: "each Monday" },
];
const SECRET = "With it your program checks the signature of each message. Shown this once.";

/** Where notifications go besides this app: addresses and webhooks. */
export function ChannelsPage() {
  return (
    <Page title="Where notifications go" about="Everybody finds them in this app; channels carry them further." actions={<NewChannel />}>
      <List queryKey={["channels"]} page={(cursor) => data(api.GET("/api/v1/notifications/channels", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No channel yet: notifications stay in this app." cli="shopfloor notification channel add --email ops@example.com" />}>
        {(items: Channel[]) => (
          <DataTable
            label="Channels" rows={items} id={(each) => each.id}
            columns={[
              { name: "To", cell: (each) => <><Text size="sm" className="wrap-anywhere">{each.address}</Text><Text size="xs" c="dimmed">{each.kind}{each.summaries ? `, summary ${each.summaries}` : ""}</Text></> },
              { name: "Tells", cell: (each) => each.events.join(", ") || "summaries only" },
              { name: "State", cell: (each) => <><Status is={each.enabled ? "good" : "warning"}>{each.enabled ? "on" : "off"}</Status>{each.disabled_because ? <Text size="xs">{each.disabled_because}</Text> : null}</> },
              { name: "Actions", cell: (each) => <Actions of={each} /> },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function Actions({ of: channel }: { of: Channel }) {
  const params = { path: { channel_id: channel.id } };
  return (
    <Group gap="xs" wrap="nowrap">
      <Deliveries channel={channel} />
      <ChangeChannel channel={channel} />
      {channel.kind === "webhook" ? (
        <Dialog
          small button="New secret" about={channel.address} title="A new secret for the webhook" send="Make it" renews={CHANNELS}
          submit={() => data(api.POST("/api/v1/notifications/channels/{channel_id}/rotate-secret", { params, headers: ifVersion(channel.version) }))}
          shows={(made, close) => <Once label="The new secret" text={made.secret ?? ""} about={SECRET} close={close} />}
        >
          {() => <Text size="sm">The one before signs nothing from then on.</Text>}
        </Dialog>
      ) : null}
      <Dialog small button="Remove" about={channel.address} title={`Remove ${channel.address}?`} send="Remove" danger renews={CHANNELS} says="The channel is removed." submit={() => api.DELETE("/api/v1/notifications/channels/{channel_id}", { params })}>
        {() => <Text size="sm">Nothing goes there any more, and the log of its deliveries is gone.</Text>}
      </Dialog>
    </Group>
  );
}

interface Choice {
  events: Event[];
  summaries: Summaries | "";
}

function Which({ kind, chosen, choose }: { kind: Channel["kind"]; chosen: Choice; choose: (chosen: Choice) => void }) {
  return (
    <>
      <Checkbox.Group label="Tell when" value={chosen.events} onChange={(events) => choose({ ...chosen, events: events as Event[] })}>
        <Stack gap="xs" mt="xs">{EVENTS.map(({ value, label }) => <Checkbox key={value} value={value} label={label} />)}</Stack>
      </Checkbox.Group>
      {kind === "email" ? <NativeSelect label="Summary of what was spent" data={SUMMARIES} value={chosen.summaries} onChange={(event) => choose({ ...chosen, summaries: event.currentTarget.value as Summaries | "" })} /> : null}
    </>
  );
}

function NewChannel() {
  const [kind, setKind] = useState<Channel["kind"]>("email");
  const [to, setTo] = useState("");
  const [chosen, choose] = useState<Choice>({ events: ["budget.alert", "budget.paused"], summaries: "" });
  const submit = () => {
    const place = kind === "email" ? { address: to, summaries: chosen.summaries || null } : { url: to };
    return data(api.POST("/api/v1/notifications/channels", { body: { kind, events: chosen.events, ...place } }));
  };
  return (
    <Dialog
      button="New channel" title="New channel" send="Add it" renews={CHANNELS} onOpen={() => setTo("")} submit={submit}
      shows={(made, close) => (made.secret ? <Once label="The secret" text={made.secret} about={SECRET} close={close} /> : <Added close={close} />)}
    >
      {(error) => (
        <>
          <NativeSelect label="Kind" value={kind} data={[{ value: "email", label: "E-mail" }, { value: "webhook", label: "Webhook" }]} onChange={(event) => setKind(event.currentTarget.value as Channel["kind"])} />
          <TextInput label={kind === "email" ? "Address" : "URL"} required value={to} onChange={(event) => setTo(event.currentTarget.value)} error={fieldErrors(error)[kind === "email" ? "address" : "url"]} />
          <Which kind={kind} chosen={chosen} choose={choose} />
        </>
      )}
    </Dialog>
  );
}

function Added({ close }: { close: () => void }) {
  return (
    <Stack>
      <Text size="sm">The channel is added. Its deliveries have a button that sends a test.</Text>
      <Group justify="flex-end"><Button onClick={close}>Close</Button></Group>
    </Stack>
  );
}

function ChangeChannel({ channel }: { channel: Channel }) {
  const present = (): Choice => ({ events: channel.events as Event[], summaries: channel.summaries ?? "" });
  const [chosen, choose] = useState(present);
  const [enabled, setEnabled] = useState(channel.enabled);
  const open = () => {
    choose(present());
    setEnabled(channel.enabled);
  };
  const submit = () => {
    const summaries = channel.kind === "email" ? { summaries: chosen.summaries || null } : {};
    return api.PATCH("/api/v1/notifications/channels/{channel_id}", { params: { path: { channel_id: channel.id } }, headers: ifVersion(channel.version), body: { events: chosen.events, ...summaries, enabled } });
  };
  return (
    <Dialog small button="Edit" about={channel.address} title={`Change ${channel.address}`} send="Change it" renews={CHANNELS} says="The channel is changed." onOpen={open} submit={submit}>
      {() => (
        <>
          <Which kind={channel.kind} chosen={chosen} choose={choose} />
          <Checkbox label="On" checked={enabled} onChange={(event) => setEnabled(event.currentTarget.checked)} />
        </>
      )}
    </Dialog>
  );
}
