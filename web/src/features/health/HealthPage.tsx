import { Table, Text } from "@mantine/core";
import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { ago, moment } from "@/lib/format";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";

export const healthQuery = queryOptions({
  queryKey: ["health"],
  queryFn: () => data(api.GET("/healthz")),
  refetchInterval: 10_000,
});

const LOOKS = { ok: "good", degraded: "warning", down: "bad" } as const;

/** How each component of this server does, asked anew every ten seconds. */
export function HealthPage() {
  const { data: report, error, refetch, dataUpdatedAt } = useQuery(healthQuery);
  return (
    <Page title="Health" about={report ? `Version ${report.version}, as of ${moment(new Date(dataUpdatedAt))}` : undefined}>
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : null}
      {report ? (
        <div className="scroll-x">
          <Table aria-label="Components">
            <Table.Thead>
              <Table.Tr><Table.Th>Component</Table.Th><Table.Th>Status</Table.Th><Table.Th>Since</Table.Th><Table.Th>Detail</Table.Th></Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {Object.entries(report.components).map(([name, each]) => (
                <Table.Tr key={name}>
                  <Table.Td>{name}{each.needed ? null : <Text span size="xs" c="dimmed"> (optional)</Text>}</Table.Td>
                  <Table.Td><Status is={LOOKS[each.status]}>{each.status}</Status></Table.Td>
                  <Table.Td title={moment(each.since)}>{ago(each.since)}</Table.Td>
                  <Table.Td className="wrap-anywhere">{each.detail}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      ) : error ? null : <Waiting />}
    </Page>
  );
}
