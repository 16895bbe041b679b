import { useQueryClient } from "@tanstack/react-query";
import { createFileRoute, useRouter } from "@tanstack/react-router";
import { Door } from "@/features/auth/Door";
import { TotpEnrol } from "@/features/auth/TotpEnrol";

export const Route = createFileRoute("/second-factor")({ component: SecondFactorPage });

function SecondFactorPage() {
  const router = useRouter();
  const queries = useQueryClient();
  return (
    <Door title="Set up a second factor" about="Your organization asks for one before anything else.">
      <TotpEnrol
        done={() => {
          queries.clear();
          router.history.push("/");
        }}
      />
    </Door>
  );
}
