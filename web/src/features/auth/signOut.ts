import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, keepCsrfToken } from "@/api/client";

/** Ends the session here and on the server, and forgets what was read in it. */
export function useSignOut() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: () => api.POST("/api/v1/auth/sign-out"),
    onSuccess: async () => {
      keepCsrfToken(null);
      await navigate({ to: "/sign-in" });
      queries.clear();
    },
  });
}
