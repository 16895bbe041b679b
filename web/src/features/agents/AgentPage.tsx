import { Code, List, Stack, Table, Text, Title } from "@mantine/core";
import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";

const agentQuery = (name: string) =>
  queryOptions({ queryKey: ["agents", name], queryFn: () => data(api.GET("/api/v1/agents/{name}", { params: { path: { name } } })), staleTime: 300_000 });

/** One agent: what it is told, what it may use, where it stops. */
export function AgentPage({ name }: { name: string }) {
  const { data: agent, error, refetch } = useQuery(agentQuery(name));
  return (
    <Page title={name} about={agent?.description}>
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : agent ? (
        <Stack gap="md">
          <Text size="sm">Version {agent.version}. {agent.read_only ? "Changes no files." : "Changes files in its own sandbox."} Model: {agent.model ?? `the job's or the project's; made for ${agent.model_profile} ones`}.</Text>
          <Title order={2}>Tools</Title>
          <List size="sm">{agent.tools.map((each) => <List.Item key={each}>{each}</List.Item>)}</List>
          {agent.delegates.length > 0 ? <Text size="sm">May hand work to: {agent.delegates.join(", ")}.</Text> : null}
          <Title order={2}>Limits</Title>
          <Table aria-label="Limits" maw={480}>
            <Table.Tbody>
              {Object.entries(agent.limits).map(([limit, value]) => (
                <Table.Tr key={limit}><Table.Th scope="row" fw="normal">{limit}</Table.Th><Table.Td>{String(value)}</Table.Td></Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          <Title order={2}>What it is told</Title>
          <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap" }} tabIndex={0}>{agent.instructions}</Code>
        </Stack>
      ) : <Waiting />}
    </Page>
  );
}
