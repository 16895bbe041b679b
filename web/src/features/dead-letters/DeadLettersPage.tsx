import { Anchor, Checkbox, Group, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, data } from "@/api/client";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

type Letter = Api["DeadLetterSummary"];
export type Shown = "open" | "requeued" | "discarded";

const LETTERS = [["dead-letters"]];
const MOST = 100; // the API settles no more in one request
const SHOWN: { value: Shown; label: string }[] = [
  { value: "open", label: "Open" },
  { value: "requeued", label: "Requeued" },
  { value: "discarded", label: "Discarded" },
];

/** Jobs and tasks that the platform has given up: why, and what to do with them. */
export function DeadLettersPage({ state }: { state: Shown }) {
  const navigate = useNavigate();
  const may = useMay("deadletter.edit", "anywhere") && state === "open";
  return (
    <Page title="Dead letters" about="Jobs and tasks that failed each time they were tried, and wait for somebody's decision.">
      <Group>
        <SegmentedControl aria-label="Which" data={SHOWN} value={state} onChange={(next) => void navigate({ to: "/dead-letters", search: next === "open" ? {} : { state: next as Shown } })} />
      </Group>
      <List queryKey={["dead-letters", state]} page={(cursor) => data(api.GET("/api/v1/dead-letters", { params: { query: { state, ...(cursor ? { cursor } : {}) } } }))} empty={<Empty says={state === "open" ? "Nothing was given up." : "None."} cli="shopfloor dead-letter list" />}>
        {(items: Letter[]) => <Letters of={items} may={may} />}
      </List>
    </Page>
  );
}

function Letters({ of: items, may }: { of: Letter[]; may: boolean }) {
  const [marked, setMarked] = useState<ReadonlySet<string>>(new Set());
  const chosen = items.filter((each) => marked.has(each.id)).slice(0, MOST).map((each) => each.id);
  const mark = (id: string, on: boolean) => setMarked((now) => new Set(on ? [...now, id] : [...now].filter((each) => each !== id)));
  const columns = [
    { name: "What", cell: (each: Letter) => <><Anchor component={Link} to={`/dead-letters/${each.id}`}>{each.task}</Anchor><Text size="xs" c="dimmed">{each.kind}, {each.attempts} attempts</Text></> },
    { name: "Why", cell: (each: Letter) => <><Text size="sm">{each.reason.title}</Text><Text size="xs" className="wrap-anywhere" lineClamp={2}>{each.reason.detail}</Text></> },
    { name: "When", cell: (each: Letter) => <When at={each.created_at} /> },
    { name: "State", cell: (each: Letter) => <LetterState of={each} /> },
  ];
  const marks = { name: "Chosen", cell: (each: Letter) => <Checkbox aria-label={`Choose ${each.task} of ${each.created_at}`} checked={marked.has(each.id)} onChange={(event) => mark(each.id, event.currentTarget.checked)} /> };
  return (
    <Stack>
      {may ? <Bulk ids={chosen} all={() => setMarked(new Set(items.slice(0, MOST).map((each) => each.id)))} none={() => setMarked(new Set())} /> : null}
      <DataTable label="Dead letters" rows={items} id={(each) => each.id} columns={may ? [marks, ...columns] : columns} />
    </Stack>
  );
}

export function LetterState({ of: letter }: { of: Pick<Letter, "state"> }) {
  return <Status is={letter.state === "open" ? "bad" : letter.state === "requeued" ? "good" : "warning"}>{letter.state}</Status>;
}

function Bulk({ ids, all, none }: { ids: string[]; all: () => void; none: () => void }) {
  const [reason, setReason] = useState("");
  return (
    <Group gap="xs">
      <Checkbox label={`${ids.length} chosen`} checked={ids.length > 0} onChange={ids.length > 0 ? none : all} />
      <Dialog
        small button="Requeue" about="those chosen" disabled={ids.length === 0} title={`Try ${ids.length} again?`} send="Requeue" renews={LETTERS}
        submit={() => data(api.POST("/api/v1/dead-letters/requeue", { body: { ids } }))} shows={(settled) => <Settled of={settled} />}
      >
        {() => <Text size="sm">Each is tried again as it was. A job goes on as a new one from its last finished turn, and costs money again.</Text>}
      </Dialog>
      <Dialog
        small button="Discard" about="those chosen" danger disabled={ids.length === 0} title={`Discard ${ids.length}?`} send="Discard" renews={LETTERS} onOpen={() => setReason("")}
        submit={() => data(api.POST("/api/v1/dead-letters/discard", { body: { ids, reason } }))} shows={(settled) => <Settled of={settled} />}
      >
        {() => <TextInput label="Why" description="They are never tried again. They stay in the list, with this reason." required value={reason} onChange={(event) => setReason(event.currentTarget.value)} />}
      </Dialog>
    </Group>
  );
}

function Settled({ of: settled }: { of: Api["SettledReply"] }) {
  return (
    <Stack role="status">
      <Text size="sm">{settled.done.length} done, {settled.refused.length} refused.</Text>
      {settled.refused.map((each) => <Text key={each.id} size="sm" className="wrap-anywhere"><Status is="bad">{each.code}</Status> {each.detail}</Text>)}
    </Stack>
  );
}
