import { createFileRoute, redirect } from "@tanstack/react-router";
import { ApiError } from "@/api/errors";
import { meQuery } from "@/api/session";
import { Shell } from "@/ui/Shell";

/** Every page behind a sign-in: the shell with the page inside. */
export const Route = createFileRoute("/_app")({
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queries.ensureQueryData(meQuery);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { return_to: location.href } });
      }
      if (error instanceof ApiError && error.code === "second-factor-required") throw redirect({ to: "/second-factor" });
      throw error;
    }
  },
  component: Shell,
});
