import { Anchor, Table, Text } from "@mantine/core";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { bytes } from "@/lib/format";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { When } from "@/ui/When";

/** What the job left behind, to download: never shown inside the page. */
export function ArtifactsTab({ jobId, over }: { jobId: string; over: boolean }) {
  return (
    <List
      queryKey={["jobs", "artifacts", jobId, over]}
      page={(cursor) => data(api.GET("/api/v1/jobs/{job_id}/artifacts", { params: { path: { job_id: jobId }, query: cursor ? { cursor } : {} } }))}
      empty={<Empty says={over ? "It left nothing behind." : "It has left nothing behind yet."} />}
    >
      {(items: Api["ArtifactReply"][]) => (
        <Table aria-label="Artifacts">
          <Table.Thead><Table.Tr><Table.Th>Name</Table.Th><Table.Th>Kind</Table.Th><Table.Th>Size</Table.Th><Table.Th>Made</Table.Th><Table.Th>SHA-256</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {items.map((each) => (
              <Table.Tr key={each.id}>
                <Table.Td className="wrap-anywhere"><Anchor href={`/api/v1/artifacts/${each.id}/content`} download>{each.name}</Anchor></Table.Td>
                <Table.Td>{each.media_type}</Table.Td>
                <Table.Td>{bytes(each.size_bytes)}</Table.Td>
                <Table.Td><When at={each.created_at} /></Table.Td>
                <Table.Td><Text size="xs" ff="monospace" title={each.digest}>{each.digest.slice(0, 12)}</Text></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </List>
  );
}
