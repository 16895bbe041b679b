import { Button, Checkbox, Group, NumberInput, Stack, Title } from "@mantine/core";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, ifMatch, tagged } from "@/api/client";
import type { Api } from "@/api/types";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { saySaved } from "@/ui/toast";
import { Domains } from "./Domains";
import { IdentityProviders } from "./IdentityProviders";

const URL_OF_IT = "/api/v1/organizations/current/sign-in-policy";
const policyQuery = queryOptions({ queryKey: ["sign-in-policy"], queryFn: () => tagged(api.GET(URL_OF_IT)) });

/** What the organization asks of those who sign in, and who else vouches for them. */
export function SignInPolicyPage() {
  const { data: found, error, refetch } = useQuery(policyQuery);
  return (
    <Page title="Sign-in and SSO">
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : found ? <Policy key={found.etag} policy={found.data} etag={found.etag} /> : <Waiting />}
      <Title order={2}>Identity providers</Title>
      <IdentityProviders />
      <Title order={2}>Domains that are yours</Title>
      <Domains />
    </Page>
  );
}

function Policy({ policy, etag }: { policy: Api["SignInPolicyReply"]; etag: string }) {
  const queries = useQueryClient();
  const { mfa_required_since: _since, version: _version, ...present } = policy;
  const [filled, setFilled] = useState<Api["SignInPolicyBody"]>(present);
  const saving = useMutation({
    meta: { quiet: true },
    mutationFn: () => api.PUT(URL_OF_IT, { headers: ifMatch(etag), body: filled }),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["sign-in-policy"] });
      saySaved("The policy is changed.");
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    saving.mutate();
  };
  const ticked = (name: "mfa_required" | "password_allowed" | "link_by_verified_domain") => ({
    checked: filled[name] ?? false,
    onChange: (event: { currentTarget: { checked: boolean } }) => {
      const { checked } = event.currentTarget;
      setFilled((now) => ({ ...now, [name]: checked }));
    },
  });
  return (
    <form onSubmit={submit}>
      <Stack gap="sm" maw={560}>
        {saving.error ? <ErrorPanel error={saving.error} /> : null}
        <Checkbox label="Everybody has a second factor" {...ticked("mfa_required")} />
        {filled.mfa_required ? (
          <NumberInput label="Days that members may go on without" min={0} max={90} allowDecimal={false} value={filled.mfa_grace_days ?? 0} onChange={(value) => setFilled((now) => ({ ...now, mfa_grace_days: Number(value) }))} />
        ) : null}
        <Checkbox label="Passwords are allowed" description="Else by identity provider or passkey only." {...ticked("password_allowed")} />
        <Checkbox label="An identity provider's verified address takes over the account that has it" description="For addresses of a domain that is proved to be yours." {...ticked("link_by_verified_domain")} />
        <Group><Button type="submit" loading={saving.isPending}>Save</Button></Group>
      </Stack>
    </form>
  );
}
