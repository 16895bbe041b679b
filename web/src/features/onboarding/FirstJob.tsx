import { Anchor, Button, Group, NativeSelect, NumberInput, Stack, Text, Textarea } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data, idempotencyKey } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { modelsQuery } from "@/features/providers/queries";
import { ErrorPanel } from "@/ui/ErrorPanel";
import type { Repository } from "./RepositoryForm";

const FIRST_LIMIT_USD = 2;

/** A task, a model and a limit; everything else as the server has it. */
export function FirstJob({ repository }: { repository: Repository | null }) {
  const queries = useQueryClient();
  const models = (useQuery(modelsQuery).data?.items ?? []).filter((each) => each.priced);
  const [task, setTask] = useState("");
  const [model, setModel] = useState("");
  const [limitUsd, setLimitUsd] = useState<number | string>(FIRST_LIMIT_USD);
  const [intent, setIntent] = useState(idempotencyKey);
  const submitting = useMutation({
    meta: { quiet: true },
    mutationFn: () =>
      data(api.POST("/api/v1/jobs", {
        headers: intent,
        body: { task, model: model || models[0]?.ref || null, repo: repository?.url ? repository : null, limits: { cost_usd: String(limitUsd) } },
      })),
    onSuccess: async () => {
      setIntent(idempotencyKey());
      await queries.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    submitting.mutate();
  };
  if (models.length === 0) return <Text size="sm">No model with a known price yet: see the first step.</Text>;
  const wrong = fieldErrors(submitting.error);
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        {submitting.error ? <ErrorPanel error={submitting.error} /> : null}
        <Textarea label="What is to be done" required autosize minRows={3} value={task} onChange={(event) => setTask(event.currentTarget.value)} error={wrong["task"]} />
        <NativeSelect label="Model" data={models.map((each) => each.ref)} value={model || models[0]?.ref} onChange={(event) => setModel(event.currentTarget.value)} />
        <NumberInput label="At most, in US dollars" description="The job stops before it costs more." min={0.01} value={limitUsd} onChange={setLimitUsd} error={wrong["limits.cost_usd"]} />
        <Group>
          <Button type="submit" loading={submitting.isPending}>Submit the job</Button>
          {submitting.data ? <Anchor href={`/jobs/${submitting.data.id}`} role="status">The job is on its way: watch it</Anchor> : null}
        </Group>
      </Stack>
    </form>
  );
}
