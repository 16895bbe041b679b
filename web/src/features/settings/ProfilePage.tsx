import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { saySaved } from "@/ui/toast";
import { When } from "@/ui/When";

export const profileQuery = queryOptions({ queryKey: ["profile"], queryFn: () => data(api.GET("/api/v1/me/profile")) });

export function ProfilePage() {
  const { data: profile, error, refetch } = useQuery(profileQuery);
  return (
    <Page title="Profile">
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : profile ? <ProfileForm profile={profile} /> : <Waiting />}
    </Page>
  );
}

function ProfileForm({ profile }: { profile: Api["Profile"] }) {
  const queries = useQueryClient();
  const [name, setName] = useState(profile.name);
  const saving = useMutation({
    meta: { quiet: true },
    mutationFn: () => api.PATCH("/api/v1/me", { body: { name } }),
    onSuccess: async () => {
      await Promise.all([queries.invalidateQueries({ queryKey: ["profile"] }), queries.invalidateQueries({ queryKey: ["me"] })]);
      saySaved("Your name is changed.");
    },
  });
  const verifying = useMutation({
    mutationFn: () => data(api.POST("/api/v1/auth/email/verification")),
    onSuccess: ({ mailed }) =>
      saySaved(mailed ? "A link is on its way to you." : "This server sends no mail: whoever runs it sets SHOPFLOOR_MAIL__HOST."),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    saving.mutate();
  };
  return (
    <Stack maw={480}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          {saving.error ? <ErrorPanel error={saving.error} /> : null}
          <TextInput label="Your name" autoComplete="name" required value={name} onChange={(event) => setName(event.currentTarget.value)} error={fieldErrors(saving.error)["name"]} />
          <Group><Button type="submit" loading={saving.isPending} disabled={name === profile.name}>Save</Button></Group>
        </Stack>
      </form>
      <Text size="sm" className="wrap-anywhere">{profile.email}</Text>
      <Group gap="sm">
        {profile.email_verified_at ? <Status is="good">confirmed</Status> : (
          <>
            <Status is="warning">not confirmed</Status>
            <Button size="compact-sm" variant="default" loading={verifying.isPending} onClick={() => verifying.mutate()}>Send me a link</Button>
          </>
        )}
      </Group>
      <Text size="sm" c="dimmed">Role: {profile.role}. Here since <When at={profile.created_at} />.</Text>
    </Stack>
  );
}
