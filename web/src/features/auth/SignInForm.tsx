import { Anchor, Button, Divider, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { api, data, keepCsrfToken } from "@/api/client";
import type { components } from "@/api/schema";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconKey } from "@/ui/icons";
import { passkeyOptions, passkeysWork, showPasskey } from "./passkey";
import { SecondFactorForm } from "./SecondFactorForm";

export type SignInReply = components["schemas"]["SignInReply"];
export type Opened = components["schemas"]["SessionOpened"];
export type Asked = components["schemas"]["SecondFactorAsked"];

interface SignInFormProps {
  done: (session: Opened) => void;
  asked?: Asked | null; // a second factor that is already asked for: back from a provider
}

/** Address and password, or a passkey; then the second factor where there is one. */
export function SignInForm({ done, asked: askedBefore = null }: SignInFormProps) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [asked, setAsked] = useState<Asked | null>(askedBefore);
  const take = (reply: SignInReply | null) => {
    if (reply?.session) {
      keepCsrfToken(reply.session.csrf_token ?? null);
      done(reply.session);
    } else if (reply) setAsked(reply.second_factor ?? null);
  };
  const byPassword = useMutation({
    meta: { quiet: true },
    mutationFn: () => data(api.POST("/api/v1/auth/sign-in", { body: { email, password, kind: "browser" } })),
    onSuccess: take,
  });
  const byPasskey = useMutation({
    meta: { quiet: true },
    mutationFn: async () => {
      const credential = await showPasskey(await passkeyOptions());
      return credential === null ? null : data(api.POST("/api/v1/auth/passkeys/sign-in", { body: { credential, kind: "browser" } as never }));
    },
    onSuccess: take,
  });
  if (asked) return <SecondFactorForm asked={asked} done={take} back={() => setAsked(null)} />;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    byPasskey.reset();
    byPassword.mutate();
  };
  const error = byPassword.error ?? byPasskey.error;
  return (
    <Stack gap="md">
      {error ? <ErrorPanel error={error} /> : null}
      <form onSubmit={submit}>
        <Stack gap="sm">
          <TextInput label="E-mail address" type="email" autoComplete="username" required data-autofocus value={email} onChange={(event) => setEmail(event.currentTarget.value)} />
          <PasswordInput label="Password" autoComplete="current-password" required value={password} onChange={(event) => setPassword(event.currentTarget.value)} visibilityToggleButtonProps={{ "aria-label": "Show the password" }} />
          <Button type="submit" loading={byPassword.isPending}>Sign in</Button>
        </Stack>
      </form>
      <Anchor component={Link} to="/forgot" size="sm">I forgot my password</Anchor>
      {passkeysWork ? (
        <>
          <Divider label="or" />
          <Button variant="default" leftSection={<IconKey size={16} aria-hidden />} loading={byPasskey.isPending} onClick={() => byPasskey.mutate()}>
            Sign in with a passkey
          </Button>
        </>
      ) : null}
    </Stack>
  );
}
