import { Anchor, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/session";
import { DataTable } from "@/ui/DataTable";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { Bar } from "./Bar";
import { NewBudget } from "./NewBudget";
import { type Budget, budgetsPage } from "./queries";
import { standing } from "./standing";

const PERIODS = { day: "a day", week: "a week", month: "a month", total: "in all" };

/** `acme a month`: whose money, and in which time. */
export function nameOf(budget: Budget): string {
  return `${budget.scope.name} ${PERIODS[budget.period]}`;
}

/** What may be spent, by whom, and how much of it is left. */
export function BudgetsPage() {
  const may = useMay("budget.edit");
  return (
    <Page title="Cost and budgets" about="Money is held before each call and settled after it: a hard budget is never overspent." actions={may ? <NewBudget /> : undefined}>
      <List queryKey={["budgets"]} page={budgetsPage} empty={<Empty says="No budget yet: nothing but each job's own limit stops spending." action={may ? <NewBudget /> : undefined} cli="shopfloor budget create --limit 250 --period month" />}>
        {(items: Budget[]) => (
          <DataTable
            label="Budgets" rows={items} id={(each) => each.id}
            columns={[
              { name: "Budget", cell: (each) => <Name of={each} /> },
              { name: "Spent of its limit", cell: (each) => <Bar budget={each} /> },
              { name: "Stands", cell: (each) => <Standing of={each} /> },
            ]}
          />
        )}
      </List>
    </Page>
  );
}

function Name({ of: budget }: { of: Budget }) {
  return (
    <>
      <Anchor component={Link} to={`/budgets/${budget.id}`}>{nameOf(budget)}</Anchor>
      <Text size="xs" c="dimmed">{budget.scope.type}{budget.hard ? "" : ", alerts only"}</Text>
    </>
  );
}

export function Standing({ of: budget }: { of: Budget }) {
  const { is, word } = standing(budget);
  return <Status is={is}>{word}</Status>;
}
