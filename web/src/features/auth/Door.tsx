import { Center, Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { useTitle } from "@/ui/Page";

/** The frame of the pages that are open to everybody. */
export function Door({ title, about, children }: { title: string; about?: ReactNode; children: ReactNode }) {
  useTitle(title);
  return (
    <Center component="main" mih="100vh" p="md">
      <Paper withBorder p="xl" w="100%" maw={420}>
        <Stack gap="md">
          <Text fw={700} c="dimmed">Shopfloor</Text>
          <Title order={1}>{title}</Title>
          {about ? <Text size="sm">{about}</Text> : null}
          {children}
        </Stack>
      </Paper>
    </Center>
  );
}
