import { Autocomplete, Button, Checkbox, Code, CopyButton, Group, Modal, SegmentedControl, Select, SimpleGrid, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { api, data, idempotencyKey } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Page } from "@/ui/Page";
import { dropDraft, keepDraft, readDraft } from "./draft";
import { asCli, asCurl, bodyOf, EMPTY, errorOf, type JobForm } from "./form";
import classes from "./newjob.module.css";

const MOST = 200;

/** What is to be done, and where; the rest is folded. */
export function NewJobPage() {
  const [form, setForm] = useState<JobForm>(() => readDraft() ?? EMPTY);
  const [key, setKey] = useState(idempotencyKey); // of what stands in the form: a changed one is another job
  const [touched, setTouched] = useState(false);
  const navigate = useNavigate();
  const queries = useQueryClient();
  useEffect(() => keepDraft(form), [form]);
  const { body, problems } = bodyOf(form);
  const sending = useMutation({
    meta: { quiet: true },
    mutationFn: () => data(api.POST("/api/v1/jobs", { body, headers: key })),
    onSuccess: async (job) => {
      dropDraft();
      await queries.invalidateQueries({ queryKey: ["jobs"] });
      await navigate({ to: "/jobs/$jobId", params: { jobId: job.id } });
    },
  });
  const set = <K extends keyof JobForm>(field: K, value: JobForm[K]) => {
    setForm((now) => ({ ...now, [field]: value }));
    setKey(idempotencyKey);
  };
  const errors = fieldErrors(sending.error);
  const error = (field: keyof JobForm) => (touched ? problems[field] : undefined) ?? errorOf(field, errors);
  const beside = (Object.keys(EMPTY) as (keyof JobForm)[]).some((field) => errorOf(field, errors) !== undefined);
  const text = (field: "model" | "repo" | "ref" | "task" | "commands" | "costUsd" | "turns" | "timeoutS" | "network" | "labels" | "priority" | "pushBranch" | "approveCommands") => ({
    value: form[field], error: error(field), onChange: (event: { currentTarget: { value: string } }) => set(field, event.currentTarget.value),
  });
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    setTouched(true);
    if (Object.keys(problems).length === 0) sending.mutate();
  };
  const projects = useProjects();
  const agents = useAgents();
  const models = useModels();
  const rest: (keyof JobForm)[] = ["agent", "model", "commands", "costUsd", "turns", "timeoutS", "network", "labels", "priority", "pushBranch", "approveCommands"];
  return (
    <Page title="New job" about="An agent works on it in a sandbox; the platform checks the result itself.">
      <form onSubmit={onSubmit} noValidate className={classes["form"]}>
        <Stack gap="md">
          {sending.error ? <ErrorPanel error={sending.error} retry={() => sending.mutate()} /> : null}
          <Textarea label="Task" required autosize minRows={4} maxRows={20} data-autofocus placeholder="The test test_refund fails. Find out why and fix the cause." {...text("task")} />
          <SimpleGrid cols={{ base: 1, sm: 3 }}>
            <Select
              label="Project" description="Its defaults and bounds hold." value={form.project} data={projects.includes(form.project) ? projects : [form.project, ...projects]} allowDeselect={false} searchable
              onChange={(value) => set("project", value ?? "default")} error={error("project")}
            />
            <TextInput label="Repository" description="Left out: an empty workspace." placeholder="https://git.example.com/acme/payments.git" inputMode="url" {...text("repo")} />
            <TextInput label="Branch, tag or commit" description="Left out: the default branch." {...text("ref")} />
          </SimpleGrid>
          <details className={classes["rest"]} open={rest.some((field) => error(field) !== undefined) || undefined}>
            <summary>Agent, model, checks, limits, network, labels</summary>
            <Stack gap="md" mt="md">
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                <Select label="Agent" description="Who works on it." placeholder="the project's" clearable searchable data={agents} value={form.agent || null} onChange={(value) => set("agent", value ?? "")} error={error("agent")} />
                <Autocomplete label="Model" placeholder="the project's" description="provider/model; fall-backs after commas" data={models} value={form.model} onChange={(value) => set("model", value)} error={error("model")} />
              </SimpleGrid>
              <Stack gap={4}>
                <Text size="sm" fw={500} id="checks-label">Checks that decide</Text>
                <SegmentedControl
                  aria-labelledby="checks-label" size="xs" value={form.checks} onChange={(value) => set("checks", value as JobForm["checks"])} className={classes["checks"]}
                  data={[{ value: "default", label: "The project's, or detected" }, { value: "these", label: "These" }, { value: "none", label: "None" }]}
                />
                {form.checks === "these" ? <Textarea aria-label="Commands, one a line" placeholder={"pytest -q\nruff check"} autosize minRows={2} {...text("commands")} /> : null}
              </Stack>
              <SimpleGrid cols={{ base: 1, sm: 3 }}>
                <TextInput label="Cost limit (USD)" inputMode="decimal" placeholder="the project's" {...text("costUsd")} />
                <TextInput label="Turns at most" inputMode="numeric" placeholder="the project's" {...text("turns")} />
                <TextInput label="Seconds at most" inputMode="numeric" placeholder="the project's" {...text("timeoutS")} />
              </SimpleGrid>
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                <Textarea label="Network" description="Hosts the sandbox may reach, one a line, of those the project allows." placeholder="packages.example.com:443" autosize minRows={2} {...text("network")} />
                <Textarea label="Labels" description="name=value, one a line." placeholder="ticket=PAY-412" autosize minRows={2} {...text("labels")} />
              </SimpleGrid>
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                <TextInput label="Push to the new branch" description="Unless its checks failed." {...text("pushBranch")} />
                <TextInput label="Priority" description="-100 to 100; higher goes first." inputMode="numeric" {...text("priority")} />
              </SimpleGrid>
              <Textarea label="Commands to ask about first" description="Globs, one a line, beside what the project asks about." placeholder="git push*" autosize minRows={2} {...text("approveCommands")} />
              <Checkbox label="Ask before the result is pushed" checked={form.approvePush} onChange={(event) => set("approvePush", event.currentTarget.checked)} />
            </Stack>
          </details>
          {sending.error && beside ? <Text size="sm" role="status">What doesn't fit stands beside its field.</Text> : null}
          <Group justify="space-between">
            <CopyAs form={form} />
            <Group gap="xs">
              <Button variant="subtle" onClick={() => { setForm(EMPTY); setTouched(false); sending.reset(); }}>Clear</Button>
              <Button type="submit" loading={sending.isPending}>Submit the job</Button>
            </Group>
          </Group>
        </Stack>
      </form>
    </Page>
  );
}

function CopyAs({ form }: { form: JobForm }) {
  const [opened, setOpened] = useState(false);
  const cli = asCli(form);
  return (
    <>
      <Button variant="default" onClick={() => setOpened(true)}>Copy as command</Button>
      <Modal opened={opened} onClose={() => setOpened(false)} title="The same from a terminal" size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        <Stack gap="md">
          <Copied label="Command line" text={cli.command} />
          {cli.leftOut.length > 0 ? <Text size="sm">The command line has no option for: {cli.leftOut.join(", ")}. The request below has them.</Text> : null}
          <Copied label="curl" text={asCurl(form, location.origin)} />
        </Stack>
      </Modal>
    </>
  );
}

function Copied({ label, text }: { label: string; text: string }) {
  return (
    <Stack gap={4}>
      <Group justify="space-between">
        <Text size="sm" fw={500}>{label}</Text>
        <CopyButton value={text}>{({ copied, copy }) => <Button size="compact-xs" variant="default" onClick={copy}>{copied ? "Copied" : "Copy"}</Button>}</CopyButton>
      </Group>
      <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap" }} tabIndex={0} aria-label={label}>{text}</Code>
    </Stack>
  );
}

function useProjects(): string[] {
  const found = useQuery({ queryKey: ["projects", "names"], enabled: useMay("project.read", "anywhere"), staleTime: 60_000, queryFn: () => data(api.GET("/api/v1/projects", { params: { query: { limit: MOST, status: "active" } } })) });
  return found.data?.items.map((each) => each.slug) ?? [];
}

function useAgents(): string[] {
  const found = useQuery({ queryKey: ["agents", "every", "name"], enabled: useMay("agent.read", "anywhere"), staleTime: 300_000, queryFn: () => data(api.GET("/api/v1/agents")) });
  return found.data?.items.map((each) => each.name) ?? [];
}

function useModels(): string[] {
  const found = useQuery({ queryKey: ["models", "names"], enabled: useMay("provider.read"), staleTime: 60_000, queryFn: () => data(api.GET("/api/v1/models", { params: { query: { limit: MOST } } })) });
  return [...new Set(found.data?.items.filter((each) => each.priced).map((each) => each.ref) ?? [])];
}
