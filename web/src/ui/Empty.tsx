import { Code, Paper, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** Nothing here yet: what would be here, one thing to do about it, and the command line's way. */
export function Empty({ says, action, cli }: { says: string; action?: ReactNode; cli?: string }) {
  return (
    <Paper withBorder p="xl">
      <Stack align="center" gap="sm">
        <Text ta="center">{says}</Text>
        {action}
        {cli ? <Code className="wrap-anywhere">{cli}</Code> : null}
      </Stack>
    </Paper>
  );
}
