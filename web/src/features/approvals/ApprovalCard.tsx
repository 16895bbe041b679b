import { Alert, Anchor, Button, Code, Group, Modal, Paper, Stack, Text, Textarea, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import { ApiError } from "@/api/errors";
import { useMayIn } from "@/api/session";
import { useShortcut } from "@/lib/shortcuts";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconCheck, IconWaiting, IconX } from "@/ui/icons";
import { saySaved } from "@/ui/toast";
import { When } from "@/ui/When";
import { type Approval, approve, commandOf, reject, restOf } from "./queries";

type Verdict = "once" | "remember" | "reject";

/** One thing that waits for a yes: the exact call, who may answer, until when. `keys`: the only or first one of its page. */
export function ApprovalCard({ approval, keys, withJob }: { approval: Approval; keys: boolean; withJob: boolean }) {
  const [asked, setAsked] = useState<Verdict | null>(null);
  const may = useMayIn(approval.project_id, "job.approve");
  useShortcut("a", "Approve", useCallback(() => setAsked("once"), []), keys && may && approval.state === "pending");
  useShortcut("r", "Reject", useCallback(() => setAsked("reject"), []), keys && may && approval.state === "pending");
  const rest = restOf(approval);
  const command = commandOf(approval);
  return (
    <Paper withBorder p="md" component="section" aria-label={`Approval: ${approval.summary}`}>
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Title order={2} className="wrap-anywhere">{approval.kind === "push" ? "Push the result" : `The agent wants to call ${approval.tool}`}</Title>
          <ApprovalState approval={approval} />
        </Group>
        <Text size="sm" c="dimmed">
          {withJob ? <><Anchor component={Link} to={`/jobs/${approval.job_id}`} inherit td="underline">Its job</Anchor>, </> : null}
          turn {approval.turn}{approval.scope ? ", by a delegated agent" : ""}, asked <When at={approval.created_at} />
          {approval.state === "pending" ? <>. If nobody answers, it counts as rejected <When at={approval.expires_at} />.</> : null}
        </Text>
        {command === null ? null : <Code block tabIndex={0} aria-label="The command" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", maxHeight: "20rem", overflow: "auto" }}>{command}</Code>}
        {rest === "" ? null : <Code block tabIndex={0} aria-label="The arguments" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", maxHeight: "20rem", overflow: "auto" }}>{rest}</Code>}
        <Text size="xs" c="dimmed">This is the model's text, exactly as it would be run.</Text>
        {approval.state !== "pending" ? null : may ? (
          <Group gap="xs">
            <Button leftSection={<IconCheck size={16} aria-hidden />} onClick={() => setAsked("once")}>Approve</Button>
            {approval.kind === "tool" ? <Button variant="default" onClick={() => setAsked("remember")}>Approve and remember for this job</Button> : null}
            <Button variant="default" leftSection={<IconX size={16} aria-hidden />} onClick={() => setAsked("reject")}>Reject</Button>
          </Group>
        ) : (
          <Text size="sm">Whoever has the permission job.approve in its project answers; you don't.</Text>
        )}
      </Stack>
      <Modal opened={asked !== null} onClose={() => setAsked(null)} title={asked === "reject" ? "Reject this?" : "Approve this?"} closeButtonProps={{ "aria-label": "Close" }}>
        {asked ? <AnswerForm approval={approval} verdict={asked} close={() => setAsked(null)} /> : null}
      </Modal>
    </Paper>
  );
}

function ApprovalState({ approval }: { approval: Approval }) {
  const Icon = approval.state === "pending" ? IconWaiting : approval.state === "approved" ? IconCheck : IconX;
  const by = approval.decided_by_name ? ` by ${approval.decided_by_name}` : "";
  return (
    <Group gap={4} wrap="nowrap">
      <Icon size={14} aria-hidden />
      <Text size="sm">{approval.state}{by}{approval.remember ? ", remembered" : ""}{approval.reason ? `: ${approval.reason}` : ""}</Text>
    </Group>
  );
}

const TELLS: Record<Verdict, string> = {
  once: "The job goes on and does exactly this, once.",
  remember: "The job goes on and does this; the same call of this job is approved from now on.",
  reject: "The job goes on without it. The agent is told your reason.",
};

function AnswerForm({ approval, verdict, close }: { approval: Approval; verdict: Verdict; close: () => void }) {
  const [reason, setReason] = useState("");
  const queries = useQueryClient();
  const renew = () => Promise.all([queries.invalidateQueries({ queryKey: ["approvals"] }), queries.invalidateQueries({ queryKey: ["jobs"]})]);
  const answering = useMutation({
    meta: { quiet: true },
    mutationFn: () => (verdict === "reject" ? reject(approval.id, reason.trim()) : approve(approval.id, verdict === "remember", reason.trim())),
    onSuccess: async () => {
      close();
      saySaved(verdict === "reject" ? "Rejected: the job goes on without it." : "Approved: the job goes on.");
      await renew();
    },
    onError: (error) => {
      if (error instanceof ApiError && error.status === 409) void renew(); // somebody was faster: show who
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        answering.mutate();
      }}
    >
      <Stack gap="sm">
        {answering.error ? <ErrorPanel error={answering.error} /> : null}
        <Alert color={verdict === "reject" ? "yellow" : "blue"}><Text size="sm" c="var(--mantine-color-text)">{TELLS[verdict]}</Text></Alert>
        <Code block className="wrap-anywhere" style={{ whiteSpace: "pre-wrap", maxHeight: "12rem", overflow: "auto" }} tabIndex={0}>{commandOf(approval) ?? approval.summary}</Code>
        <Textarea label={verdict === "reject" ? "Reason, for the agent" : "Reason, for the record"} maxLength={1_000} autosize minRows={2} value={reason} onChange={(event) => setReason(event.currentTarget.value)} />
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>Not yet</Button>
          <Button type="submit" color={verdict === "reject" ? "red" : undefined} loading={answering.isPending}>{verdict === "reject" ? "Reject" : verdict === "remember" ? "Approve and remember" : "Approve"}</Button>
        </Group>
      </Stack>
    </form>
  );
}
