import { Anchor, Button, Stack, Text, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { createFileRoute, Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { api } from "@/api/client";
import { Door } from "@/features/auth/Door";
import { ErrorPanel } from "@/ui/ErrorPanel";

export const Route = createFileRoute("/forgot")({ component: ForgotPage });

function ForgotPage() {
  const [email, setEmail] = useState("");
  const asking = useMutation({ meta: { quiet: true }, mutationFn: () => api.POST("/api/v1/auth/password/forgot", { body: { email } }) });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    asking.mutate();
  };
  return (
    <Door title="Forgotten password">
      {asking.isSuccess ? (
        <Text role="status">
          If there is an account with this address and this server sends mail, a link is on its way; it is good for 30 minutes. Without
          mail, an admin makes one: <code>shopfloor member setup-link {email}</code>.
        </Text>
      ) : (
        <form onSubmit={submit}>
          <Stack gap="sm">
            {asking.error ? <ErrorPanel error={asking.error} /> : null}
            <TextInput label="E-mail address" type="email" autoComplete="username" required value={email} onChange={(event) => setEmail(event.currentTarget.value)} />
            <Button type="submit" loading={asking.isPending}>Send me a link</Button>
          </Stack>
        </form>
      )}
      <Anchor component={Link} to="/sign-in" size="sm">Back to signing in</Anchor>
    </Door>
  );
}
