import { Anchor, Modal, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { onSignedOut } from "@/api/client";
import { SignInForm } from "./SignInForm";

/** Comes up over the page when the session has ended: what was typed stays, and what was sent is sent again. */
export function SignInAgain({ userId }: { userId: string | undefined }) {
  const queries = useQueryClient();
  const [opened, setOpened] = useState(false);
  const answer = useRef<((signedIn: boolean) => void) | null>(null);
  useEffect(() => {
    onSignedOut(() => {
      setOpened(true);
      return new Promise<boolean>((resolve) => {
        answer.current = resolve;
      });
    });
    return () => onSignedOut(null);
  }, []);
  const end = (signedIn: boolean) => {
    setOpened(false);
    answer.current?.(signedIn);
    answer.current = null;
  };
  return (
    <Modal opened={opened} onClose={() => end(false)} title="Your session has ended" closeButtonProps={{ "aria-label": "Close without signing in" }}>
      {opened ? (
        <Stack gap="md">
          <Text size="sm">
            Sign in again to go on where you were: nothing that you typed is lost. By single sign-on:{" "}
            <Anchor href="/sign-in" target="_blank" rel="noreferrer" size="sm">sign in in another tab</Anchor>, then close this and try again.
          </Text>
          <SignInForm
            done={(session) => {
              if (userId !== undefined && session.user_id !== userId) location.reload(); // somebody else's page
              end(true);
              void queries.invalidateQueries();
            }}
          />
        </Stack>
      ) : null}
    </Modal>
  );
}
