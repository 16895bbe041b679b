import { NumberInput, Text } from "@mantine/core";
import { useState } from "react";
import { api } from "@/api/client";
import type { Api } from "@/api/types";
import { Dialog } from "@/ui/Dialog";
import { PROVIDERS } from "./queries";

/** Says what a model costs: without a price its calls are refused, since no budget could hold them. */
export function PriceDialog({ model }: { model: Api["ModelReply"] }) {
  const [input, setInput] = useState<number | string>("");
  const [output, setOutput] = useState<number | string>("");
  const submit = async () => {
    for (const [unit, usd] of [["input", input], ["output", output]] as const) {
      await api.POST("/api/v1/prices", { body: { provider: model.provider, model: model.model, unit, usd_per_million: String(usd) } });
    }
  };
  return (
    <Dialog small button="Set a price" about={model.ref} title={`Price of ${model.ref}`} send="Set it" renews={PROVIDERS} says="The price counts from now on." submit={submit}>
      {() => (
        <>
          <Text size="sm">US dollars for a million tokens. Without a price the model is refused: no budget could hold its calls.</Text>
          <NumberInput label="Input" required min={0} value={input} onChange={setInput} />
          <NumberInput label="Output" required min={0} value={output} onChange={setOutput} />
        </>
      )}
    </Dialog>
  );
}
