import { createFileRoute, useRouter } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, keepCsrfToken } from "@/api/client";
import { Door } from "@/features/auth/Door";
import { LinkForm } from "@/features/auth/LinkForm";
import { tokenOfLink } from "@/features/auth/links";

export const Route = createFileRoute("/invitation")({ component: LinkPage });

function LinkPage() {
  const router = useRouter();
  const queries = useQueryClient();
  const [token] = useState(tokenOfLink);
  return (
    <Door title="Accept the invitation" about="Choose what you are called here, and a password.">
      <LinkForm
        token={token} fields={["name", "password"]} button="Come in"
        send={async (filled) => {
          const { email: _, ...body } = filled;
          const reply = await data(api.POST("/api/v1/auth/invitations/accept", { body: { ...body, kind: "browser" } }));
          keepCsrfToken(reply.session?.csrf_token ?? null);
          queries.clear();
          router.history.push("/");
        }}
      />
    </Door>
  );
}
