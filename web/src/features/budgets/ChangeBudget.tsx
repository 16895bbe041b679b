import { Alert, Button, Checkbox, NumberInput, Text, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ifVersion } from "@/api/client";
import { ApiError, fieldErrors } from "@/api/errors";
import { Dialog } from "@/ui/Dialog";
import { When } from "@/ui/When";
import { type Budget, BUDGETS, budgetQuery } from "./queries";
import { dollars, percents } from "./standing";

const taken = (budget: Budget) => ({ version: budget.version, limit: budget.limit_usd as number | string, hard: budget.hard, pauses: budget.auto_pause, thresholds: budget.thresholds.join(", ") });

/** Changes what was set. Somebody who was faster is not overwritten: their figures are shown first. */
export function ChangeBudget({ budget }: { budget: Budget }) {
  const queries = useQueryClient();
  const [filled, setFilled] = useState(() => taken(budget));
  const [theirs, setTheirs] = useState<Budget | null>(null);
  const set = (some: Partial<typeof filled>) => setFilled((now) => ({ ...now, ...some }));
  const submit = async () => {
    try {
      return await api.PATCH("/api/v1/budgets/{budget_id}", {
        params: { path: { budget_id: budget.id } }, headers: ifVersion(filled.version),
        body: { limit_usd: String(filled.limit), hard: filled.hard, auto_pause: filled.pauses, thresholds: percents(filled.thresholds) },
      });
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) setTheirs((await queries.fetchQuery({ ...budgetQuery(budget.id), staleTime: 0 })).data);
      throw error;
    }
  };
  const open = () => {
    setFilled(taken(budget));
    setTheirs(null);
  };
  return (
    <Dialog button="Change" title="Change the budget" send="Change it" renews={BUDGETS} says="The budget is changed." onOpen={open} submit={submit}>
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            {theirs && theirs.version !== filled.version ? <Theirs now={theirs} keepMine={() => set({ version: theirs.version })} takeTheirs={() => setFilled(taken(theirs))} /> : null}
            <NumberInput label="Limit in US dollars" required min={0} decimalScale={9} value={filled.limit} onChange={(limit) => set({ limit })} error={wrong["limit_usd"]} />
            <TextInput label="Alerts at" description="Per cents of the limit." value={filled.thresholds} onChange={(event) => set({ thresholds: event.currentTarget.value })} error={wrong["thresholds"]} />
            <Checkbox label="Refuse calls that it can't pay" checked={filled.hard} onChange={(event) => set({ hard: event.currentTarget.checked })} />
            <Checkbox label="Pause when it can't pay" checked={filled.pauses} disabled={!filled.hard} onChange={(event) => set({ pauses: event.currentTarget.checked })} />
          </>
        );
      }}
    </Dialog>
  );
}

function Theirs({ now, keepMine, takeTheirs }: { now: Budget; keepMine: () => void; takeTheirs: () => void }) {
  return (
    <Alert color="yellow" variant="light" title="It is now">
      <Text size="sm" c="var(--mantine-color-text)">
        {dollars(now.limit_usd)}, {now.hard ? "refuses" : "alerts only"}, {now.auto_pause ? "pauses" : "does not pause"}, alerts at {now.thresholds.join(", ")} %, changed <When at={now.updated_at} />. The audit log says by whom.
      </Text>
      <Button size="compact-sm" variant="default" onClick={keepMine} mr="xs">Keep what I filled in</Button>
      <Button size="compact-sm" variant="default" onClick={takeTheirs}>Take theirs</Button>
    </Alert>
  );
}
