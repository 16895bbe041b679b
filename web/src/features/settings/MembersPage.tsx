import { Group, NativeSelect, Stack, Text, TextInput, Title } from "@mantine/core";
import { queryOptions, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { meQuery, useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Once } from "@/ui/Once";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

type Member = Api["MemberReply"];

export const rolesQuery = queryOptions({ queryKey: ["roles"], queryFn: () => data(api.GET("/api/v1/roles")) });
const MEMBERS = [["members"]];
const INVITATIONS = [["invitations"]];

/** Who is in the organization, and who is invited. */
export function MembersPage() {
  const may = useMay("member.edit");
  return (
    <Page title="Members" actions={may ? <InviteDialog /> : undefined}>
      <List queryKey={["members"]} page={(cursor) => data(api.GET("/api/v1/members", { params: { query: cursor ? { cursor } : {} } }))} empty={<Text>Nobody.</Text>}>
        {(items: Member[]) => (
          <DataTable
            label="Members" rows={items} id={(each) => each.id}
            columns={[
              { name: "Name", cell: (each) => <>{each.name}<Text size="xs" c="dimmed" className="wrap-anywhere">{each.email ?? "service account"}</Text></> },
              { name: "Role", cell: (each) => each.role },
              { name: "Status", cell: (each) => <Status is={each.status === "active" ? "good" : "bad"}>{each.status}</Status> },
              { name: "Since", cell: (each) => <When at={each.created_at} /> },
              ...(may ? [{ name: "Actions", cell: (each: Member) => <Actions of={each} /> }] : []),
            ]}
          />
        )}
      </List>
      {may ? (
        <Stack gap="xs">
          <Title order={2}>Invitations</Title>
          <List queryKey={["invitations"]} page={(cursor) => data(api.GET("/api/v1/invitations", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="Nobody is invited." cli="shopfloor invite new@example.org --role developer" />}>
            {(items: Api["InvitationReply"][]) => (
              <DataTable
                label="Invitations" rows={items} id={(each) => each.id}
                columns={[
                  { name: "Address", cell: (each) => each.email },
                  { name: "Role", cell: (each) => each.role },
                  { name: "Status", cell: (each) => <InvitationStatus of={each} /> },
                  {
                    name: "Actions",
                    cell: (each) =>
                      each.accepted_at || each.withdrawn_at ? null : (
                        <Dialog small button="Withdraw" about={each.email} title={`Withdraw the invitation of ${each.email}?`} send="Withdraw" danger renews={INVITATIONS} says="The invitation is withdrawn." submit={() => api.DELETE("/api/v1/invitations/{invitation_id}", { params: { path: { invitation_id: each.id } } })}>
                          {() => <Text size="sm">Its link is void from now on.</Text>}
                        </Dialog>
                      ),
                  },
                ]}
              />
            )}
          </List>
        </Stack>
      ) : null}
    </Page>
  );
}

function InvitationStatus({ of: { accepted_at, withdrawn_at, expires_at } }: { of: Api["InvitationReply"] }) {
  if (accepted_at) return <Status is="good">accepted</Status>;
  if (withdrawn_at) return <Status is="bad">withdrawn</Status>;
  return <>good until <When at={expires_at} /></>;
}

export function InviteDialog() {
  const [email, setEmail] = useState("");
  const [role, setRole] = useState("developer");
  return (
    <Dialog
      button="Invite" title="Invite somebody" send="Invite" renews={INVITATIONS} onOpen={() => setEmail("")}
      submit={() => data(api.POST("/api/v1/invitations", { body: { email, role } }))}
      shows={(made, close) =>
        made.link ? <Once label="The link" text={made.link} about="This server sends no mail: pass this link on. It is good for 7 days, for one account." close={close} />
          : <Once label="Sent to" text={made.email} about="A mail with the link is on its way. It is good for 7 days." close={close} />}
    >
      {(error) => (
        <>
          <TextInput label="E-mail address" type="email" required value={email} onChange={(event) => setEmail(event.currentTarget.value)} error={fieldErrors(error)["email"]} />
          <RoleSelect value={role} change={setRole} />
        </>
      )}
    </Dialog>
  );
}

export function RoleSelect({ value, change }: { value: string; change: (role: string) => void }) {
  const roles = useQuery(rolesQuery).data?.items ?? [];
  const about = roles.find((each) => each.name === value)?.description;
  const names = roles.length > 0 ? roles.map((each) => each.name) : [value];
  return <NativeSelect label="Role" description={about} data={names} value={value} onChange={(event) => change(event.currentTarget.value)} />;
}

function Actions({ of: member }: { of: Member }) {
  const myself = useQuery({ ...meQuery, enabled: false }).data?.id === member.id;
  const [role, setRole] = useState(member.role);
  const path = { user_id: member.id };
  const active = member.status === "active";
  if (myself) return <Text size="xs" c="dimmed">you</Text>;
  return (
    <Group gap="xs" wrap="nowrap">
      <Dialog small button="Role" about={member.name} title={`Role of ${member.name}`} send="Change it" renews={MEMBERS} says="The role is changed." onOpen={() => setRole(member.role)} submit={() => api.PATCH("/api/v1/members/{user_id}", { params: { path }, headers: ifVersion(member.version), body: { role } })}>
        {() => <RoleSelect value={role} change={setRole} />}
      </Dialog>
      {member.kind === "person" && active ? (
        <Dialog small button="Link" about={member.name} title={`A link for ${member.name} to choose a new password`} send="Make it" renews={[]} submit={() => data(api.POST("/api/v1/members/{user_id}/setup-link", { params: { path } }))} shows={(made, close) => <Once label="The link" text={made.link} about="Shown this once: pass it on. One made before it is void." close={close} />}>
          {() => <Text size="sm">Their present password stays good until they use the link.</Text>}
        </Dialog>
      ) : null}
      {active ? (
        <Dialog small button="Disable" about={member.name} title={`Disable ${member.name}?`} send="Disable" danger renews={MEMBERS} says={`${member.name} is disabled.`} submit={() => api.POST("/api/v1/members/{user_id}/disable", { params: { path } })}>
          {() => <Text size="sm">Their sessions and keys end at once. They can be enabled again.</Text>}
        </Dialog>
      ) : (
        <Dialog small button="Enable" about={member.name} title={`Enable ${member.name}?`} send="Enable" renews={MEMBERS} says={`${member.name} is enabled.`} submit={() => api.POST("/api/v1/members/{user_id}/enable", { params: { path } })}>
          {() => <Text size="sm">They can sign in again. Sessions and keys that ended stay ended.</Text>}
        </Dialog>
      )}
    </Group>
  );
}
