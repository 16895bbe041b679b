import { Group, Text, Textarea, TextInput } from "@mantine/core";
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
import { RoleSelect } from "./MembersPage";
import { TeamMembers } from "./TeamMembers";

type Team = Api["TeamReply"];
const TEAMS = [["teams"]];

/** People who get the same rights in projects together. */
export function TeamsPage() {
  const may = useMay("team.edit");
  return (
    <Page title="Teams" about="People who get the same rights in projects together." actions={may ? <TeamDialog /> : undefined}>
      <List queryKey={["teams"]} page={(cursor) => data(api.GET("/api/v1/teams", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No team yet." cli="shopfloor team create payments" />}>
        {(items: Team[]) => (
          <DataTable
            label="Teams" rows={items} id={(each) => each.id}
            columns={[
              { name: "Team", cell: (each) => <>{each.name}<Text size="xs" c="dimmed">{each.description || each.slug}</Text></> },
              { name: "Role in its projects", cell: (each) => each.role },
              { name: "Since", cell: (each) => <When at={each.created_at} /> },
              {
                name: "Actions",
                cell: (each) => (
                  <Group gap="xs" wrap="nowrap">
                    <TeamMembers team={each} may={may} />
                    {may ? <TeamDialog team={each} /> : null}
                    {may ? (
                      <Dialog small button="Remove" about={each.name} title={`Remove the team ${each.name}?`} send="Remove" danger renews={TEAMS} says="The team is removed." submit={() => api.DELETE("/api/v1/teams/{team}", { params: { path: { team: each.id } } })}>
                        {() => <Text size="sm">Its members lose what they had through it. The people stay.</Text>}
                      </Dialog>
                    ) : null}
                  </Group>
                ),
              },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function TeamDialog({ team }: { team?: Team }) {
  const fresh = () => ({ slug: "", name: team?.name ?? "", description: team?.description ?? "", role: team?.role ?? "developer" });
  const [filled, setFilled] = useState(fresh);
  const set = (name: "slug" | "name" | "description") => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget;
    setFilled((now) => ({ ...now, [name]: value }));
  };
  const { slug, ...change } = filled;
  return (
    <Dialog
      small={team !== undefined} button={team ? "Edit" : "New team"} about={team?.name} title={team ? `Change the team ${team.name}` : "New team"} send={team ? "Change it" : "Make it"}
      renews={TEAMS} says={team ? "The team is changed." : "The team is there."} onOpen={() => setFilled(fresh())}
      submit={() =>
        team ? api.PATCH("/api/v1/teams/{team}", { params: { path: { team: team.id } }, headers: ifVersion(team.version), body: change })
          : api.POST("/api/v1/teams", { body: { slug, ...change } })}
    >
      {(error) => (
        <>
          {team ? null : <TextInput label="Short name" description="For addresses and commands: a-z, 0-9 and -." required value={slug} onChange={set("slug")} error={fieldErrors(error)["slug"]} />}
          <TextInput label="Name" required value={filled.name} onChange={set("name")} error={fieldErrors(error)["name"]} />
          <Textarea label="What for" value={filled.description} onChange={set("description")} error={fieldErrors(error)["description"]} />
          <RoleSelect value={filled.role} change={(role) => setFilled((now) => ({ ...now, role }))} />
        </>
      )}
    </Dialog>
  );
}
