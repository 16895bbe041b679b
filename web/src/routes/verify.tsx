import { createFileRoute, useRouter } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "@/api/client";
import { Door } from "@/features/auth/Door";
import { LinkForm } from "@/features/auth/LinkForm";
import { tokenOfLink } from "@/features/auth/links";

export const Route = createFileRoute("/verify")({ component: LinkPage });

function LinkPage() {
  const router = useRouter();
  const queries = useQueryClient();
  const [token] = useState(tokenOfLink);
  return (
    <Door title="Confirm your address" about="The link shows that the mail came to you.">
      <LinkForm
        token={token} fields={[]} button="Confirm"
        send={async (filled) => {
          await api.POST("/api/v1/auth/email/verify", { body: { token: filled.token } });
          queries.clear();
          router.history.push("/");
        }}
      />
    </Door>
  );
}
