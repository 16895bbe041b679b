import { Text } from "@mantine/core";
import { createFileRoute, useRouter } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Door } from "@/features/auth/Door";
import { safeReturn, tokenOfLink } from "@/features/auth/links";
import { type Asked, SignInForm } from "@/features/auth/SignInForm";

export const Route = createFileRoute("/sign-in")({
  validateSearch: (search): { return_to?: string } => (typeof search["return_to"] === "string" ? { return_to: search["return_to"] } : {}),
  component: SignInPage,
});

function SignInPage() {
  const { return_to } = Route.useSearch();
  const router = useRouter();
  const queries = useQueryClient();
  const [asked] = useState(askedByProvider);
  return (
    <Door title="Sign in">
      <SignInForm
        asked={asked}
        done={() => {
          queries.clear();
          router.history.push(safeReturn(return_to));
        }}
      />
      <Text size="xs" c="dimmed">
        The first person of a new server opens the set-up link that `shopfloor up` printed. By single sign-on: open the link that your admin gave you.
      </Text>
    </Door>
  );
}

/** Back from an identity provider that asks for a second factor here: `#challenge=...&kinds=totp,recovery`. */
function askedByProvider(): Asked | null {
  const found = new URLSearchParams(tokenOfLink());
  const challenge = found.get("challenge");
  if (!challenge) return null;
  return { challenge, kinds: (found.get("kinds") ?? "").split(","), expires_at: "", passkey: null };
}
