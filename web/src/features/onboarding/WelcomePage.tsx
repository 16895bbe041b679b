import { Anchor, Code, Group, Paper, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { api, data } from "@/api/client";
import { useMay } from "@/api/session";
import { PriceDialog } from "@/features/providers/PriceDialog";
import { ProviderDialog } from "@/features/providers/ProviderDialog";
import { modelsQuery } from "@/features/providers/queries";
import { TestButton } from "@/features/providers/TestButton";
import { InviteDialog } from "@/features/settings/MembersPage";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { FirstJob } from "./FirstJob";
import { type Repository, RepositoryForm } from "./RepositoryForm";

/** From an empty server to a first job, in four steps. What is done already is seen by looking, not by a flag. */
export function WelcomePage() {
  const providers = useQuery({ queryKey: ["providers", "welcome"], queryFn: () => data(api.GET("/api/v1/providers")) }).data?.items ?? [];
  const jobs = useQuery({ queryKey: ["jobs", "welcome"], queryFn: () => data(api.GET("/api/v1/jobs", { params: { query: { limit: 1 } } })) }).data?.items ?? [];
  const [repository, setRepository] = useState<Repository | null>(null);
  const mayInvite = useMay("member.edit");
  const mayAdd = useMay("provider.edit");
  return (
    <Page title="Welcome" about="Four steps to the first job. You can leave at any time: each is on its own page, too.">
      <Step number={1} title="Who does the thinking" done={providers.length > 0}>
        <Text size="sm">An agent needs a model. Add the key of a provider and test it; or the mock provider, which costs nothing and answers from a file.</Text>
        {providers.map((each) => <Group key={each.id}><Text size="sm">{each.name}</Text>{mayAdd ? <TestButton provider={each} /> : null}</Group>)}
        {mayAdd ? <Group><ProviderDialog /></Group> : <Text size="sm">Somebody who may change providers adds one.</Text>}
        {providers.length > 0 ? <Priced /> : null}
      </Step>
      <Step number={2} title="What it works on" done={repository !== null}>
        <RepositoryForm chosen={repository} choose={setRepository} />
      </Step>
      <Step number={3} title="The first job" done={jobs.length > 0}>
        {providers.length === 0 ? <Text size="sm">After the first step.</Text> : <FirstJob repository={repository} />}
      </Step>
      <Step number={4} title="Who else" done={false}>
        <Text size="sm">{mayInvite ? "Invite the others; each gets a role." : "Somebody who may invite brings the others in."}</Text>
        {mayInvite ? <Group><InviteDialog /></Group> : null}
      </Step>
      <Text size="sm">
        All of it from a terminal, on a sample repository: <Code>shopfloor demo</Code>. Then: <Anchor component={Link} to="/jobs" size="sm">your jobs</Anchor>.
      </Text>
    </Page>
  );
}

function Step({ number, title, done, children }: { number: number; title: string; done: boolean; children: ReactNode }) {
  return (
    <Paper withBorder p="md" component="section" aria-labelledby={`step-${number}`}>
      <Stack gap="sm">
        <Group justify="space-between">
          <Title order={2} id={`step-${number}`}>{number}. {title}</Title>
          {done ? <Status is="good">done</Status> : null}
        </Group>
        {children}
      </Stack>
    </Paper>
  );
}

const SHOWN = 3;

function Priced() {
  const models = useQuery(modelsQuery).data?.items ?? [];
  const mayPrice = useMay("price.edit");
  if (models.length === 0 || models.some((each) => each.priced)) return null;
  return (
    <Stack gap="xs">
      <Text size="sm">No model of it has a known price, and what has none is refused: no budget could hold it.</Text>
      {mayPrice ? models.slice(0, SHOWN).map((each) => <Group key={each.ref}><Text size="sm">{each.ref}</Text><PriceDialog model={each} /></Group>) : null}
    </Stack>
  );
}
