import { Alert, Anchor, Button, Center, Checkbox, Group, Stack, Table, Text, TextInput } from "@mantine/core";
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useMay } from "@/api/session";
import { usd } from "@/lib/format";
import { useShortcut } from "@/lib/shortcuts";
import { Empty } from "@/ui/Empty";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconPlus, IconSearch } from "@/ui/icons";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { When } from "@/ui/When";
import { Bulk } from "./Bulk";
import { Elapsed } from "./Elapsed";
import { JobStatus } from "./JobStatus";
import classes from "./jobs.module.css";
import { type Job, jobsPage, titleOf } from "./queries";
import { parseQuery } from "./query";
import { ViewTabs } from "./ViewTabs";

const NEWEST_EVERY_MS = 5_000;

/** Every job one may see, by a query that stands in the address. */
export function JobsPage({ q, setQ }: { q: string; setQ: (q: string) => void }) {
  const maySubmit = useMay("job.submit", "anywhere");
  const navigate = useNavigate();
  useShortcut("c", "New job", useCallback(() => void navigate({ to: "/jobs/new" }), [navigate]), maySubmit);
  const newJob = maySubmit ? (
    <Button component={Link} to="/jobs/new" leftSection={<IconPlus size={16} aria-hidden />}>New job</Button>
  ) : undefined;
  return (
    <Page title="Jobs" actions={newJob}>
      <ViewTabs q={q} setQ={setQ} />
      <QueryBox q={q} setQ={setQ} />
      <JobList key={`list ${q}`} q={q} />
    </Page>
  );
}

function QueryBox({ q, setQ }: { q: string; setQ: (q: string) => void }) {
  const [typed, setTyped] = useState(q);
  useEffect(() => setTyped(q), [q]);
  const box = useRef<HTMLInputElement>(null);
  useShortcut("/", "Filter the jobs", useCallback(() => box.current?.focus(), []));
  const { problems } = useMemo(() => parseQuery(q), [q]);
  return (
    <Stack gap="xs">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setQ(typed.trim());
          document.querySelector("h1")?.focus(); // out of the field: j and k move through what was found
        }}
      >
        <Group gap="xs" wrap="nowrap">
          <TextInput
            ref={box} aria-label="Filter" placeholder="status:failed project:pay since:7d" value={typed} className={classes["query"]} spellCheck={false}
            autoCapitalize="off" leftSection={<IconSearch size={16} aria-hidden />} onChange={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") event.currentTarget.blur();
            }}
          />
          <Button type="submit" variant="default">Filter</Button>
        </Group>
      </form>
      {problems.length > 0 ? (
        <Alert color="yellow" title="Not all of this filters" role="alert">
          {problems.map((each) => <Text key={each} size="sm" c="var(--mantine-color-text)" className="wrap-anywhere">{each}</Text>)}
        </Alert>
      ) : null}
    </Stack>
  );
}

function JobList({ q }: { q: string }) {
  const { filters } = useMemo(() => parseQuery(q), [q]);
  const listed = useInfiniteQuery({
    queryKey: ["jobs", "list", q, filters.since], // a cursor belongs to its filter, to the second
    queryFn: ({ pageParam }) => jobsPage(filters, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const newest = useQuery({
    queryKey: ["jobs", "newest", q],
    queryFn: () => jobsPage(filters),
    refetchInterval: NEWEST_EVERY_MS,
    placeholderData: keepPreviousData,
  });
  const { rows, fresh } = useMemo(() => {
    const known = listed.data?.pages.flatMap((each) => each.items) ?? [];
    const now = new Map(newest.data?.items.map((each) => [each.id, each]));
    const first = known[0]?.id ?? "";
    const ids = new Set(known.map((each) => each.id));
    return {
      rows: known.map((each) => newer(each, now.get(each.id))),
      fresh: listed.data ? [...now.keys()].filter((id) => !ids.has(id) && id > first).length : 0,
    };
  }, [listed.data, newest.data]);
  if (listed.isPending) return <Waiting />;
  if (listed.isError && !listed.data) return <ErrorPanel error={listed.error} retry={() => void listed.refetch()} />;
  return (
    <Stack gap="md">
      {fresh > 0 ? (
        <Center><Button size="compact-sm" radius="xl" onClick={() => void listed.refetch()} role="status">{fresh} new</Button></Center>
      ) : null}
      {newest.isError ? <ErrorPanel error={newest.error} retry={() => void newest.refetch()} /> : null}
      {rows.length === 0 ? <NoJobs filtered={q !== ""} /> : <JobTable jobs={rows} />}
      {listed.hasNextPage ? (
        <Center><Button variant="default" loading={listed.isFetchingNextPage} onClick={() => void listed.fetchNextPage()}>Show more</Button></Center>
      ) : null}
    </Stack>
  );
}

function newer(a: Job, b: Job | undefined): Job {
  return b && b.version >= a.version ? b : a;
}

function NoJobs({ filtered }: { filtered: boolean }) {
  const may = useMay("job.submit", "anywhere");
  if (filtered) return <Empty says="No job fits this filter." cli="shopfloor job list --state failed" />;
  const action = may ? (
    <Group gap="md"><Button component={Link} to="/jobs/new">Submit the first job</Button><Anchor component={Link} to="/welcome">Set up step by step</Anchor></Group>
  ) : undefined;
  return <Empty says="No job yet." action={action} cli='shopfloor job submit "what is to be done"' />;
}

function JobTable({ jobs }: { jobs: Job[] }) {
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [at, setAt] = useState(-1);
  const body = useRef<HTMLTableSectionElement>(null);
  const mayActOnMany = [useMay("job.cancel", "anywhere"), useMay("job.retry", "anywhere")].some(Boolean);
  const move = (to: number) => {
    const next = Math.max(0, Math.min(jobs.length - 1, to));
    setAt(next);
    body.current?.querySelectorAll<HTMLAnchorElement>("a[data-job]")[next]?.focus();
  };
  const toggle = (id: string | undefined) => {
    if (id === undefined) return;
    setSelected((now) => {
      const next = new Set(now);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  };
  useShortcut("j", "Next job; Enter opens it", () => move(at + 1));
  useShortcut("k", "Previous job", () => move(at - 1));
  useShortcut("x", "Select this job", () => toggle(jobs[at]?.id), mayActOnMany);
  useEffect(() => setAt((now) => Math.min(now, jobs.length - 1)), [jobs.length]);
  const chosen = jobs.filter((each) => selected.has(each.id));
  return (
    <>
      {chosen.length > 0 ? <Bulk jobs={chosen} clear={() => setSelected(new Set())} /> : null}
      <div className="scroll-x">
        <Table aria-label="Jobs" verticalSpacing="xs" className={classes["jobs"]}>
          <Table.Thead>
            <Table.Tr>
              {mayActOnMany ? <Table.Th w={36}><span className={classes["hidden"]}>Selected</span></Table.Th> : null}
              <Table.Th>Job</Table.Th><Table.Th>Status</Table.Th><Table.Th>Cost</Table.Th><Table.Th>Took</Table.Th><Table.Th>Made</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody ref={body}>
            {jobs.map((job, index) => (
              <Table.Tr key={job.id} data-at={index === at || undefined} onFocus={() => setAt(index)}>
                {mayActOnMany ? (
                  <Table.Td className={classes["select"]}>
                    <Checkbox size="xs" checked={selected.has(job.id)} onChange={() => toggle(job.id)} aria-label={`Select ${titleOf(job, 60)}`} />
                  </Table.Td>
                ) : null}
                <Table.Td className={classes["task"]}>
                  <Anchor component={Link} to={`/jobs/${job.id}`} data-job={job.id} className="wrap-anywhere" fw={500}>{titleOf(job)}</Anchor>
                  <Text size="xs" c="dimmed" className="wrap-anywhere">{whereOf(job)}</Text>
                </Table.Td>
                <Table.Td><JobStatus job={job} /></Table.Td>
                <Table.Td className={classes["number"]}>{usd(job.cost_nanos)}</Table.Td>
                <Table.Td className={classes["number"]}>{job.started_at ? <Elapsed job={job} /> : "-"}</Table.Td>
                <Table.Td className={classes["number"]}><When at={job.created_at} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </>
  );
}

function whereOf(job: Job): string {
  const labels = Object.entries(job.labels).map(([name, value]) => `${name}=${value}`);
  return [job.agent, job.repo?.["url"]?.replace(/^https?:\/\//, ""), job.model, ...labels].filter(Boolean).join(" · ");
}
