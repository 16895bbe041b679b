import { createFileRoute, useRouter } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, keepCsrfToken } from "@/api/client";
import { Door } from "@/features/auth/Door";
import { LinkForm } from "@/features/auth/LinkForm";
import { tokenOfLink } from "@/features/auth/links";

export const Route = createFileRoute("/setup")({ component: LinkPage });

function LinkPage() {
  const router = useRouter();
  const queries = useQueryClient();
  const [token] = useState(tokenOfLink);
  return (
    <Door title="Set up the first owner" about="This is your organization's first account. It may do everything, and invites the others.">
      <LinkForm
        token={token} fields={["name", "email", "password"]} button="Begin"
        send={async (filled) => {
          const reply = await data(api.POST("/api/v1/auth/setup", { body: { ...filled, kind: "browser" } }));
          keepCsrfToken(reply.session?.csrf_token ?? null);
          queries.clear();
          router.history.push("/welcome");
        }}
      />
    </Door>
  );
}
