import { Code, List as Steps, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { When } from "@/ui/When";

/** How to check the log, off this server: a page that it serves itself could prove nothing about it. */
export function Verify() {
  const key = useQuery({ queryKey: ["audit", "key"], staleTime: Infinity, queryFn: () => data(api.GET("/api/v1/audit/public-key")) }).data;
  const last = useQuery({ queryKey: ["audit", "checkpoints"], queryFn: () => data(api.GET("/api/v1/audit/checkpoints", { params: { query: { limit: 1 } } })) }).data?.items[0];
  return (
    <Stack gap="xs">
      <Text size="sm">{last ? <>The newest signed checkpoint holds {last.size} entries, made <When at={last.created_at} />.</> : "No checkpoint is signed yet."}</Text>
      {key ? <Text size="sm">Public key ({key.algorithm}): <Code className="wrap-anywhere">{key.key}</Code></Text> : null}
      <Text size="sm">Check it on another machine, against checkpoints that were kept elsewhere:</Text>
      <Steps size="sm" type="ordered">
        <Steps.Item><Code>shopfloor audit key &gt; audit.key</Code></Steps.Item>
        <Steps.Item><Code>shopfloor audit export audit.jsonl</Code></Steps.Item>
        <Steps.Item><Code className="wrap-anywhere">shopfloor audit verify audit.jsonl --key audit.key --against checkpoints.jsonl</Code></Steps.Item>
      </Steps>
    </Stack>
  );
}
