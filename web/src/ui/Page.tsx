import { Group, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";

interface PageProps {
  title: string;
  about?: ReactNode;
  actions?: ReactNode;
  heading?: ReactNode; // instead of the title, where it is more than a text
  children: ReactNode;
}

/** The frame of each page: the tab's title, one h1 that takes the focus when the route changes, and the page's actions. */
export function Page({ title, about, actions, heading, children }: PageProps) {
  useTitle(title);
  const first = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // Not over a field that asks for the focus itself.
    if (document.activeElement === document.body || document.activeElement?.closest("nav")) first.current?.focus();
  }, []);
  return (
    <Stack gap="lg">
      <Group justify="space-between" align="flex-start">
        <Stack gap={2}>
          <Title order={1} ref={first} tabIndex={-1}>{heading ?? title}</Title>
          {about ? <Text c="dimmed" size="sm">{about}</Text> : null}
        </Stack>
        {actions ? <Group gap="xs">{actions}</Group> : null}
      </Group>
      {children}
    </Stack>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Shopfloor`;
  }, [title]);
}
