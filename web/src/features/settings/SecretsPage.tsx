import { Group, NativeSelect, PasswordInput, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { When } from "@/ui/When";

type Secret = Api["SecretReply"];
const SECRETS = [["secrets"]];
const SHOW = { "aria-label": "Show what I type" };

/** Values handed in once. They are never shown again, to nobody. */
export function SecretsPage() {
  const may = useMay("secret.edit");
  return (
    <Page title="Secrets" about="Values are handed in once and never shown again." actions={may ? <NewSecret /> : undefined}>
      <List queryKey={["secrets"]} page={(cursor) => data(api.GET("/api/v1/secrets", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No secret yet. For a private repository, add one of the kind git." cli="shopfloor secret set github --kind git --host github.com" />}>
        {(items: Secret[]) => (
          <DataTable
            label="Secrets" rows={items} id={(each) => each.id}
            columns={[
              { name: "Name", cell: (each) => each.name },
              { name: "For", cell: (each) => (each.kind === "git" ? `git at ${each.host ?? "any host"}` : "by name") },
              { name: "Changed", cell: (each) => <When at={each.updated_at} /> },
              { name: "Last used", cell: (each) => <When at={each.last_used_at} /> },
              ...(may ? [{ name: "Actions", cell: (each: Secret) => <Actions of={each} /> }] : []),
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function Actions({ of: secret }: { of: Secret }) {
  const [value, setValue] = useState("");
  const params = { path: { secret_id: secret.id } };
  return (
    <Group gap="xs" wrap="nowrap">
      <Dialog small button="New value" about={secret.name} title={`A new value for ${secret.name}`} send="Keep it" renews={SECRETS} says="What asks next gets the new value." onOpen={() => setValue("")} submit={() => api.PATCH("/api/v1/secrets/{secret_id}", { params, headers: ifVersion(secret.version), body: { value } })}>
        {(error) => <PasswordInput label="Value" required autoComplete="off" value={value} onChange={(event) => setValue(event.currentTarget.value)} error={fieldErrors(error)["value"]} visibilityToggleButtonProps={SHOW} />}
      </Dialog>
      <Dialog small button="Remove" about={secret.name} title={`Remove ${secret.name}?`} send="Remove" danger renews={SECRETS} says="The secret is removed." submit={() => api.DELETE("/api/v1/secrets/{secret_id}", { params, headers: ifVersion(secret.version) })}>
        {() => <Text size="sm">Jobs that need it fail from now on.</Text>}
      </Dialog>
    </Group>
  );
}

function NewSecret() {
  const [filled, setFilled] = useState({ name: "", host: "", username: "", value: "" });
  const [kind, setKind] = useState<"generic" | "git">("git");
  const set = (name: keyof typeof filled) => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget;
    setFilled((now) => ({ ...now, [name]: value }));
  };
  return (
    <Dialog
      button="New secret" title="New secret" send="Keep it" renews={SECRETS} says="The secret is kept." onOpen={() => setFilled({ name: "", host: "", username: "", value: "" })}
      submit={() => {
        const git = kind === "git" ? { host: filled.host || null, username: filled.username || null } : {};
        return api.POST("/api/v1/secrets", { body: { name: filled.name, kind, value: filled.value, ...git } });
      }}
    >
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            <TextInput label="Name" required value={filled.name} onChange={set("name")} error={wrong["name"]} />
            <NativeSelect label="Kind" value={kind} data={[{ value: "git", label: "for a Git server" }, { value: "generic", label: "by name" }]} onChange={(event) => setKind(event.currentTarget.value as "git" | "generic")} />
            {kind === "git" ? (
              <>
                <TextInput label="Host" placeholder="github.com" required value={filled.host} onChange={set("host")} error={wrong["host"]} />
                <TextInput label="User name" description="Where the server asks for one beside a token." value={filled.username} onChange={set("username")} error={wrong["username"]} />
              </>
            ) : null}
            <PasswordInput label="Value" required autoComplete="off" value={filled.value} onChange={set("value")} error={wrong["value"]} visibilityToggleButtonProps={SHOW} />
          </>
        );
      }}
    </Dialog>
  );
}
