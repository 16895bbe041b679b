import { Code, Stack, Table, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import type { Api } from "@/api/types";
import { duration } from "@/lib/format";
import { Scroll } from "@/ui/Scroll";
import { When } from "@/ui/When";
import type { Job } from "./queries";

/** Everything that was asked, and how each run went. */
export function DetailsTab({ job, runs }: { job: Job; runs: Api["RunReply"][] }) {
  const facts: [string, ReactNode][] = [
    ["Job", <Code key="id" className="wrap-anywhere">{job.id}</Code>],
    ["Agent", job.agent],
    ["Model", job.model],
    ["Repository", job.repo ? `${job.repo["url"]}${job.repo["ref"] ? ` @ ${job.repo["ref"]}` : ""}` : "none: it began with an empty workspace"],
    ["Began at commit", job.base_commit ?? "-"],
    ["Result", job.result_commit ?? "-"],
    ["Pushed", pushed(job)],
    ["Limits", `$${job.limits.cost_usd}, ${job.limits.turns} turns, ${duration(job.limits.timeout_s)}`],
    ["Checks", job.checks === null ? "detected when it runs" : job.checks.length === 0 ? "none" : <List key="checks" items={job.checks} />],
    ["Network", job.network.length === 0 ? "none" : job.network.join(", ")],
    ["Labels", Object.entries(job.labels).map(([name, value]) => `${name}=${value}`).join(", ") || "none"],
    ["Approvals", Object.keys(job.approvals).length === 0 ? "nothing has to be asked" : <Code key="approvals" block>{JSON.stringify(job.approvals, null, 2)}</Code>],
    ["Priority", String(job.priority)],
    ["Submitted", <When key="made" at={job.created_at} />],
    ["Started", <When key="started" at={job.started_at} never="not yet" />],
    ["Ended", <When key="ended" at={job.finished_at} never="not yet" />],
  ];
  return (
    <Stack gap="md">
      <Title order={2}>Task</Title>
      <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap" }} tabIndex={0}>{job.task}</Code>
      {job.output ? (
        <>
          <Title order={2}>The agent's own report</Title>
          <Text size="sm" c="dimmed">It is a claim, not evidence: what the platform checked itself stands under Changes.</Text>
          <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap" }} tabIndex={0}>{JSON.stringify(job.output, null, 2)}</Code>
        </>
      ) : null}
      <Title order={2}>Facts</Title>
      <Table aria-label="Facts">
        <Table.Tbody>
          {facts.map(([name, value]) => (
            <Table.Tr key={name}><Table.Th scope="row" fw="normal" w={160}>{name}</Table.Th><Table.Td className="wrap-anywhere">{value}</Table.Td></Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Title order={2}>Runs</Title>
      {runs.length === 0 ? <Text size="sm">No worker has taken it yet.</Text> : (
        <Scroll label="Runs, scrolls sideways">
          <Table aria-label="Runs">
            <Table.Thead><Table.Tr><Table.Th>Run</Table.Th><Table.Th>Worker</Table.Th><Table.Th>Began</Table.Th><Table.Th>Ended</Table.Th><Table.Th>How</Table.Th><Table.Th>Sandbox</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {runs.map((run) => (
                <Table.Tr key={run.id}>
                  <Table.Td>{run.fence}</Table.Td><Table.Td className="wrap-anywhere">{run.worker}</Table.Td><Table.Td><When at={run.claimed_at} /></Table.Td>
                  <Table.Td><When at={run.ended_at} never="-" /></Table.Td><Table.Td className="wrap-anywhere">{run.ending ?? run.state}{run.error ? `: ${String(run.error["detail"] ?? "")}` : ""}</Table.Td>
                  <Table.Td>{run.isolation ? `${String(run.isolation["runtime"])}, network ${String(run.isolation["network"])}` : "-"}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Scroll>
      )}
    </Stack>
  );
}

function pushed(job: Job): string {
  if (!job.push_branch) return "not asked for";
  if (!job.pushed) return `to be pushed to ${job.push_branch}`;
  const error = job.pushed["error"] as { detail?: string } | undefined;
  return error ? `not pushed to ${job.push_branch}: ${error.detail ?? ""}` : `${String(job.pushed["branch"])} at ${String(job.pushed["commit"])}`;
}

function List({ items }: { items: string[] }) {
  return <ul style={{ margin: 0, paddingLeft: "1.2rem" }}>{items.map((each) => <li key={each}><Code>{each}</Code></li>)}</ul>;
}
