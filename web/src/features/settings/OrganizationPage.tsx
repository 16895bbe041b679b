import { Button, Group, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { saySaved } from "@/ui/toast";

export const organizationQuery = queryOptions({ queryKey: ["organization"], queryFn: () => data(api.GET("/api/v1/organizations/current")) });

export function OrganizationPage() {
  const { data: organization, error, refetch } = useQuery(organizationQuery);
  return (
    <Page title="Organization">
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : organization ? <Form key={organization.version} of={organization} /> : <Waiting />}
    </Page>
  );
}

function Form({ of: organization }: { of: Api["OrganizationReply"] }) {
  const may = useMay("organization.edit");
  const queries = useQueryClient();
  const [name, setName] = useState(organization.name);
  const [running, setRunning] = useState(organization.max_running_jobs);
  const saving = useMutation({
    meta: { quiet: true },
    mutationFn: () => api.PATCH("/api/v1/organizations/current", { headers: ifVersion(organization.version), body: { name, max_running_jobs: running } }),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["organization"] });
      saySaved("The organization is changed.");
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    saving.mutate();
  };
  const wrong = fieldErrors(saving.error);
  return (
    <form onSubmit={submit}>
      <Stack gap="sm" maw={480}>
        {saving.error ? <ErrorPanel error={saving.error} /> : null}
        <TextInput label="Name" required readOnly={!may} value={name} onChange={(event) => setName(event.currentTarget.value)} error={wrong["name"]} />
        <NumberInput label="Jobs that may run at once" required readOnly={!may} min={1} allowDecimal={false} value={running} onChange={(value) => setRunning(Number(value))} error={wrong["max_running_jobs"]} />
        <Text size="sm" c="dimmed">Short name: {organization.slug}</Text>
        {may ? <Group><Button type="submit" loading={saving.isPending}>Save</Button></Group> : null}
      </Stack>
    </form>
  );
}
