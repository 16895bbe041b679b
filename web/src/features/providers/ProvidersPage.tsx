import { Group, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { api, data, ifVersion } from "@/api/client";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { LimitsDialog, ProviderHealth } from "@/features/health-providers/ProviderHealth";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { List, Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { modelsQuery, PROVIDERS } from "./queries";
import { PriceDialog } from "./PriceDialog";
import { ProviderDialog } from "./ProviderDialog";
import { TestButton } from "./TestButton";

/** Who answers for models, with their keys; and the models that a job can name. */
export function ProvidersPage() {
  const may = useMay("provider.edit");
  return (
    <Page title="Providers and models" actions={may ? <ProviderDialog /> : undefined}>
      <List queryKey={["providers"]} page={(cursor) => data(api.GET("/api/v1/providers", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No provider yet: a job needs one to think with." action={may ? <ProviderDialog /> : undefined} cli="shopfloor provider add anthropic --key-from ANTHROPIC_API_KEY" />}>
        {(items: Api["ProviderReply"][]) => (
          <DataTable
            label="Providers" rows={items} id={(each) => each.id}
            columns={[
              { name: "Name", cell: (each) => <>{each.name}<Text size="xs" c="dimmed">{each.kind}{each.base_url ? `, ${each.base_url}` : ""}</Text></> },
              { name: "Key", cell: (each) => <Status is={each.key_set ? "good" : "warning"}>{each.key_set ? "kept" : "none"}</Status> },
              { name: "Called", cell: (each) => <ProviderHealth provider={each} /> },
              { name: "From", cell: (each) => (each.origin === "environment" ? "the server's environment" : "here") },
              { name: "Actions", cell: (each) => (may ? <Actions of={each} /> : null) },
            ]}
          />
        )}
      </List>
      <Title order={2}>Models</Title>
      <Models />
    </Page>
  );
}

function Actions({ of: provider }: { of: Api["ProviderReply"] }) {
  const params = { path: { provider_id: provider.id } };
  return (
    <Group gap="xs" wrap="nowrap">
      <TestButton provider={provider} />
      <ProviderDialog provider={provider} />
      <LimitsDialog provider={provider} />
      <Dialog small button="Remove" about={provider.name} title={`Remove ${provider.name}?`} send="Remove" danger renews={PROVIDERS} says="The provider is removed." submit={() => api.DELETE("/api/v1/providers/{provider_id}", { params, headers: ifVersion(provider.version) })}>
        {() => <Text size="sm">Its key is forgotten, and jobs that need it wait.</Text>}
      </Dialog>
    </Group>
  );
}

function Models() {
  const { data: found, error, refetch } = useQuery(modelsQuery);
  if (error) return <ErrorPanel error={error} retry={() => void refetch()} />;
  if (!found) return <Waiting />;
  return (
    <Stack>
      {found.unavailable.map((each) => <Text key={each.provider} size="sm" role="status"><Status is="bad">away</Status> {each.provider}: {each.detail}</Text>)}
      {found.items.length === 0 ? <Text size="sm">None: add a provider first.</Text> : (
        <div className="scroll-x">
          <DataTable
            label="Models" rows={found.items} id={(each) => each.ref}
            columns={[
              { name: "Model", cell: (each) => each.ref },
              { name: "Context", cell: (each) => (each.context_tokens ? `${each.context_tokens.toLocaleString()} tokens` : "unknown") },
              { name: "Price", cell: (each) => (each.priced ? <Status is="good">known</Status> : <Unpriced model={each} />) },
            ]}
          />
        </div>
      )}
      {found.next_cursor ? <Text size="sm" c="dimmed">More: shopfloor model list</Text> : null}
    </Stack>
  );
}

function Unpriced({ model }: { model: Api["ModelReply"] }) {
  const may = useMay("price.edit");
  return (
    <Group gap="xs" wrap="nowrap">
      <Status is="warning">unknown: refused</Status>
      {may ? <PriceDialog model={model} /> : null}
    </Group>
  );
}
