import { Anchor, Button, Code, Stack, Text, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import { ErrorPanel } from "@/ui/ErrorPanel";

/** Sets up an authenticator app: its secret, a first code, and the recovery codes that come with the first factor. */
export function TotpEnrol({ done }: { done: () => void }) {
  const [code, setCode] = useState("");
  const begin = useMutation({ meta: { quiet: true }, mutationFn: () => data(api.POST("/api/v1/me/factors/totp")) });
  const confirm = useMutation({
    meta: { quiet: true },
    mutationFn: () => data(api.POST("/api/v1/me/factors/totp/confirm", { body: { code: code.replaceAll(" ", "") } })),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    confirm.mutate();
  };
  if (confirm.data) return <RecoveryCodes codes={confirm.data.recovery_codes} done={done} />;
  if (!begin.data) {
    return (
      <Stack gap="sm">
        {begin.error ? <ErrorPanel error={begin.error} /> : null}
        <Button onClick={() => begin.mutate()} loading={begin.isPending}>Set up an authenticator app</Button>
      </Stack>
    );
  }
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <Text size="sm">
          Add this to your authenticator app: type the secret, or <Anchor href={begin.data.uri} size="sm">open it on this device</Anchor>.
        </Text>
        <Code block className="wrap-anywhere">{begin.data.secret}</Code>
        {confirm.error ? <ErrorPanel error={confirm.error} /> : null}
        <TextInput label="Code that the app shows" inputMode="numeric" autoComplete="one-time-code" required value={code} onChange={(event) => setCode(event.currentTarget.value)} />
        <Button type="submit" loading={confirm.isPending}>Confirm</Button>
      </Stack>
    </form>
  );
}

/** Shown once. */
export function RecoveryCodes({ codes, done }: { codes: string[]; done: () => void }) {
  return (
    <Stack gap="sm">
      {codes.length > 0 ? (
        <>
          <Text size="sm">Keep these recovery codes where you find them without this device. They are shown this once; each is good once.</Text>
          <Code block>{codes.join("\n")}</Code>
        </>
      ) : <Text size="sm">Done.</Text>}
      <Button onClick={done}>{codes.length > 0 ? "I have kept them" : "Go on"}</Button>
    </Stack>
  );
}
