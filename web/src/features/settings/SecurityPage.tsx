import { Button, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { makePasskey, passkeysWork } from "@/features/auth/passkey";
import { RecoveryCodes, TotpEnrol } from "@/features/auth/TotpEnrol";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { saySaved } from "@/ui/toast";
import { When } from "@/ui/When";
import { profileQuery } from "./ProfilePage";

const factorsQuery = queryOptions({ queryKey: ["factors"], queryFn: () => data(api.GET("/api/v1/me/factors")) });
const FACTORS = [["factors"]];

/** How you prove who you are. What is changed here wants a sign-in within the last ten minutes; the server says so. */
export function SecurityPage() {
  const { data: factors, error, refetch } = useQuery(factorsQuery);
  const hasPassword = useQuery(profileQuery).data?.has_password ?? true;
  const queries = useQueryClient();
  const [enrolling, setEnrolling] = useState(false);
  return (
    <Page title="Password and factors" about="Changes here want a sign-in within the last ten minutes.">
      <Stack gap="xs">
        <Title order={2}>Password</Title>
        <Group><PasswordDialog hasPassword={hasPassword} /></Group>
      </Stack>
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : null}
      {!factors ? error ? null : <Waiting /> : (
        <>
          <Stack gap="xs" align="flex-start">
            <Title order={2}>Authenticator app</Title>
            {factors.totp_since ? (
              <Group>
                <Status is="good">set up</Status>
                <Text size="sm"><When at={factors.totp_since} /></Text>
                <Dialog small button="Remove" about="authenticator app" title="Remove the authenticator app?" send="Remove" danger renews={FACTORS} says="The app is removed." submit={() => api.DELETE("/api/v1/me/factors/totp")}>
                  {() => <Text size="sm">Its codes don't sign you in any more. Recovery codes go with the last factor.</Text>}
                </Dialog>
              </Group>
            ) : enrolling ? (
              <TotpEnrol done={() => { setEnrolling(false); void queries.invalidateQueries({ queryKey: ["factors"] }); }} />
            ) : <Button variant="default" onClick={() => setEnrolling(true)}>Set up</Button>}
          </Stack>
          <Stack gap="xs" align="flex-start">
            <Title order={2}>Passkeys</Title>
            {factors.passkeys.length > 0 ? (
              <DataTable
                label="Passkeys" rows={factors.passkeys} id={(each) => each.id}
                columns={[
                  { name: "Name", cell: (each) => each.name },
                  { name: "Added", cell: (each) => <When at={each.created_at} /> },
                  { name: "Last used", cell: (each) => <When at={each.last_used_at} /> },
                  {
                    name: "Actions",
                    cell: (each) => (
                      <Dialog small button="Remove" about={each.name} title={`Remove the passkey ${each.name}?`} send="Remove" danger renews={FACTORS} says="The passkey is removed." submit={() => api.DELETE("/api/v1/me/factors/passkeys/{passkey_id}", { params: { path: { passkey_id: each.id } } })}>
                        {() => <Text size="sm">It doesn't sign you in any more. Remove it on the device, too.</Text>}
                      </Dialog>
                    ),
                  },
                ]}
              />
            ) : <Text size="sm">None. A passkey signs in alone: it is two factors in one.</Text>}
            {passkeysWork ? <NewPasskey /> : <Text size="sm" c="dimmed">This browser offers none here: passkeys take HTTPS or localhost.</Text>}
          </Stack>
          {factors.enrolled.length > 0 ? <Codes left={factors.recovery_codes_left} /> : null}
        </>
      )}
    </Page>
  );
}

function PasswordDialog({ hasPassword }: { hasPassword: boolean }) {
  const [present, setPresent] = useState("");
  const [next, setNext] = useState("");
  const show = { "aria-label": "Show the password" };
  return (
    <Dialog
      button={hasPassword ? "Change the password" : "Set a password"} title="Change the password" send="Change it" renews={[["profile"], ["sessions"]]} says="The password is changed. Your other sessions are over."
      onOpen={() => { setPresent(""); setNext(""); }}
      submit={() => api.POST("/api/v1/auth/password", { body: { present: hasPassword ? present : null, new: next } })}
    >
      {(error) => (
        <>
          {hasPassword ? <PasswordInput label="Present password" required autoComplete="current-password" value={present} onChange={(event) => setPresent(event.currentTarget.value)} visibilityToggleButtonProps={show} /> : null}
          <PasswordInput label="New password" description="8 to 128 characters, any of them." required minLength={8} autoComplete="new-password" value={next} onChange={(event) => setNext(event.currentTarget.value)} error={fieldErrors(error)["new"]} visibilityToggleButtonProps={show} />
        </>
      )}
    </Dialog>
  );
}

function NewPasskey() {
  const [name, setName] = useState("");
  return (
    <Dialog
      button="Add a passkey" title="Add a passkey" send="Make it on this device" renews={FACTORS} onOpen={() => setName("")}
      submit={async () => {
        const credential = await makePasskey((await data(api.POST("/api/v1/me/factors/passkeys/options"))) as Record<string, unknown>);
        return credential === null ? null : data(api.POST("/api/v1/me/factors/passkeys", { body: { name, credential } as never }));
      }}
      shows={(made, close) => (made === null ? <RecoveryCodes codes={[]} done={close} /> : <RecoveryCodes codes={made.recovery_codes} done={close} />)}
    >
      {() => <TextInput label="Which device" description="For you, to tell it from others." required value={name} onChange={(event) => setName(event.currentTarget.value)} />}
    </Dialog>
  );
}

function Codes({ left }: { left: number }) {
  const queries = useQueryClient();
  const making = useMutation({
    mutationFn: () => data(api.POST("/api/v1/me/factors/recovery-codes")),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["factors"] }),
  });
  return (
    <Stack gap="xs" align="flex-start">
      <Title order={2}>Recovery codes</Title>
      {making.data ? <RecoveryCodes codes={making.data.recovery_codes} done={() => { making.reset(); saySaved("The codes before are void."); }} /> : (
        <Group>
          <Text size="sm">{left} left.</Text>
          <Button size="compact-sm" variant="default" loading={making.isPending} onClick={() => making.mutate()}>Make new ones</Button>
        </Group>
      )}
    </Stack>
  );
}
