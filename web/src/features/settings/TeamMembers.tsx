import { Button, Group, Modal, NativeSelect, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { List } from "@/ui/List";

const MOST = 200;

/** Who is in a team; for who may, adding and removing. */
export function TeamMembers({ team, may }: { team: Api["TeamReply"]; may: boolean }) {
  const [opened, setOpened] = useState(false);
  return (
    <>
      <Button size="compact-sm" variant="default" aria-label={`Members: ${team.name}`} onClick={() => setOpened(true)}>Members</Button>
      <Modal opened={opened} onClose={() => setOpened(false)} size="lg" title={`Members of ${team.name}`} closeButtonProps={{ "aria-label": "Close" }}>
        {opened ? <Members team={team.id} may={may} /> : null}
      </Modal>
    </>
  );
}

function Members({ team, may }: { team: string; may: boolean }) {
  const queries = useQueryClient();
  const renew = () => queries.invalidateQueries({ queryKey: ["teams", team] });
  const removing = useMutation({
    mutationFn: (user_id: string) => api.DELETE("/api/v1/teams/{team}/members/{user_id}", { params: { path: { team, user_id } } }),
    onSuccess: renew,
  });
  return (
    <Stack>
      <List queryKey={["teams", team, "members"]} page={(cursor) => data(api.GET("/api/v1/teams/{team}/members", { params: { path: { team }, query: cursor ? { cursor } : {} } }))} empty={<Text size="sm">Nobody yet.</Text>}>
        {(items: Api["TeamMemberReply"][]) => (
          <DataTable
            label="Members of the team" rows={items} id={(each) => each.user_id}
            columns={[
              { name: "Name", cell: (each) => each.name },
              { name: "In the team", cell: (each) => each.team_role },
              { name: "Actions", cell: (each) => (may ? <Button size="compact-sm" variant="default" aria-label={`Remove: ${each.name}`} onClick={() => removing.mutate(each.user_id)}>Remove</Button> : null) },
            ]}
          />
        )}
      </List>
      {may ? <AddMember team={team} added={renew} /> : null}
    </Stack>
  );
}

function AddMember({ team, added }: { team: string; added: () => Promise<void> }) {
  const people = useQuery({ queryKey: ["members", "all"], queryFn: () => data(api.GET("/api/v1/members", { params: { query: { limit: MOST } } })) }).data?.items ?? [];
  const [userId, setUserId] = useState("");
  const [role, setRole] = useState<"lead" | "member">("member");
  const adding = useMutation({
    mutationFn: () => api.PUT("/api/v1/teams/{team}/members/{user_id}", { params: { path: { team, user_id: userId } }, body: { team_role: role } }),
    onSuccess: added,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    adding.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Group align="flex-end">
        <NativeSelect label="Who" required value={userId} onChange={(event) => setUserId(event.currentTarget.value)} data={[{ value: "", label: "Choose" }, ...people.map((each) => ({ value: each.id, label: each.name }))]} />
        <NativeSelect label="As" value={role} data={["member", "lead"]} onChange={(event) => setRole(event.currentTarget.value as "lead" | "member")} />
        <Button type="submit" disabled={!userId} loading={adding.isPending}>Add</Button>
      </Group>
    </form>
  );
}
