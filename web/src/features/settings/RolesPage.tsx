import { Checkbox, Group, Stack, Table, Text, Textarea, TextInput, VisuallyHidden } from "@mantine/core";
import { queryOptions, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { Dialog } from "@/ui/Dialog";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconCheck } from "@/ui/icons";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { rolesQuery } from "./MembersPage";

type Role = Api["RoleReply"];
const permissionsQuery = queryOptions({ queryKey: ["permissions"], queryFn: () => data(api.GET("/api/v1/roles/permissions")), staleTime: Infinity });
const ROLES = [["roles"]];

/** What each role may, as a matrix. */
export function RolesPage() {
  const roles = useQuery(rolesQuery);
  const permissions = useQuery(permissionsQuery);
  const may = useMay("role.edit");
  const error = roles.error ?? permissions.error;
  const all = permissions.data?.items ?? [];
  return (
    <Page title="Roles" about="Each route of the API takes one permission. Those of projects can be given in single projects, too." actions={may && roles.data ? <RoleDialog permissions={all} /> : undefined}>
      {error ? <ErrorPanel error={error} retry={() => { void roles.refetch(); void permissions.refetch(); }} /> : null}
      {roles.data && permissions.data ? (
        <>
          <div className="scroll-x" tabIndex={0} role="region" aria-label="What each role may">
            <Table aria-label="What each role may" withColumnBorders>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>Permission</Table.Th>
                  {roles.data.items.map((role) => <Table.Th key={role.name} title={role.description}>{role.name}</Table.Th>)}
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {all.map((permission) => (
                  <Table.Tr key={permission.name}>
                    <Table.Th scope="row" fw="normal"><Text size="sm">{permission.name}</Text><Text size="xs" c="dimmed">{permission.description}</Text></Table.Th>
                    {roles.data.items.map((role) => (
                      <Table.Td key={role.name} ta="center">
                        {role.permissions.includes(permission.name) ? <IconCheck size={16} role="img" aria-label="yes" /> : <VisuallyHidden>no</VisuallyHidden>}
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
          {may ? roles.data.items.filter((role) => !role.built_in).map((role) => (
            <Group key={role.name}>
              <Text>{role.name}</Text>
              <RoleDialog permissions={all} role={role} />
              <Dialog small button="Remove" about={role.name} title={`Remove the role ${role.name}?`} send="Remove" danger renews={ROLES} says="The role is removed." submit={() => api.DELETE("/api/v1/roles/{name}", { params: { path: { name: role.name } } })}>
                {() => <Text size="sm">A role that somebody has is kept: give them another one first.</Text>}
              </Dialog>
            </Group>
          )) : null}
        </>
      ) : error ? null : <Waiting />}
    </Page>
  );
}

function RoleDialog({ permissions, role }: { permissions: Api["PermissionReply"][]; role?: Role }) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState(role?.description ?? "");
  const [chosen, setChosen] = useState<string[]>(role?.permissions ?? []);
  return (
    <Dialog
      small={role !== undefined} button={role ? "Edit" : "New role"} about={role?.name} title={role ? `Change the role ${role.name}` : "New role"} send={role ? "Change it" : "Make it"} renews={ROLES} says="Done."
      submit={() =>
        role ? api.PATCH("/api/v1/roles/{name}", { params: { path: { name: role.name } }, headers: ifVersion(role.version), body: { description, permissions: chosen } })
          : api.POST("/api/v1/roles", { body: { name, description, permissions: chosen } })}
    >
      {(error) => (
        <>
          {role ? null : <TextInput label="Name" description="a-z, 0-9 and -." required value={name} onChange={(event) => setName(event.currentTarget.value)} error={fieldErrors(error)["name"]} />}
          <Textarea label="What for" value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
          <Checkbox.Group label="It may" value={chosen} onChange={setChosen}>
            <Stack gap={4} mt="xs" mah={260} style={{ overflowY: "auto" }} tabIndex={0} role="group" aria-label="Permissions">
              {permissions.map((each) => <Checkbox key={each.name} size="xs" value={each.name} label={`${each.name}: ${each.description}`} />)}
            </Stack>
          </Checkbox.Group>
        </>
      )}
    </Dialog>
  );
}
