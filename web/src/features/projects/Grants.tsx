import { Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { RoleSelect } from "@/features/settings/MembersPage";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";

const MOST = 200;

/** Who has a role in a project beside the one they have in the organization. */
export function Grants({ project }: { project: string }) {
  const people = useQuery({ queryKey: ["members", "all"], queryFn: () => data(api.GET("/api/v1/members", { params: { query: { limit: MOST } } })) }).data?.items ?? [];
  const teams = useQuery({ queryKey: ["teams", "all"], queryFn: () => data(api.GET("/api/v1/teams", { params: { query: { limit: MOST } } })) }).data?.items ?? [];
  const names = new Map([...people, ...teams].map((each) => [each.id, each.name]));
  const nameOf = (grant: Api["GrantReply"]) => names.get(holder(grant)) ?? holder(grant);
  return (
    <Stack>
      <Group><NewGrant project={project} holders={[...names].map(([value, label]) => ({ value, label }))} /></Group>
      <List queryKey={["grants", project]} page={(cursor) => data(api.GET("/api/v1/projects/{project}/grants", { params: { path: { project }, query: cursor ? { cursor } : {} } }))} empty={<Empty says="Nobody beside those whose role in the organization says so." cli={`shopfloor project grant ${project} dev@example.org --role developer`} />}>
        {(items: Api["GrantReply"][]) => (
          <DataTable
            label="Roles in the project" rows={items} id={holder}
            columns={[
              { name: "Who", cell: nameOf },
              { name: "Kind", cell: (each) => (each.team_id ? "team" : "member") },
              { name: "Role", cell: (each) => each.role },
              {
                name: "Actions",
                cell: (each) => (
                  <Dialog small button="Take back" about={nameOf(each)} title={`Take the role of ${nameOf(each)} back?`} send="Take it back" danger renews={[["grants", project]]} says="Done." submit={() => api.DELETE("/api/v1/projects/{project}/grants/{holder_id}", { params: { path: { project, holder_id: holder(each) } } })}>
                    {() => <Text size="sm">What they may by their role in the organization stays.</Text>}
                  </Dialog>
                ),
              },
            ]}
          />
        )}
      </List>
    </Stack>
  );
}

function holder(grant: Api["GrantReply"]): string {
  return grant.team_id ?? grant.user_id ?? "";
}

function NewGrant({ project, holders }: { project: string; holders: { value: string; label: string }[] }) {
  const [who, setWho] = useState("");
  const [role, setRole] = useState("developer");
  return (
    <Dialog button="Give a role" title="Give a role in this project" send="Give it" renews={[["grants", project]]} says="Done." onOpen={() => setWho("")} submit={() => api.PUT("/api/v1/projects/{project}/grants/{holder_id}", { params: { path: { project, holder_id: who } }, body: { role } })}>
      {() => (
        <>
          <NativeSelect label="Who" required value={who} onChange={(event) => setWho(event.currentTarget.value)} data={[{ value: "", label: "Choose" }, ...holders]} />
          <RoleSelect value={role} change={setRole} />
        </>
      )}
    </Dialog>
  );
}
