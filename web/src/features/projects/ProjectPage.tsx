import { Button, Fieldset, Group, NativeSelect, NumberInput, Stack, Textarea, TextInput, Title } from "@mantine/core";
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { agentsQuery } from "@/features/agents/AgentsPage";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { saySaved } from "@/ui/toast";
import { Grants } from "./Grants";

type Project = Api["ProjectReply"];

const projectQuery = (slug: string) =>
  queryOptions({ queryKey: ["projects", slug], queryFn: () => data(api.GET("/api/v1/projects/{project}", { params: { path: { project: slug } } })) });

/** A project: what holds for its jobs, and who may do what in it. */
export function ProjectPage({ slug }: { slug: string }) {
  const { data: project, error, refetch } = useQuery(projectQuery(slug));
  const may = useMay("project.edit", "anywhere");
  const mayGrant = useMay("project.grant", "anywhere");
  return (
    <Page title={project?.name ?? slug} about={project ? `${project.slug}, seen by ${project.visibility}` : undefined}>
      {error ? <ErrorPanel error={error} retry={() => void refetch()} /> : project ? (
        <>
          <Form key={project.version} project={project} may={may} />
          {mayGrant ? <><Title order={2}>Who may do what in it</Title><Grants project={project.slug} /></> : null}
        </>
      ) : <Waiting />}
    </Page>
  );
}

function Form({ project, may }: { project: Project; may: boolean }) {
  const queries = useQueryClient();
  const agents = useQuery(agentsQuery).data?.items ?? [];
  const [filled, setFilled] = useState(() => ({
    name: project.name,
    status: project.status,
    visibility: project.visibility,
    max_running_jobs: project.max_running_jobs,
    agent: project.settings.agent ?? "",
    model: project.settings.model ?? "",
    checks: (project.settings.checks ?? []).join("\n"),
    network: (project.settings.network ?? []).join("\n"),
  }));
  const set = (name: keyof typeof filled, value: string | number) => setFilled((now) => ({ ...now, [name]: value }));
  const typed = (name: keyof typeof filled) => ({
    value: filled[name],
    onChange: (event: { currentTarget: { value: string } }) => set(name, event.currentTarget.value),
  });
  const saving = useMutation({
    meta: { quiet: true },
    mutationFn: () => {
      const { agent, model, checks, network, ...rest } = filled;
      // The settings go as a whole: what this form doesn't show stays as it is.
      const settings = { ...project.settings, agent: agent || null, model: model || null, checks: lines(checks).length > 0 ? lines(checks) : null, network: lines(network) };
      const body = { ...rest, settings: settings as Api["ProjectSettings-Input"] };
      return api.PATCH("/api/v1/projects/{project}", { params: { path: { project: project.slug } }, headers: ifVersion(project.version), body });
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["projects"] });
      saySaved("The project is changed.");
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    saving.mutate();
  };
  const wrong = fieldErrors(saving.error);
  return (
    <form onSubmit={submit}>
      <Fieldset variant="unstyled" disabled={!may} maw={560} aria-label="Settings of the project"><Stack gap="sm">
        {saving.error ? <ErrorPanel error={saving.error} /> : null}
        <TextInput label="Name" required {...typed("name")} error={wrong["name"]} />
        <NativeSelect label="Status" data={["active", "paused", "completed", "archived"]} {...typed("status")} />
        <NativeSelect label="Who sees it" data={["organization", "team", "private"]} {...typed("visibility")} />
        <NumberInput label="Jobs that may run at once" min={1} allowDecimal={false} value={filled.max_running_jobs} onChange={(value) => set("max_running_jobs", Number(value))} error={wrong["max_running_jobs"]} />
        <NativeSelect label="Agent, if a job names none" data={[{ value: "", label: "the server's" }, ...agents.map((each) => each.name)]} {...typed("agent")} />
        <TextInput label="Model, if a job names none" placeholder="anthropic/claude-sonnet-5" {...typed("model")} error={wrong["settings.model"]} />
        <Textarea label="Checks" description="Commands that have to pass on the result, one a line. Empty: they are detected." autosize minRows={2} {...typed("checks")} error={wrong["settings.checks"]} />
        <Textarea label="Hosts that sandboxes may reach" description="One a line. Empty: no network." autosize minRows={2} {...typed("network")} error={wrong["settings.network"]} />
        {may ? <Group><Button type="submit" loading={saving.isPending}>Save</Button></Group> : null}
      </Stack></Fieldset>
    </form>
  );
}

function lines(text: string): string[] {
  return text.split("\n").map((each) => each.trim()).filter(Boolean);
}
