import { Alert, Button, Code, Group, Stack, Text } from "@mantine/core";
import { told } from "@/api/errors";
import { IconAlert } from "./icons";

/** An error as a person needs it: what happened, why and what to do next, and the id for whoever reads the logs. */
export function ErrorPanel({ error, retry }: { error: unknown; retry?: () => void }) {
  const { title, detail, id, retryable } = told(error);
  return (
    <Alert role="alert" color="red" variant="light" icon={<IconAlert aria-hidden />} title={title}>
      <Stack gap="xs">
        <Text size="sm" className="wrap-anywhere" c="var(--mantine-color-text)">{detail}</Text>
        <Group gap="md">
          {retry && retryable ? <Button size="compact-sm" variant="default" onClick={retry}>Try again</Button> : null}
          {id && id !== "about:blank" ? (
            <Text size="xs" c="var(--mantine-color-text)">Request <Code>{id}</Code></Text>
          ) : null}
        </Group>
      </Stack>
    </Alert>
  );
}
