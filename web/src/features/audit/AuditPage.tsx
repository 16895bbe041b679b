import { Anchor, Button, Code, Group, Modal, NativeSelect, Stack, Text, TextInput, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { moment } from "@/lib/format";
import { DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { List, Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";
import type { AuditFilters } from "./filters";
import { Verify } from "./Verify";

type Entry = Api["AuditEntryReply"];

/** Who did what, when, from where; newest first. */
export function AuditPage({ filters, change }: { filters: AuditFilters; change: (filters: AuditFilters) => void }) {
  const [shown, setShown] = useState<string | null>(null);
  return (
    <Page title="Audit" about="Who did what, when, from where. Nothing here can be changed without being noticed." actions={<Anchor href="/api/v1/audit/export" download="audit.jsonl" size="sm">Export</Anchor>}>
      <Filters key={JSON.stringify(filters)} filters={filters} change={change} />
      <List queryKey={["audit", filters]} page={(cursor) => data(api.GET("/api/v1/audit", { params: { query: { ...filters, ...(cursor ? { cursor } : {}) } as never } }))} empty={<Empty says="Nothing that fits." cli="shopfloor audit list --action job." />}>
        {(items: Entry[]) => (
          <DataTable
            label="Audit entries" rows={items} id={(each) => each.id}
            columns={[
              { name: "When", cell: (each) => <When at={each.at} /> },
              { name: "What", cell: (each) => <Anchor component="button" size="sm" onClick={() => setShown(each.id)}>{each.action}</Anchor> },
              { name: "Result", cell: (each) => <Status is={each.result === "done" ? "good" : "bad"}>{each.result}</Status> },
              { name: "By", cell: (each) => <Text size="xs" className="wrap-anywhere">{each.actor.kind} {each.actor.user_id ?? each.actor.id}</Text> },
              { name: "On", cell: (each) => <Text size="xs" className="wrap-anywhere">{each.target.kind} {each.target.id}</Text> },
              { name: "From", cell: (each) => <Text size="xs">{each.origin.address}</Text> },
            ]}
          />
        )}
      </List>
      <Title order={2}>Check it</Title>
      <Verify />
      <Modal opened={shown !== null} onClose={() => setShown(null)} size="lg" title="Audit entry" closeButtonProps={{ "aria-label": "Close" }}>
        {shown ? <Detail id={shown} /> : null}
      </Modal>
    </Page>
  );
}

function Filters({ filters, change }: { filters: AuditFilters; change: (filters: AuditFilters) => void }) {
  const [filled, setFilled] = useState(filters);
  const set = (name: keyof AuditFilters) => ({
    value: filled[name] ?? "",
    onChange: (event: { currentTarget: { value: string } }) => {
      const { value } = event.currentTarget;
      setFilled((now) => ({ ...now, [name]: value }));
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    change(Object.fromEntries(Object.entries(filled).filter(([, value]) => value)));
  };
  return (
    <form onSubmit={submit}>
      <Group align="flex-end" gap="sm">
        <TextInput label="Action" placeholder="job. for all of jobs" {...set("action")} />
        <TextInput label="Actor" placeholder="id" {...set("actor")} />
        <TextInput label="Target" placeholder="id" {...set("target")} />
        <TextInput label="Since" placeholder="2026-01-31T00:00:00Z" {...set("since")} />
        <NativeSelect label="Result" data={[{ value: "", label: "any" }, "done", "refused"]} {...set("result")} />
        <Button type="submit" variant="default">Filter</Button>
        {Object.keys(filters).length > 0 ? <Button variant="subtle" onClick={() => change({})}>All</Button> : null}
      </Group>
    </form>
  );
}

function Detail({ id }: { id: string }) {
  const { data: entry, error } = useQuery({ queryKey: ["audit", "entry", id], queryFn: () => data(api.GET("/api/v1/audit/{entry_id}", { params: { path: { entry_id: id } } })) });
  if (error) return <ErrorPanel error={error} />;
  if (!entry) return <Waiting />;
  return (
    <Stack gap="xs">
      <Text size="sm">{moment(entry.at)}: {entry.action} on {entry.target.kind}</Text>
      <Text size="xs" className="wrap-anywhere">Request {entry.origin.request_id} from {entry.origin.address} with {entry.origin.agent}</Text>
      <Group grow align="flex-start">
        <Json label="Before" value={entry.before} />
        <Json label="After" value={entry.after} />
      </Group>
      <Text size="xs" c="dimmed">{entry.inclusion ? `Entry ${entry.inclusion.index} of ${entry.inclusion.size}, in the signed tree.` : "Not in a signed checkpoint yet: the next comes within seconds."}</Text>
    </Stack>
  );
}

function Json({ label, value }: { label: string; value: unknown }) {
  return (
    <div>
      <Text size="sm" fw={600}>{label}</Text>
      <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap" }}>{value ? JSON.stringify(value, null, 2) : "nothing"}</Code>
    </div>
  );
}
