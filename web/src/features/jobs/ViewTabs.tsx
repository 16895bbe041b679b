import { ActionIcon, Badge, Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { IconPlus, IconX } from "@/ui/icons";
import { jobsPage, PAGE } from "./queries";
import { parseQuery } from "./query";
import { BUILT_IN, dropView, ownViews, saveView, type View } from "./views";

const COUNTED_EVERY_MS = 30_000;

/** Saved views with how many jobs each holds; counted up to a page. */
export function ViewTabs({ q, setQ }: { q: string; setQ: (q: string) => void }) {
  const [own, setOwn] = useState<View[]>(() => ownViews());
  const views = [...BUILT_IN, ...own];
  const counts = useQueries({
    queries: views.map((view) => ({
      queryKey: ["jobs", "newest", view.q],
      queryFn: () => jobsPage(parseQuery(view.q).filters),
      refetchInterval: COUNTED_EVERY_MS,
    })),
  });
  return (
    <Group gap="xs" role="group" aria-label="Views">
      {views.map((view, index) => {
        const page = counts[index]?.data;
        const here = view.q === q;
        return (
          <Group key={view.name} gap={0} wrap="nowrap">
            <Button
              size="compact-sm" variant={here ? "filled" : "default"} aria-current={here ? "true" : undefined} onClick={() => setQ(view.q)}
              rightSection={page ? <Badge size="xs" variant="default" circle={page.items.length < 10}>{page.next_cursor ? `${PAGE}+` : page.items.length}</Badge> : undefined}
            >
              {view.name}
            </Button>
            {own.includes(view) && here ? (
              <ActionIcon size="sm" variant="subtle" color="gray" aria-label={`Forget the view ${view.name}`} onClick={() => setOwn(dropView(view.name))}>
                <IconX size={14} aria-hidden />
              </ActionIcon>
            ) : null}
          </Group>
        );
      })}
      {q !== "" && !views.some((view) => view.q === q) ? <SaveView q={q} saved={setOwn} /> : null}
    </Group>
  );
}

function SaveView({ q, saved }: { q: string; saved: (views: View[]) => void }) {
  const [opened, setOpened] = useState(false);
  const [name, setName] = useState("");
  const taken = BUILT_IN.some((view) => view.name.toLowerCase() === name.trim().toLowerCase());
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (taken || name.trim() === "") return;
    saved(saveView({ name: name.trim(), q }));
    setOpened(false);
  };
  return (
    <>
      <Button size="compact-sm" variant="subtle" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setOpened(true)}>Save as a view</Button>
      <Modal opened={opened} onClose={() => setOpened(false)} title="Save this filter as a view" closeButtonProps={{ "aria-label": "Close" }}>
        <form onSubmit={onSubmit}>
          <Stack gap="sm">
            <TextInput
              data-autofocus required maxLength={40} label="Name" description="It is kept in this browser." value={name}
              onChange={(event) => setName(event.currentTarget.value)} error={taken ? "A view that comes with the app is called that." : undefined}
            />
            <Group justify="flex-end"><Button type="submit">Save</Button></Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}
