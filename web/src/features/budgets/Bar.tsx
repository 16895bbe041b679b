import { Progress, Text } from "@mantine/core";
import type { Budget } from "./queries";
import { dollars, parts, standing } from "./standing";

/** Spent, held and limit as a bar, with the same numbers under it: nobody has to read colours. */
export function Bar({ budget }: { budget: Budget }) {
  const { spent, held } = parts(budget);
  const raised = Number(budget.raised_usd) > 0 ? ` + ${dollars(budget.raised_usd)} raised` : "";
  return (
    <div style={{ minWidth: 200 }}>
      <div aria-hidden>
        <Progress.Root size="lg">
          <Progress.Section value={spent} color={standing(budget).is === "bad" ? "red" : "blue"} />
          <Progress.Section value={held} color="yellow" />
        </Progress.Root>
      </div>
      <Text size="sm">
        {dollars(budget.spent_usd)} spent{Number(budget.held_usd) > 0 ? `, ${dollars(budget.held_usd)} held` : ""} of {dollars(budget.limit_usd)}{raised}{budget.percent === null ? "" : ` (${budget.percent} %)`}
      </Text>
    </div>
  );
}
