import { Code, Group, Paper, Stack, Text } from "@mantine/core";
import type { Job } from "@/features/jobs/queries";
import { duration } from "@/lib/format";
import { IconCheck, IconX } from "@/ui/icons";

interface Check {
  command: string;
  passed: boolean;
  exit_code: number | null;
  timed_out: boolean;
  duration_s: number;
  output: string;
}

/** The platform's own checks of the result, beside how they did before the work. */
export function Checks({ job }: { job: Job }) {
  const after = (job.check_results ?? []) as unknown as Check[];
  const before = new Map(((job.baseline ?? []) as unknown as Check[]).map((each) => [each.command, each]));
  const shown = after.length > 0 ? after : [...before.values()];
  if (shown.length === 0) return null;
  return (
    <Paper withBorder p="sm" component="section" aria-label="Checks">
      <Text size="sm" fw={600}>{after.length > 0 ? "Checks of the result, by the platform, in a fresh sandbox" : "Checks before the work"}</Text>
      <Stack gap={4} mt={4}>
        {shown.map((each) => <CheckRow key={each.command} check={each} before={after.length > 0 ? before.get(each.command) : undefined} />)}
      </Stack>
    </Paper>
  );
}

function CheckRow({ check, before }: { check: Check; before: Check | undefined }) {
  const how = check.timed_out ? "timed out" : `exit ${check.exit_code ?? "?"}`;
  const was = before ? `, before: ${before.passed ? "passed" : "failed"}` : "";
  return (
    <details>
      <summary>
        <Group gap={6} wrap="wrap" component="span" style={{ display: "inline-flex", maxWidth: "calc(100% - 1.5rem)", verticalAlign: "top" }}>
          {check.passed ? <IconCheck size={14} aria-hidden /> : <IconX size={14} aria-hidden />}
          <Text span size="sm" fw={600}>{check.passed ? "passed" : "failed"}</Text>
          <Code className="wrap-anywhere">{check.command}</Code>
          <Text span size="xs" c="dimmed">{how}, {duration(check.duration_s)}{was}</Text>
        </Group>
      </summary>
      <Code block className="wrap-anywhere" tabIndex={0} style={{ whiteSpace: "pre-wrap", maxHeight: "20rem", overflow: "auto" }}>{check.output || "no output"}</Code>
    </details>
  );
}
