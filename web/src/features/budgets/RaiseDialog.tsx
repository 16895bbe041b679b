import { NumberInput, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, idempotencyKey } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { Dialog } from "@/ui/Dialog";
import { type Budget, BUDGETS } from "./queries";

const A_DAY_H = 24;
const fresh = () => ({ amount: "" as number | string, hours: A_DAY_H as number | string, reason: "", key: idempotencyKey() });

/** More money for a while. Sent twice it is raised once: the key is the opened form's own. */
export function RaiseDialog({ budget }: { budget: Budget }) {
  const [filled, setFilled] = useState(fresh);
  const set = (some: Partial<typeof filled>) => setFilled((now) => ({ ...now, ...some }));
  const submit = () =>
    api.POST("/api/v1/budgets/{budget_id}/raises", {
      params: { path: { budget_id: budget.id } }, headers: filled.key,
      body: { amount_usd: String(filled.amount), for_hours: Number(filled.hours), reason: filled.reason },
    });
  return (
    <Dialog button="Raise for a while" title="Raise it for a while" send="Raise it" renews={BUDGETS} says="Raised. Jobs that waited for money go on." onOpen={() => setFilled(fresh())} submit={submit}>
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            <NumberInput label="By US dollars" required min={0} decimalScale={9} value={filled.amount} onChange={(amount) => set({ amount, key: idempotencyKey() })} error={wrong["amount_usd"]} />
            <NumberInput label="For hours" required min={1} allowDecimal={false} value={filled.hours} onChange={(hours) => set({ hours, key: idempotencyKey() })} error={wrong["for_hours"]} />
            <TextInput label="Why" required value={filled.reason} onChange={(event) => set({ reason: event.currentTarget.value, key: idempotencyKey() })} error={wrong["reason"]} />
          </>
        );
      }}
    </Dialog>
  );
}
