import { Alert, Anchor, Badge, Group, Progress, Select, Tabs, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { useMayIn } from "@/api/session";
import { JobApprovals } from "@/features/approvals/JobApprovals";
import { ActivityTab } from "@/features/timeline/ActivityTab";
import { tokensOf } from "@/features/timeline/story";
import { count, usd } from "@/lib/format";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { LiveBanner } from "@/ui/LiveBanner";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { When } from "@/ui/When";
import { Actions } from "./Actions";
import { ArtifactsTab } from "./ArtifactsTab";
import { DetailsTab } from "./DetailsTab";
import { Elapsed } from "./Elapsed";
import { JobStatus } from "./JobStatus";
import { isOver, type Job, jobQuery, runsQuery, titleOf } from "./queries";
import type { JobSearch } from "./search";
import { useJournal, useStory } from "./useStory";

const LogsTab = lazy(() => import("@/features/logs/LogsTab").then((each) => ({ default: each.LogsTab })));
const ChangesTab = lazy(() => import("@/features/diff/ChangesTab").then((each) => ({ default: each.ChangesTab })));
const CostTab = lazy(() => import("@/features/cost-of-job/CostTab").then((each) => ({ default: each.CostTab })));

interface JobPageProps {
  jobId: string;
  search: JobSearch;
  hash: string;
  go: (search: Partial<JobSearch>, hash?: string) => void;
}

/** One job: where it stands, and everything of it under its tabs. */
export function JobPage(props: JobPageProps) {
  const { data: job, error, refetch } = useQuery({ ...jobQuery(props.jobId), refetchInterval: ({ state }) => (state.data && !isOver(state.data) ? 15_000 : false) });
  if (error && !job) return <Page title="Job"><ErrorPanel error={error} retry={() => void refetch()} /></Page>;
  if (!job) return <Page title="Job"><Waiting /></Page>;
  return <WithJournal key={job.id} {...props} job={job} />;
}

function WithJournal(props: JobPageProps & { job: Job }) {
  const journal = useJournal(props.job);
  if (journal.error && !journal.data) return <Page title={titleOf(props.job)}><ErrorPanel error={journal.error} retry={() => void journal.refetch()} /></Page>;
  if (!journal.data) return <Page title={titleOf(props.job)}><Waiting /></Page>;
  return <Opened {...props} journal={journal.data} />;
}

function Opened({ job, journal, search, hash, go }: JobPageProps & { job: Job; journal: NonNullable<ReturnType<typeof useJournal>["data"]> }) {
  const { story, version, live, asOf, earlier } = useStory(job, journal);
  const runs = useQuery(runsQuery(job.id)).data ?? [];
  const mayReadArtifacts = useMayIn(job.project_id, "artifact.read");
  const run = runs.find((each) => String(each.fence) === String(search.run ?? ""));
  const tab = search.tab ?? "activity";
  const changes = job.changes ?? [];
  const added = sum(changes, "additions");
  const deleted = sum(changes, "deletions");
  return (
    <Page
      title={titleOf(job, 70)} about={<Where job={job} />} actions={<Actions job={job} turns={job.turns} />}
      heading={<span className="wrap-anywhere">{titleOf(job)}</span>}
    >
      <Group gap="md" aria-label="Where it stands" role="group">
        <JobStatus job={job} />
        <Text size="sm"><Elapsed job={job} /></Text>
        <Spent job={job} />
        <Text size="sm">{count(tokensOf(job.usage))} tokens, {job.turns} turns</Text>
        {runs.length > 1 ? (
          <Select
            size="xs" w={130} aria-label="Run" value={run ? String(run.fence) : ""} allowDeselect={false}
            data={[{ value: "", label: `All ${runs.length} runs` }, ...runs.map((each) => ({ value: String(each.fence), label: `Run ${each.fence}` }))]}
            onChange={(value) => go({ run: value ? Number(value) : undefined })}
          />
        ) : null}
        <LiveBanner state={live} {...(asOf ? { asOf } : {})} />
      </Group>
      <Why job={job} />
      {job.waiting_reason === "approval" ? <JobApprovals jobId={job.id} /> : null}
      <Tabs value={tab} onChange={(next) => go({ tab: (next ?? "activity") as JobSearch["tab"], step: undefined }, "")} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="activity">Activity</Tabs.Tab>
          <Tabs.Tab value="logs">Logs</Tabs.Tab>
          <Tabs.Tab value="changes" rightSection={changes.length > 0 ? <Badge size="xs" variant="default" tt="none">{changes.length} (+{added} -{deleted})</Badge> : undefined}>Changes</Tabs.Tab>
          {mayReadArtifacts ? <Tabs.Tab value="artifacts">Artifacts</Tabs.Tab> : null}
          <Tabs.Tab value="cost">Cost</Tabs.Tab>
          <Tabs.Tab value="details">Details</Tabs.Tab>
        </Tabs.List>
        <Suspense fallback={<Waiting />}>
          <Tabs.Panel value="activity">
            <ActivityTab job={job} story={story} version={version} earlier={earlier} runId={run?.id ?? null} chosen={search.step} choose={(step) => go({ step })} toLog={(step) => go({ tab: "logs", step })} />
            {journal.cut ? <Text size="sm" c="dimmed">This job has more steps than a page shows; `shopfloor job logs` has all.</Text> : null}
          </Tabs.Panel>
          <Tabs.Panel value="logs">
            <LogsTab
              story={story} version={version} running={!isOver(job)} step={search.step} wrap={search.wrap ?? false} hash={hash}
              go={(to) => go({ ...("step" in to ? { step: to.step } : {}), ...(to.wrap === undefined ? {} : { wrap: to.wrap || undefined }) }, to.hash ?? hash)}
            />
          </Tabs.Panel>
          <Tabs.Panel value="changes"><ChangesTab job={job} split={search.split ?? false} setSplit={(split) => go({ split: split || undefined })} /></Tabs.Panel>
          {mayReadArtifacts ? <Tabs.Panel value="artifacts"><ArtifactsTab jobId={job.id} over={isOver(job)} /></Tabs.Panel> : null}
          <Tabs.Panel value="cost"><CostTab job={job} /></Tabs.Panel>
          <Tabs.Panel value="details"><DetailsTab job={job} runs={runs} /></Tabs.Panel>
        </Suspense>
      </Tabs>
    </Page>
  );
}

function sum(changes: Record<string, unknown>[], name: string): number {
  return changes.reduce((all, each) => all + Number(each[name] ?? 0), 0);
}

function Where({ job }: { job: Job }) {
  const repo = job.repo?.["url"]?.replace(/^https?:\/\//, "");
  return (
    <span className="wrap-anywhere">
      {repo ? `${repo}${job.repo?.["ref"] ? ` @ ${job.repo["ref"]}` : ""} · ` : ""}{job.agent} · {job.model} · made <When at={job.created_at} />
      {job.parent_id ? <> · {job.mode === "replay" ? "replays" : job.fork_turn === null ? "retries" : `forked before turn ${job.fork_turn} of`} <Anchor component={Link} to={`/jobs/${job.parent_id}`} inherit td="underline">another job</Anchor></> : null}
    </span>
  );
}

function Spent({ job }: { job: Job }) {
  const limit = Number(job.limits.cost_usd) * 1e9;
  const part = limit > 0 ? Math.min(100, (job.cost_nanos / limit) * 100) : 0;
  return (
    <Group gap="xs" wrap="nowrap">
      <Text size="sm">{usd(job.cost_nanos)} of {usd(limit)}</Text>
      <Progress value={part} w={80} color={part > 90 ? "red" : undefined} aria-label={`${Math.round(part)} percent of its cost limit`} />
    </Group>
  );
}

/** Why it waits, or how it ended, in words. */
function Why({ job }: { job: Job }) {
  const error = job.error as { title?: string; detail?: string } | null;
  if (job.state === "waiting" && job.waiting_reason !== "approval") {
    return (
      <Alert color="yellow" title={`It waits for ${job.waiting_reason ?? "something"}`}>
        <Text size="sm" c="var(--mantine-color-text)" className="wrap-anywhere">{error?.detail ?? WAITS[job.waiting_reason ?? ""] ?? "It goes on by itself."}{job.not_before ? <> It is looked at again <When at={job.not_before} />.</> : null}</Text>
      </Alert>
    );
  }
  if ((job.state === "failed" || job.state === "dead") && (error || job.ending)) {
    return (
      <Alert color="red" title={error?.title ?? `It ended: ${job.ending ?? job.state}`}>
        <Text size="sm" c="var(--mantine-color-text)" className="wrap-anywhere">{error?.detail ?? ENDED[job.ending ?? ""] ?? ""}</Text>
      </Alert>
    );
  }
  return null;
}

const WAITS: Record<string, string> = {
  budget: "A budget has nothing left for it. It goes on by itself when there is room again, or when somebody raises the budget.",
  provider: "The model's provider doesn't answer. It goes on by itself when it does.",
  dependency: "Another job has to end first.",
};

const ENDED: Record<string, string> = {
  "turn-limit": "It used up its turns. Fork it from its last turn with a higher limit to go on.",
  "cost-limit": "It used up its cost limit. Fork it from its last turn with a higher limit to go on.",
  "time-limit": "It used up its time. Fork it from its last turn with a higher limit to go on.",
  stuck: "It went round in circles and was stopped. Fork it from before that, with a clearer task.",
};
