import { NumberInput, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { moment } from "@/lib/format";
import { Dialog } from "@/ui/Dialog";
import { Status } from "@/ui/Status";

type Provider = Api["ProviderReply"];
const EVERY_MS = 15_000;

/** Whether a provider's models are called, or left alone because they failed, and until when. */
export function ProviderHealth({ provider }: { provider: Provider }) {
  const { data: health, error } = useQuery({
    queryKey: ["provider-health", provider.id],
    refetchInterval: EVERY_MS,
    meta: { quiet: true },
    queryFn: () => data(api.GET("/api/v1/providers/{provider_id}/health", { params: { path: { provider_id: provider.id } } })),
  });
  if (error) return <>not known just now</>;
  if (!health) return <>...</>;
  const ill = health.breakers.filter((each) => each.state !== "closed");
  const { in_flight: flying, requests_last_minute: asked } = health.used;
  return (
    <Stack gap={4} align="flex-start">
      {ill.length === 0 ? <Status is="good">called</Status> : null}
      {ill.map((each) => (
        <div key={`${each.model} ${each.credential}`}>
          <Status is={each.state === "open" ? "bad" : "warning"}>{each.state === "open" ? "left alone" : "one call tries it"}</Status>
          <Text size="xs">{each.model}{each.open_until ? ` until ${moment(each.open_until)}` : ""}{each.last_failure ? `: ${each.last_failure.detail}` : ""}</Text>
        </div>
      ))}
      <Text size="xs">{limited(provider) ? `${flying} calls now, ${asked} in the last minute` : "no limits of your own"}</Text>
    </Stack>
  );
}

function limited({ limits }: Provider): boolean {
  return limits.concurrency !== null || limits.requests_per_minute !== null || limits.tokens_per_minute !== null;
}

const FIELDS = [
  { name: "concurrency", label: "Calls at once" },
  { name: "requests_per_minute", label: "Calls a minute" },
  { name: "tokens_per_minute", label: "Tokens a minute" },
] as const;
type Filled = Record<(typeof FIELDS)[number]["name"], number | string>;

/** How many calls at once, and how much in a minute, over all workers. Empty: no limit. */
export function LimitsDialog({ provider }: { provider: Provider }) {
  const present = (): Filled => ({ concurrency: provider.limits.concurrency ?? "", requests_per_minute: provider.limits.requests_per_minute ?? "", tokens_per_minute: provider.limits.tokens_per_minute ?? "" });
  const [filled, setFilled] = useState(present);
  const submit = () => {
    const limit = (name: keyof Filled) => (filled[name] === "" ? null : Number(filled[name]));
    const limits = { concurrency: limit("concurrency"), requests_per_minute: limit("requests_per_minute"), tokens_per_minute: limit("tokens_per_minute") };
    return api.PATCH("/api/v1/providers/{provider_id}", { params: { path: { provider_id: provider.id } }, headers: ifVersion(provider.version), body: { limits } });
  };
  return (
    <Dialog small button="Limits" about={provider.name} title={`Limits of ${provider.name}`} send="Set them" renews={[["providers"], ["provider-health"]]} says="The limits are set." onOpen={() => setFilled(present())} submit={submit}>
      {(error) => (
        <Stack gap="sm">
          <Text size="sm">Over all workers, for your organization. What comes too early waits. Empty: no limit of your own.</Text>
          {FIELDS.map(({ name, label }) => <NumberInput key={name} label={label} min={1} allowDecimal={false} thousandSeparator="," value={filled[name]} onChange={(value) => setFilled((now) => ({ ...now, [name]: value }))} error={fieldErrors(error)[`limits.${name}`]} />)}
        </Stack>
      )}
    </Dialog>
  );
}
