import { Alert, Group, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { isOver, type Job, usageQuery } from "@/features/jobs/queries";
import { tokensOf } from "@/features/timeline/story";
import { count, moment, usd } from "@/lib/format";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Scroll } from "@/ui/Scroll";
import { byModel } from "./sums";

/** What the job cost, by model and call by call. */
export function CostTab({ job }: { job: Job }) {
  const { data: used, error, refetch } = useQuery({ ...usageQuery(job.id), refetchInterval: isOver(job) ? false : 5_000 });
  if (error) return <ErrorPanel error={error} retry={() => void refetch()} />;
  if (!used) return <Waiting />;
  return (
    <Stack gap="md">
      <Group gap="xl">
        <Figure name="Cost" value={`${usd(used.cost_nanos)} of ${usd(Number(job.limits.cost_usd) * 1e9)}`} />
        <Figure name="Held for calls under way" value={usd(used.held_nanos)} />
        <Figure name="Tokens" value={count(tokensOf(used.usage))} />
        <Figure name="Calls" value={String(used.calls.length)} />
      </Group>
      {used.unknown_nanos > 0 ? (
        <Alert color="yellow" title="A part of this is an upper bound">
          <Text size="sm" c="var(--mantine-color-text)">The fate of a call is unknown, so {usd(used.unknown_nanos)} are booked: the most it can have cost.</Text>
        </Alert>
      ) : null}
      {used.calls.length === 0 ? <Text c="dimmed">No model was called{job.mode === "replay" ? ": a replay costs nothing" : " yet"}.</Text> : (
        <>
          <Title order={2}>By model</Title>
          <Scroll label="By model, scrolls sideways">
            <Table aria-label="By model">
              <Table.Thead><Table.Tr><Table.Th>Model</Table.Th><Table.Th>Calls</Table.Th><Table.Th>Input</Table.Th><Table.Th>From cache</Table.Th><Table.Th>Output</Table.Th><Table.Th>Cost</Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {byModel(used.calls).map((sum) => (
                  <Table.Tr key={sum.model}>
                    <Table.Td className="wrap-anywhere">{sum.model}</Table.Td><Table.Td>{sum.calls}</Table.Td><Table.Td>{count(sum.input)}</Table.Td>
                    <Table.Td>{count(sum.cached)}</Table.Td><Table.Td>{count(sum.output)}</Table.Td><Table.Td>{usd(sum.costNanos)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Scroll>
          <Title order={2}>Call by call</Title>
          <Scroll label="Call by call, scrolls sideways">
            <Table aria-label="Call by call">
              <Table.Thead><Table.Tr><Table.Th>Turn</Table.Th><Table.Th>Model</Table.Th><Table.Th>Tokens</Table.Th><Table.Th>Cost</Table.Th><Table.Th>State</Table.Th><Table.Th>At</Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {used.calls.map((call) => (
                  <Table.Tr key={`${call.scope} ${call.turn} ${call.attempt} ${call.held_at}`}>
                    <Table.Td>{call.turn}{call.attempt > 1 ? `, attempt ${call.attempt}` : ""}{call.scope ? " (delegated)" : ""}</Table.Td>
                    <Table.Td className="wrap-anywhere">{call.model}</Table.Td><Table.Td>{count(tokensOf(call.usage))}</Table.Td><Table.Td>{usd(call.cost_nanos)}</Table.Td>
                    <Table.Td className="wrap-anywhere">{call.state}{call.reason ? `: ${call.reason}` : ""}</Table.Td><Table.Td>{moment(call.held_at)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Scroll>
        </>
      )}
    </Stack>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return <div><Text size="xs" c="dimmed">{name}</Text><Text fw={600}>{value}</Text></div>;
}
