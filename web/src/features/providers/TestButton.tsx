import { Button, Group, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { Status } from "@/ui/Status";

/** Tries a provider's key and address now, and says how it went. */
export function TestButton({ provider, model }: { provider: Api["ProviderReply"]; model?: string }) {
  const testing = useMutation({
    mutationFn: () => data(api.POST("/api/v1/providers/{provider_id}/test", { params: { path: { provider_id: provider.id } }, body: model ? { model } : {} })),
  });
  return (
    <Group gap="xs" wrap="nowrap">
      <Button size="compact-sm" variant="default" aria-label={`Test: ${provider.name}`} loading={testing.isPending} onClick={() => testing.mutate()}>Test</Button>
      <span role="status">
        {testing.data?.ok ? <Status is="good">{`answers in ${testing.data.latency_s.toFixed(2)} s`}</Status> : null}
        {testing.data && !testing.data.ok ? <Text size="sm" c="var(--mantine-color-error)" className="wrap-anywhere">{testing.data.error?.detail}</Text> : null}
      </span>
    </Group>
  );
}
