import { Anchor, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { passkeysWork, showPasskey } from "./passkey";
import type { Asked, SignInReply } from "./SignInForm";

type Kind = "totp" | "recovery" | "passkey";

const NAMES: Record<Kind, string> = {
  totp: "Use the authenticator app",
  recovery: "Use a recovery code",
  passkey: "Use a passkey",
};

/** The proof that a sign-in asks for beside the password. */
export function SecondFactorForm({ asked, done, back }: { asked: Asked; done: (reply: SignInReply) => void; back: () => void }) {
  // Back from a provider there are no options for a passkey: the challenge came by the address alone.
  const kinds = (asked.kinds as Kind[]).filter((each) => each !== "passkey" || (passkeysWork && asked.passkey));
  const [kind, setKind] = useState<Kind>(kinds[0] ?? "recovery");
  const [code, setCode] = useState("");
  const prove = useMutation({
    meta: { quiet: true },
    mutationFn: async () => {
      const passkey = kind === "passkey" ? await showPasskey(asked.passkey ?? {}) : null;
      if (kind === "passkey" && !passkey) return null;
      const proof = kind === "passkey" ? { passkey } : { code: code.replaceAll(" ", "") };
      return data(api.POST("/api/v1/auth/second-factor", { body: { challenge: asked.challenge, kind, ...proof } }));
    },
    onSuccess: (reply) => reply && done(reply),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    prove.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <Text size="sm">Your account has a second factor. It is asked for each time you sign in.</Text>
        {prove.error ? <ErrorPanel error={prove.error} /> : null}
        {kind === "passkey" ? null : (
          <TextInput
            key={kind} data-autofocus autoFocus required value={code} autoComplete="one-time-code" inputMode={kind === "totp" ? "numeric" : "text"}
            label={kind === "totp" ? "Code of the authenticator app" : "Recovery code"}
            description={kind === "totp" ? "Six digits; a new code comes every 30 seconds." : "One of those you kept; each is good once."}
            onChange={(event) => setCode(event.currentTarget.value)}
          />
        )}
        <Button type="submit" loading={prove.isPending}>{kind === "passkey" ? "Show the passkey" : "Go on"}</Button>
        <Group gap="md">
          {kinds.filter((each) => each !== kind).map((each) => (
            <Anchor key={each} component="button" type="button" size="sm" onClick={() => setKind(each)}>{NAMES[each]}</Anchor>
          ))}
          <Anchor component="button" type="button" size="sm" onClick={back}>Begin again</Anchor>
        </Group>
      </Stack>
    </form>
  );
}
