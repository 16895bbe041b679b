import { Alert, Button, Group, Menu, Modal, NumberInput, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useCallback, useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMayIn } from "@/api/session";
import { useShortcut } from "@/lib/shortcuts";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconDown } from "@/ui/icons";
import { saySaved } from "@/ui/toast";
import { cancelJob, isOver, type Job, retryJob } from "./queries";

type Asked = "cancel" | "retry" | "replay" | "fork";

const SAYS: Record<Exclude<Asked, "fork">, { title: string; text: string; yes: string }> = {
  cancel: { title: "Cancel this job?", text: "It ends within two seconds. What it did so far is kept, with its diff.", yes: "Cancel the job" },
  retry: { title: "Do it again?", text: "A new job asks the same from the start, at its own cost.", yes: "Retry" },
  replay: { title: "Replay it?", text: "A new job runs from the recorded model replies: no model is called, and it costs nothing.", yes: "Replay" },
};

/** What may be done to the job, by who looks at it. */
export function Actions({ job, turns }: { job: Job; turns: number }) {
  const [asked, setAsked] = useState<Asked | null>(null);
  const over = isOver(job);
  const mayCancel = useMayIn(job.project_id, "job.cancel") && !over && !job.cancel_requested_at;
  const mayRetry = useMayIn(job.project_id, "job.retry") && over;
  const mayFork = useMayIn(job.project_id, "job.submit") && turns > 0;
  useShortcut("e", "Retry this job", useCallback(() => setAsked("retry"), []), mayRetry);
  const close = () => setAsked(null);
  return (
    <>
      {mayCancel ? <Button variant="default" onClick={() => setAsked("cancel")}>Cancel</Button> : null}
      {mayRetry || mayFork ? (
        <Menu position="bottom-end">
          <Menu.Target><Button variant="default" rightSection={<IconDown size={14} aria-hidden />}>{mayRetry ? "Retry" : "Fork"}</Button></Menu.Target>
          <Menu.Dropdown>
            {mayRetry ? <Menu.Item onClick={() => setAsked("retry")}>The same again</Menu.Item> : null}
            {mayRetry ? <Menu.Item onClick={() => setAsked("replay")}>Replay from its record</Menu.Item> : null}
            {mayFork ? <Menu.Item onClick={() => setAsked("fork")}>Fork from a turn, with changes</Menu.Item> : null}
          </Menu.Dropdown>
        </Menu>
      ) : null}
      <Modal opened={asked !== null} onClose={close} title={asked === "fork" ? "Fork this job" : asked ? SAYS[asked].title : ""} closeButtonProps={{ "aria-label": "Close" }}>
        {asked === "fork" ? <ForkForm job={job} turns={turns} close={close} /> : asked ? <Sure job={job} asked={asked} close={close} /> : null}
      </Modal>
    </>
  );
}

function Sure({ job, asked, close }: { job: Job; asked: Exclude<Asked, "fork">; close: () => void }) {
  const navigate = useNavigate();
  const queries = useQueryClient();
  const doing = useMutation({
    meta: { quiet: true },
    mutationFn: () => (asked === "cancel" ? cancelJob(job.id) : retryJob(job.id, asked === "replay" ? "replay" : "run")),
    onSuccess: async (found) => {
      close();
      await queries.invalidateQueries({ queryKey: ["jobs"] });
      if (asked === "cancel") saySaved("It is being cancelled.");
      else await navigate({ to: "/jobs/$jobId", params: { jobId: found.id } });
    },
  });
  return (
    <Stack gap="sm">
      {doing.error ? <ErrorPanel error={doing.error} /> : null}
      <Text size="sm">{SAYS[asked].text}</Text>
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>Leave it</Button>
        <Button data-autofocus color={asked === "cancel" ? "red" : undefined} loading={doing.isPending} onClick={() => doing.mutate()}>{SAYS[asked].yes}</Button>
      </Group>
    </Stack>
  );
}

function ForkForm({ job, turns, close }: { job: Job; turns: number; close: () => void }) {
  const [turn, setTurn] = useState<number | string>(turns + (isOver(job) ? 1 : 0) || 1);
  const [task, setTask] = useState(job.task);
  const [model, setModel] = useState(job.model);
  const [cost, setCost] = useState(job.limits.cost_usd);
  const navigate = useNavigate();
  const forking = useMutation({
    meta: { quiet: true },
    mutationFn: () => {
      const changes = {
        ...(task === job.task ? {} : { task }),
        ...(model === job.model ? {} : { model }),
        ...(cost === job.limits.cost_usd ? {} : { limits: { cost_usd: cost } }),
      };
      return data(api.POST("/api/v1/jobs/{job_id}/fork", { params: { path: { job_id: job.id } }, body: { before_turn: Number(turn), ...changes } }));
    },
    onSuccess: async (found) => {
      close();
      await navigate({ to: "/jobs/$jobId", params: { jobId: found.id } });
    },
  });
  const errors = fieldErrors(forking.error);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    forking.mutate();
  };
  return (
    <form onSubmit={onSubmit}>
      <Stack gap="sm">
        {forking.error ? <ErrorPanel error={forking.error} /> : null}
        <Alert color="blue"><Text size="sm" c="var(--mantine-color-text)">What was finished before that turn is taken over and not paid again.</Text></Alert>
        <NumberInput label="Before turn" required min={1} max={turns + 1} value={turn} onChange={setTurn} description={`1 to ${turns + 1}; ${turns + 1} goes on after the last.`} error={errors["before_turn"]} />
        <Textarea label="Task" autosize minRows={3} maxRows={10} value={task} onChange={(event) => setTask(event.currentTarget.value)} error={errors["task"]} />
        <TextInput label="Model" value={model} onChange={(event) => setModel(event.currentTarget.value)} error={errors["model"]} />
        <TextInput label="Cost limit (USD)" inputMode="decimal" value={cost} onChange={(event) => setCost(event.currentTarget.value)} error={errors["limits.cost_usd"]} />
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>Leave it</Button>
          <Button type="submit" loading={forking.isPending}>Fork</Button>
        </Group>
      </Stack>
    </form>
  );
}
