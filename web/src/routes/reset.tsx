import { createFileRoute, useRouter } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "@/api/client";
import { Door } from "@/features/auth/Door";
import { LinkForm } from "@/features/auth/LinkForm";
import { tokenOfLink } from "@/features/auth/links";

export const Route = createFileRoute("/reset")({ component: LinkPage });

function LinkPage() {
  const router = useRouter();
  const queries = useQueryClient();
  const [token] = useState(tokenOfLink);
  return (
    <Door title="Choose a new password" about="Every session of your account ends with it; sign in with the new one then.">
      <LinkForm
        token={token} fields={["password"]} button="Keep this password"
        send={async (filled) => {
          await api.POST("/api/v1/auth/password/reset", { body: { token: filled.token, password: filled.password } });
          queries.clear();
          router.history.push("/sign-in");
        }}
      />
    </Door>
  );
}
