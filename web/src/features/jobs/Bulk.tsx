import { Button, Group, Modal, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { told } from "@/api/errors";
import { useMay } from "@/api/session";
import { IconCheck, IconX } from "@/ui/icons";
import { Scroll } from "@/ui/Scroll";
import { cancelJob, isOver, type Job, retryJob, titleOf } from "./queries";

interface Outcome {
  job: Job;
  says: string;
  ok: boolean;
}

/** Cancels or retries the selected jobs, after a yes, and says for each what came of it. */
export function Bulk({ jobs, clear }: { jobs: Job[]; clear: () => void }) {
  const [doing, setDoing] = useState<"cancel" | "retry" | null>(null);
  const mayCancel = useMay("job.cancel", "anywhere");
  const mayRetry = useMay("job.retry", "anywhere");
  const open = jobs.filter((job) => !isOver(job));
  const over = jobs.filter(isOver);
  return (
    <Group gap="xs" role="group" aria-label="With the selected jobs">
      <Text size="sm" role="status">{jobs.length} selected</Text>
      {mayCancel ? <Button size="compact-sm" variant="default" disabled={open.length === 0} onClick={() => setDoing("cancel")}>Cancel {open.length}</Button> : null}
      {mayRetry ? <Button size="compact-sm" variant="default" disabled={over.length === 0} onClick={() => setDoing("retry")}>Retry {over.length}</Button> : null}
      <Button size="compact-sm" variant="subtle" onClick={clear}>Select none</Button>
      <Modal opened={doing !== null} onClose={() => setDoing(null)} title={doing === "cancel" ? "Cancel these jobs?" : "Retry these jobs?"} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        {doing ? <Confirm verb={doing} jobs={doing === "cancel" ? open : over} close={() => setDoing(null)} /> : null}
      </Modal>
    </Group>
  );
}

function Confirm({ verb, jobs: now, close }: { verb: "cancel" | "retry"; jobs: Job[]; close: () => void }) {
  const [jobs] = useState(now); // what was agreed to, whatever the list becomes meanwhile
  const [outcomes, setOutcomes] = useState<Outcome[]>([]);
  const queries = useQueryClient();
  const doing = useMutation({
    mutationFn: async () => {
      for (const job of jobs) {
        const outcome = await one(verb, job);
        setOutcomes((found) => [...found, outcome]);
      }
      await queries.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  const of = new Map(outcomes.map((each) => [each.job.id, each]));
  return (
    <Stack gap="sm">
      <Text size="sm">
        {verb === "cancel" ? "What they did so far is kept; what runs ends within two seconds." : "Each is done again from the start, as a new job, at its own cost."}
      </Text>
      <Scroll label="The jobs, scrolls sideways">
        <Table aria-label="The jobs">
          <Table.Tbody>
            {jobs.map((job) => {
              const outcome = of.get(job.id);
              return (
                <Table.Tr key={job.id}>
                  <Table.Td className="wrap-anywhere">{titleOf(job, 80)}</Table.Td>
                  <Table.Td>
                    {outcome ? <Group gap={4} wrap="nowrap">{outcome.ok ? <IconCheck size={14} aria-hidden /> : <IconX size={14} aria-hidden />}<Text size="sm" className="wrap-anywhere">{outcome.says}</Text></Group> : <Text size="sm" c="dimmed">{job.state}</Text>}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Scroll>
      <Group justify="flex-end">
        <Button variant="default" onClick={close}>{doing.isSuccess ? "Close" : "Leave them"}</Button>
        {doing.isSuccess ? null : (
          <Button color={verb === "cancel" ? "red" : undefined} loading={doing.isPending} onClick={() => doing.mutate()}>
            {verb === "cancel" ? `Cancel ${jobs.length}` : `Retry ${jobs.length}`}
          </Button>
        )}
      </Group>
    </Stack>
  );
}

async function one(verb: "cancel" | "retry", job: Job): Promise<Outcome> {
  try {
    if (verb === "cancel") {
      const found = await cancelJob(job.id);
      return { job, ok: true, says: found.state === "cancelled" ? "cancelled" : "is being cancelled" };
    }
    const made = await retryJob(job.id);
    return { job, ok: true, says: `queued as ${made.id}` };
  } catch (error) {
    return { job, ok: false, says: told(error).detail };
  }
}
