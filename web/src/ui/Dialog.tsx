import { Button, Group, Modal, Stack } from "@mantine/core";
import { useMutation, useQueryClient, type QueryKey } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { ErrorPanel } from "./ErrorPanel";
import { saySaved } from "./toast";

interface DialogProps<T> {
  button: string; // what opens it
  title: string;
  send: string; // what its own button says
  danger?: boolean;
  small?: boolean; // its opener stands in a row of a table
  about?: string; // for screen readers: which row
  disabled?: boolean;
  children: (error: unknown) => ReactNode; // the fields
  submit: () => Promise<T>;
  renews: QueryKey[]; // what is read anew then
  says?: string; // once it is done
  shows?: (result: T, close: () => void) => ReactNode; // instead of closing: a secret that is shown once
  onOpen?: () => void;
}

/** A button that opens a form, waits for the server, and says beside the form what went wrong. */
export function Dialog<T>(props: DialogProps<T>) {
  const { button, title, send, danger, small, about, disabled, children, submit, renews, says, shows, onOpen } = props;
  const [opened, setOpened] = useState(false);
  const queries = useQueryClient();
  const sending = useMutation({
    meta: { quiet: true },
    mutationFn: submit,
    onSuccess: async () => {
      await Promise.all(renews.map((queryKey) => queries.invalidateQueries({ queryKey })));
      if (says) saySaved(says);
      if (!shows) setOpened(false);
    },
  });
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    sending.mutate();
  };
  const open = () => {
    sending.reset();
    onOpen?.();
    setOpened(true);
  };
  const close = () => setOpened(false);
  return (
    <>
      <Button
        variant={small ? "default" : danger ? "outline" : "filled"} color={danger && !small ? "red" : undefined} size={small ? "compact-sm" : "sm"}
        onClick={open} disabled={disabled} aria-label={about ? `${button}: ${about}` : undefined}
      >
        {button}
      </Button>
      <Modal opened={opened} onClose={close} title={title} closeButtonProps={{ "aria-label": "Close" }}>
        {shows && sending.data !== undefined && !sending.isPending ? shows(sending.data, close) : (
          <form onSubmit={onSubmit}>
            <Stack gap="sm">
              {sending.error ? <ErrorPanel error={sending.error} /> : null}
              {children(sending.error)}
              <Group justify="flex-end">
                <Button variant="default" onClick={close}>Cancel</Button>
                <Button type="submit" color={danger ? "red" : undefined} loading={sending.isPending}>{send}</Button>
              </Group>
            </Stack>
          </form>
        )}
      </Modal>
    </>
  );
}
