import { Anchor, Checkbox, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Status } from "@/ui/Status";

const PROVIDERS = [["identity-providers"]];

/** Who else vouches for people, by OpenID Connect. */
export function IdentityProviders() {
  return (
    <Stack>
      <Group><NewProvider /></Group>
      <List queryKey={["identity-providers"]} page={(cursor) => data(api.GET("/api/v1/identity-providers", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="None: people sign in with a password or a passkey." cli="shopfloor identity-provider add okta --issuer https://... --client-id ..." />}>
        {(items: Api["IdentityProviderReply"][]) => (
          <DataTable
            label="Identity providers" rows={items} id={(each) => each.id}
            columns={[
              { name: "Name", cell: (each) => <>{each.name}<Text size="xs" c="dimmed" className="wrap-anywhere">{each.issuer}</Text></> },
              { name: "Status", cell: (each) => <Status is={each.enabled ? "good" : "warning"}>{each.enabled ? "on" : "off"}</Status> },
              { name: "Its sign-in", cell: (each) => <Anchor href={each.start_url} size="sm">link to pass on</Anchor> },
              { name: "Actions", cell: (each) => <Actions of={each} /> },
            ]}
          />
        )}
      </List>
    </Stack>
  );
}

function Actions({ of: provider }: { of: Api["IdentityProviderReply"] }) {
  const params = { path: { provider_id: provider.id } };
  return (
    <Group gap="xs" wrap="nowrap">
      <Dialog
        small button="Test" about={provider.name} title={`Test ${provider.name}`} send="Test it" renews={[]}
        submit={() => data(api.POST("/api/v1/identity-providers/{provider_id}/test", { params }))}
        shows={(found) => <Text size="sm" className="wrap-anywhere">It answers as {found.issuer}, with {found.keys} keys. Register this address there: {found.redirect_uri}</Text>}
      >
        {() => <Text size="sm">Its description and keys are fetched now. Nobody is signed in.</Text>}
      </Dialog>
      <Dialog small button={provider.enabled ? "Switch off" : "Switch on"} about={provider.name} title={`Switch ${provider.name} ${provider.enabled ? "off" : "on"}?`} send="Yes" renews={PROVIDERS} says="Done." submit={() => api.PATCH("/api/v1/identity-providers/{provider_id}", { params, headers: ifVersion(provider.version), body: { enabled: !provider.enabled } })}>
        {() => <Text size="sm">{provider.enabled ? "Nobody signs in through it then. Sessions stay." : "People can sign in through it again."}</Text>}
      </Dialog>
      <Dialog small button="Remove" about={provider.name} title={`Remove ${provider.name}?`} send="Remove" danger renews={PROVIDERS} says="It is removed." submit={() => api.DELETE("/api/v1/identity-providers/{provider_id}", { params, headers: ifVersion(provider.version) })}>
        {() => <Text size="sm">Who signs in by it alone can't come in any more.</Text>}
      </Dialog>
    </Group>
  );
}

function NewProvider() {
  const empty = { name: "", issuer: "", client_id: "", client_secret: "" };
  const [filled, setFilled] = useState(empty);
  const [makes, setMakes] = useState(false);
  const set = (name: keyof typeof empty) => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget;
    setFilled((now) => ({ ...now, [name]: value }));
  };
  return (
    <Dialog
      button="Add a provider" title="Add an identity provider" send="Add it" renews={PROVIDERS} says="The provider is added." onOpen={() => setFilled(empty)}
      submit={() => api.POST("/api/v1/identity-providers", { body: { ...filled, client_secret: filled.client_secret || null, makes_accounts: makes } })}
    >
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            <TextInput label="Name" required value={filled.name} onChange={set("name")} error={wrong["name"]} />
            <TextInput label="Issuer" placeholder="https://login.example.com" required value={filled.issuer} onChange={set("issuer")} error={wrong["issuer"]} />
            <TextInput label="Client id" required value={filled.client_id} onChange={set("client_id")} error={wrong["client_id"]} />
            <PasswordInput label="Client secret" autoComplete="off" value={filled.client_secret} onChange={set("client_secret")} error={wrong["client_secret"]} visibilityToggleButtonProps={{ "aria-label": "Show what I type" }} />
            <Checkbox label="Makes accounts at the first sign-in" description="For verified addresses of a domain of yours." checked={makes} onChange={(event) => setMakes(event.currentTarget.checked)} />
          </>
        );
      }}
    </Dialog>
  );
}
