import { Anchor, Code, Group, Text, TextInput, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, ifMatch, tagged } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import { useMay } from "@/api/session";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { When } from "@/ui/When";
import { LetterState } from "./DeadLettersPage";

const RENEWS = [["dead-letters"], ["dead-letter"]];

/** One dead letter: why it was given up, each attempt, and what it was about, without secrets. */
export function DeadLetterPage({ id }: { id: string }) {
  const { data: found, error, refetch } = useQuery({ queryKey: ["dead-letter", id], queryFn: () => tagged(api.GET("/api/v1/dead-letters/{letter_id}", { params: { path: { letter_id: id } } })) });
  const may = useMay("deadletter.edit", "anywhere");
  if (error) return <Page title="Dead letter"><ErrorPanel error={error} retry={() => void refetch()} /></Page>;
  if (!found) return <Page title="Dead letter"><Waiting /></Page>;
  const letter = found.data;
  return (
    <Page title={`Dead letter: ${letter.task}`} actions={may && letter.state === "open" ? <Actions id={id} etag={found.etag} job={letter.kind === "job"} /> : undefined}>
      <Group><LetterState of={letter} /><Text size="sm">given up <When at={letter.created_at} /></Text></Group>
      <Text><b>{letter.reason.title}.</b> {letter.reason.detail}</Text>
      {letter.discard_reason ? <Text size="sm">Discarded <When at={letter.settled_at} />: {letter.discard_reason}</Text> : null}
      {letter.job_id ? <Anchor component={Link} to={`/jobs/${letter.job_id}`}>Look at the job</Anchor> : null}
      {letter.kind === "job" && letter.requeued_as ? <Anchor component={Link} to={`/jobs/${letter.requeued_as}`}>Look at the new job</Anchor> : null}
      <Title order={2}>Attempts</Title>
      <div className="scroll-x">
        <DataTable
          label="Attempts" rows={letter.history} id={(each) => `${each.attempt} ${each.at}`}
          columns={[
            { name: "Attempt", cell: (each) => each.attempt },
            { name: "When", cell: (each) => <When at={each.at} /> },
            { name: "Worker", cell: (each) => each.worker || "died without a word" },
            { name: "What went wrong", cell: (each) => <Text size="sm" className="wrap-anywhere">{each.error.title}: {each.error.detail}</Text> },
          ]}
        />
      </div>
      <Title order={2}>What it was about</Title>
      {letter.struck_out ? <Text size="sm">Secrets are struck out.</Text> : null}
      <Code block className="wrap-anywhere" tabIndex={0} role="region" aria-label="What it was about">{JSON.stringify(letter.payload, null, 2)}</Code>
    </Page>
  );
}

function Actions({ id, etag, job }: { id: string; etag: string; job: boolean }) {
  const [model, setModel] = useState("");
  const [reason, setReason] = useState("");
  const params = { path: { letter_id: id } };
  return (
    <>
      <Dialog button="Requeue" title="Try it again?" send="Requeue" renews={RENEWS} says="It is tried again." onOpen={() => setModel("")} submit={() => api.POST("/api/v1/dead-letters/{letter_id}/requeue", { params, headers: ifMatch(etag), body: job && model ? { model } : {} })}>
        {(error) => (
          <>
            <Text size="sm">{job ? "It goes on as a new job from its last finished turn." : "The task is tried again with the same arguments."}</Text>
            {job ? <TextInput label="Another model" placeholder="provider/model" description="Empty: the same." value={model} onChange={(event) => setModel(event.currentTarget.value)} error={fieldErrors(error)["model"]} /> : null}
          </>
        )}
      </Dialog>
      <Dialog button="Discard" title="Discard it?" send="Discard" danger renews={RENEWS} says="It is discarded." onOpen={() => setReason("")} submit={() => api.POST("/api/v1/dead-letters/{letter_id}/discard", { params, headers: ifMatch(etag), body: { reason } })}>
        {(error) => <TextInput label="Why" description="It is never tried again. It stays in the list, with this reason." required value={reason} onChange={(event) => setReason(event.currentTarget.value)} error={fieldErrors(error)["reason"]} />}
      </Dialog>
    </>
  );
}
