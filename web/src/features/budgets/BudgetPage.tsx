import { Alert, Button, Group, Stack, Text, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, data, ifVersion } from "@/api/client";
import { useMay } from "@/api/session";
import type { Api } from "@/api/types";
import { moment } from "@/lib/format";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconAlert } from "@/ui/icons";
import { List, Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { When } from "@/ui/When";
import { Bar } from "./Bar";
import { nameOf, Standing } from "./BudgetsPage";
import { ChangeBudget } from "./ChangeBudget";
import { BUDGETS, budgetQuery } from "./queries";
import { RaiseDialog } from "./RaiseDialog";
import { dollars } from "./standing";

type Detail = Api["BudgetDetail"];

/** One budget: how it stands, why it is paused and what to do, what the month will come to, its raises and alerts. */
export function BudgetPage({ id }: { id: string }) {
  const { data: found, error, refetch } = useQuery(budgetQuery(id));
  const may = useMay("budget.edit");
  if (error) return <Page title="Budget"><ErrorPanel error={error} retry={() => void refetch()} /></Page>;
  if (!found) return <Page title="Budget"><Waiting /></Page>;
  const budget = found.data;
  return (
    <Page title={`Budget of ${nameOf(budget)}`} actions={may ? <Actions of={budget} /> : undefined}>
      <Group><Standing of={budget} /><Text size="sm">{dollars(budget.left_usd)} left{budget.period_ends_at ? <>, the next {budget.period} begins {moment(budget.period_ends_at)}</> : null}</Text></Group>
      {budget.paused ? <Paused of={budget} may={may} /> : null}
      <Bar budget={budget} />
      <Forecast of={budget.forecast} />
      <Title order={2}>Open raises</Title>
      <Raises of={budget} may={may} />
      <Title order={2}>Alerts</Title>
      <List queryKey={["budget", id, "alerts"]} page={(cursor) => data(api.GET("/api/v1/budgets/{budget_id}/alerts", { params: { path: { budget_id: id }, query: cursor ? { cursor } : {} } }))} empty={<Text size="sm">None yet. It alerts at {budget.thresholds.join(", ")} % of its limit.</Text>}>
        {(items: Api["AlertReply"][]) => (
          <DataTable
            label="Alerts" rows={items} id={(each) => each.id}
            columns={[
              { name: "When", cell: (each) => <When at={each.created_at} /> },
              { name: "Reached", cell: (each) => `${each.threshold} %` },
              { name: "Spent of", cell: (each) => `${dollars(each.spent_usd)} of ${dollars(each.limit_usd)}` },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function Actions({ of: budget }: { of: Detail }) {
  const navigate = useNavigate();
  const remove = async () => {
    await api.DELETE("/api/v1/budgets/{budget_id}", { params: { path: { budget_id: budget.id } }, headers: ifVersion(budget.version) });
    await navigate({ to: "/budgets" });
  };
  return (
    <>
      <RaiseDialog budget={budget} />
      <ChangeBudget budget={budget} />
      <Dialog button="Remove" title="Remove the budget?" send="Remove" danger renews={[["budgets"]]} says="The budget is removed." submit={remove}>
        {() => <Text size="sm">Nothing is refused for it any more. Its alerts and periods stay on record.</Text>}
      </Dialog>
    </>
  );
}

function Paused({ of: budget, may }: { of: Detail; may: boolean }) {
  const queries = useQueryClient();
  const resuming = useMutation({
    mutationFn: () => api.POST("/api/v1/budgets/{budget_id}/resume", { params: { path: { budget_id: budget.id } } }),
    onSuccess: () => Promise.all(BUDGETS.map((queryKey) => queries.invalidateQueries({ queryKey }))),
  });
  const detail = budget.paused_because?.["detail"];
  return (
    <Alert role="status" color="red" variant="light" icon={<IconAlert aria-hidden />} title="Paused: jobs of its scope wait for money">
      <Stack gap="xs" align="flex-start" c="var(--mantine-color-text)">
        {typeof detail === "string" ? <Text size="sm">{detail}</Text> : null}
        <Text size="sm">Raise it for a while, change its limit, or wait{budget.period_ends_at ? ` until ${moment(budget.period_ends_at)}` : ""}. Jobs that wait go on by themselves.</Text>
        {may ? <Button size="compact-sm" variant="default" loading={resuming.isPending} onClick={() => resuming.mutate()}>Resume now</Button> : null}
      </Stack>
    </Alert>
  );
}

function Forecast({ of: forecast }: { of: Detail["forecast"] }) {
  return (
    <Text size="sm">
      By {moment(forecast.month_ends_at)} about <b>{dollars(forecast.expected_usd)}</b> will be spent, likely {dollars(forecast.low_usd)} to {dollars(forecast.high_usd)}, at {dollars(forecast.daily_usd)} a day.
      {forecast.limit_reached_at ? ` At that rate its limit is reached ${moment(forecast.limit_reached_at)}.` : ""}
      {forecast.confident ? "" : " Fewer than three days of history: a guess."}
    </Text>
  );
}

function Raises({ of: budget, may }: { of: Detail; may: boolean }) {
  if (budget.raises.length === 0) return <Text size="sm">None.</Text>;
  const end = (raise: Api["RaiseReply"]) => api.POST("/api/v1/budgets/{budget_id}/raises/{raise_id}/end", { params: { path: { budget_id: budget.id, raise_id: raise.id } } });
  return (
    <div className="scroll-x">
      <DataTable
        label="Open raises" rows={budget.raises} id={(each) => each.id}
        columns={[
          { name: "By", cell: (each) => dollars(each.amount_usd) },
          { name: "Until", cell: (each) => <When at={each.expires_at} /> },
          { name: "Why", cell: (each) => each.reason },
          { name: "Actions", cell: (each) => (may ? <Dialog small button="End" about={each.reason} title="End the raise now?" send="End it" renews={BUDGETS} says="The raise is over." submit={() => end(each)}>{() => <Text size="sm">Calls that the limit alone can't pay are refused from now on.</Text>}</Dialog> : null) },
        ]}
      />
    </div>
  );
}
