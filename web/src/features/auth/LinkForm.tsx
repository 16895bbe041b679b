import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { fieldErrors } from "@/api/errors";
import { ErrorPanel } from "@/ui/ErrorPanel";

export interface Filled {
  token: string;
  name: string;
  email: string;
  password: string;
}

interface LinkFormProps {
  token: string;
  fields: ("name" | "email" | "password")[];
  button: string;
  send: (filled: Filled) => Promise<void>;
}

/** What a one-time link asks for. Without its token the link itself can be pasted. */
export function LinkForm({ token, fields, button, send }: LinkFormProps) {
  const [filled, setFilled] = useState<Filled>({ token, name: "", email: "", password: "" });
  const set = (name: keyof Filled) => (event: { currentTarget: { value: string } }) => {
    const { value } = event.currentTarget;
    setFilled((now) => ({ ...now, [name]: value }));
  };
  const sending = useMutation({ meta: { quiet: true }, mutationFn: () => send({ ...filled, token: filled.token.split("#").at(-1) ?? "" }) });
  const wrong = fieldErrors(sending.error);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    sending.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        {sending.error ? <ErrorPanel error={sending.error} /> : null}
        {token ? null : <TextInput label="The link you were given" required value={filled.token} onChange={set("token")} error={wrong["token"]} />}
        {fields.includes("name") ? <TextInput label="Your name" autoComplete="name" required value={filled.name} onChange={set("name")} error={wrong["name"]} /> : null}
        {fields.includes("email") ? <TextInput label="E-mail address" type="email" autoComplete="username" required value={filled.email} onChange={set("email")} error={wrong["email"]} /> : null}
        {fields.includes("password") ? (
          <PasswordInput
            label="Password" description="8 to 128 characters, any of them. A sentence of your own is good." autoComplete="new-password"
            required minLength={8} value={filled.password} onChange={set("password")} error={wrong["password"]}
            visibilityToggleButtonProps={{ "aria-label": "Show the password" }}
          />
        ) : null}
        <Button type="submit" loading={sending.isPending}>{button}</Button>
      </Stack>
    </form>
  );
}
