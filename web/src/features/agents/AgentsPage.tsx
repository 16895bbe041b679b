import { Anchor, Text } from "@mantine/core";
import { queryOptions, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { DataTable } from "@/ui/DataTable";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";

export const agentsQuery = queryOptions({ queryKey: ["agents"], queryFn: () => data(api.GET("/api/v1/agents")), staleTime: 300_000 });

/** Who can be given a task. */
export function AgentsPage() {
  const { data: found, error, refetch } = useQuery(agentsQuery);
  return (
    <Page title="Agents" about="Who can be given a task. Your own: a file in the agents folder of this server.">
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : found ? (
        <div className="scroll-x">
          <DataTable
            label="Agents" rows={found.items} id={(each) => each.name}
            columns={[
              { name: "Agent", cell: (each) => <Anchor component={Link} to="/agents/$name" params={{ name: each.name } as never}>{each.name}</Anchor> },
              { name: "What it does", cell: (each) => <Text size="sm">{each.description}</Text> },
              { name: "Model", cell: (each) => each.model ?? `the project's (${each.model_profile})` },
              { name: "Changes files", cell: (each) => (each.read_only ? "no" : "yes") },
            ]}
          />
        </div>
      ) : <Waiting />}
    </Page>
  );
}
