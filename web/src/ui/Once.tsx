import { Button, Code, CopyButton, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconCopy } from "./icons";

/** What is shown this once: a key, a link. */
export function Once({ label, text, about, close }: { label: string; text: string; about: string; close: () => void }) {
  return (
    <Stack gap="sm">
      <Text size="sm">{about}</Text>
      <Code block className="wrap-anywhere" aria-label={label}>{text}</Code>
      <Group justify="flex-end">
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Button variant="default" onClick={copy} leftSection={copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}>
              {copied ? "Copied" : "Copy"}
            </Button>
          )}
        </CopyButton>
        <Button onClick={close}>I have kept it</Button>
      </Group>
    </Stack>
  );
}
