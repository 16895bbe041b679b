import { Code, NativeSelect, PasswordInput, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, ifVersion } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { Dialog } from "@/ui/Dialog";
import { PROVIDERS } from "./queries";

type Kind = Api["ProviderNew"]["kind"];

export const KINDS: { value: Kind; label: string }[] = [
  { value: "anthropic", label: "Anthropic" },
  { value: "openai", label: "OpenAI" },
  { value: "google", label: "Google" },
  { value: "xai", label: "xAI" },
  { value: "groq", label: "Groq" },
  { value: "mistral", label: "Mistral" },
  { value: "bedrock", label: "Amazon Bedrock" },
  { value: "openrouter", label: "OpenRouter" },
  { value: "openai-compatible", label: "Your own server (OpenAI-compatible)" },
  { value: "mock", label: "The mock provider, to try things out" },
];
export const OWN_ADDRESS: ReadonlySet<Kind> = new Set<Kind>(["openai-compatible", "mock"]);

/** Adds a provider, or gives one a new key or address. Keys go in and never come out. */
export function ProviderDialog({ provider }: { provider?: Api["ProviderReply"] }) {
  const fresh = () => ({ kind: (provider?.kind ?? "anthropic") as Kind, name: "", api_key: "", base_url: provider?.base_url ?? "", region: provider?.region ?? "" });
  const [filled, setFilled] = useState(fresh);
  const set = (name: keyof typeof filled) => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget;
    setFilled((now) => ({ ...now, [name]: value }));
  };
  const submit = () => {
    const place = { ...(filled.base_url ? { base_url: filled.base_url } : {}), ...(filled.region ? { region: filled.region } : {}) };
    const key = filled.api_key ? { api_key: filled.api_key } : {};
    if (!provider) return api.POST("/api/v1/providers", { body: { kind: filled.kind, name: filled.name || filled.kind, ...key, ...place } });
    return api.PATCH("/api/v1/providers/{provider_id}", { params: { path: { provider_id: provider.id } }, headers: ifVersion(provider.version), body: { ...key, ...place } });
  };
  return (
    <Dialog
      small={provider !== undefined} button={provider ? "Edit" : "Add a provider"} about={provider?.name} title={provider ? `Change ${provider.name}` : "Add a provider"} send={provider ? "Change it" : "Add it"}
      renews={PROVIDERS} says={provider ? "The provider is changed." : "The provider is added. Test it now."} onOpen={() => setFilled(fresh())} submit={submit}
    >
      {(error) => {
        const wrong = fieldErrors(error);
        return (
          <>
            {provider ? null : (
              <>
                <NativeSelect label="Who" data={KINDS} value={filled.kind} onChange={set("kind")} />
                <TextInput label="Name" description="Models are called name/model." placeholder={filled.kind} value={filled.name} onChange={set("name")} error={wrong["name"]} />
              </>
            )}
            {filled.kind === "mock" ? <MockHelp /> : null}
            <PasswordInput label={provider ? "New key" : "Key"} description={provider ? "Empty: the present one stays." : "Kept encrypted, never shown again."} autoComplete="off" value={filled.api_key} onChange={set("api_key")} error={wrong["api_key"]} visibilityToggleButtonProps={{ "aria-label": "Show what I type" }} />
            {OWN_ADDRESS.has(filled.kind) ? <TextInput label="Address" placeholder="http://127.0.0.1:8399/v1" value={filled.base_url} onChange={set("base_url")} error={wrong["base_url"]} /> : null}
            {filled.kind === "bedrock" ? <TextInput label="Region" placeholder="eu-central-1" value={filled.region} onChange={set("region")} error={wrong["region"]} /> : null}
          </>
        );
      }}
    </Dialog>
  );
}

export function MockHelp() {
  return (
    <Text size="sm">
      Start it with <Code>shopfloor mock-provider --scenario demo --port 8399</Code>, and this server with{" "}
      <Code>SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE=true</Code>. Any key that begins with <Code>sk-mock-</Code> fits.
    </Text>
  );
}
