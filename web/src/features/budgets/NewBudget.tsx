import { Checkbox, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useState } from "react";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { Dialog } from "@/ui/Dialog";
import { BUDGETS } from "./queries";
import { percents } from "./standing";

type New = Api["BudgetNew"];
const SCOPES: { value: New["scope"]["type"]; label: string; of: string }[] = [
  { value: "organization", label: "the whole organization", of: "" },
  { value: "project", label: "a project", of: "Its slug" },
  { value: "team", label: "a team", of: "Its slug" },
  { value: "user", label: "a person", of: "Their e-mail address" },
  { value: "agent", label: "an agent", of: "Its name" },
];
const PERIODS = [
  { value: "day", label: "a day" },
  { value: "week", label: "a week, from Monday" },
  { value: "month", label: "a month" },
  { value: "total", label: "once and for all" },
];
const FRESH = { type: "organization" as New["scope"]["type"], id: "", period: "month" as New["period"], limit: "" as number | string, hard: true, pauses: true, thresholds: "80, 90, 95, 100" };

/** Sets a budget. What its scope has spent in the present period counts from the start. */
export function NewBudget() {
  const [filled, setFilled] = useState(FRESH);
  const set = (some: Partial<typeof FRESH>) => setFilled((now) => ({ ...now, ...some }));
  const who = SCOPES.find((each) => each.value === filled.type);
  const submit = () =>
    api.POST("/api/v1/budgets", {
      body: {
        scope: { type: filled.type, ...(filled.type === "organization" ? {} : { id: filled.id }) },
        period: filled.period, limit_usd: String(filled.limit), hard: filled.hard, auto_pause: filled.pauses, thresholds: percents(filled.thresholds),
      },
    });
  return (
    <Dialog button="New budget" title="New budget" send="Set it" renews={BUDGETS} says="The budget is set." onOpen={() => setFilled(FRESH)} submit={submit}>
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            <NativeSelect label="Of whom" data={SCOPES} value={filled.type} onChange={(event) => set({ type: event.currentTarget.value as New["scope"]["type"] })} />
            {who?.of ? <TextInput label={who.of} required value={filled.id} onChange={(event) => set({ id: event.currentTarget.value })} error={wrong["scope.id"]} /> : null}
            <NativeSelect label="For" data={PERIODS} value={filled.period} onChange={(event) => set({ period: event.currentTarget.value as New["period"] })} />
            <NumberInput label="Limit in US dollars" required min={0} decimalScale={9} value={filled.limit} onChange={(limit) => set({ limit })} error={wrong["limit_usd"]} />
            <TextInput label="Alerts at" description="Per cents of the limit, each told once a period." value={filled.thresholds} onChange={(event) => set({ thresholds: event.currentTarget.value })} error={wrong["thresholds"]} />
            <Checkbox label="Refuse calls that it can't pay" description="Else it alerts only." checked={filled.hard} onChange={(event) => set({ hard: event.currentTarget.checked })} />
            <Checkbox label="Pause when it can't pay" description="Jobs wait until there is money again." checked={filled.pauses} disabled={!filled.hard} onChange={(event) => set({ pauses: event.currentTarget.checked })} />
          </>
        );
      }}
    </Dialog>
  );
}
