import { Anchor, Text, TextInput } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";

const LOOKS = { active: "good", paused: "warning", completed: "good", archived: "bad" } as const;

/** Where jobs belong: their defaults and bounds. */
export function ProjectsPage() {
  const may = useMay("project.edit");
  return (
    <Page title="Projects" about="Where jobs belong: defaults, bounds, and who may do what." actions={may ? <NewProject /> : undefined}>
      <List queryKey={["projects"]} page={(cursor) => data(api.GET("/api/v1/projects", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="No project yet." cli="shopfloor project create payments" />}>
        {(items: Api["ProjectReply"][]) => (
          <DataTable
            label="Projects" rows={items} id={(each) => each.id}
            columns={[
              { name: "Project", cell: (each) => <><Anchor component={Link} to="/projects/$slug" params={{ slug: each.slug } as never}>{each.name}</Anchor><Text size="xs" c="dimmed">{each.slug}</Text></> },
              { name: "Status", cell: (each) => <Status is={LOOKS[each.status]}>{each.status}</Status> },
              { name: "Who sees it", cell: (each) => each.visibility },
              { name: "Model", cell: (each) => each.settings.model ?? "the server's" },
              { name: "At once", cell: (each) => `${each.max_running_jobs} jobs` },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function NewProject() {
  const [slug, setSlug] = useState("");
  const [name, setName] = useState("");
  return (
    <Dialog button="New project" title="New project" send="Make it" renews={[["projects"]]} says="The project is there." onOpen={() => { setSlug(""); setName(""); }} submit={() => api.POST("/api/v1/projects", { body: { slug, name: name || slug } })}>
      {(error) => (
        <>
          <TextInput label="Short name" description="For addresses and commands: a-z, 0-9 and -." required value={slug} onChange={(event) => setSlug(event.currentTarget.value)} error={fieldErrors(error)["slug"]} />
          <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} error={fieldErrors(error)["name"]} />
        </>
      )}
    </Dialog>
  );
}
