import { Anchor } from "@mantine/core";
import { createFileRoute, Link } from "@tanstack/react-router";
import { Empty } from "@/ui/Empty";
import { Page } from "@/ui/Page";

export const Route = createFileRoute("/_app/jobs/")({
  component: () => (
    <Page title="Jobs">
      <Empty says="No job yet." action={<Anchor component={Link} to="/welcome">Set up the first one</Anchor>} cli='shopfloor job submit "what is to be done"' />
    </Page>
  ),
});
