import { Code, Group, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { api, data } from "@/api/client";
import { fieldErrors } from "@/api/errors";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { Empty } from "@/ui/Empty";
import { List } from "@/ui/List";
import { Status } from "@/ui/Status";

const DOMAINS = [["domains"]];

/** Domains whose addresses an identity provider may vouch for; each is proved by a record in its DNS. */
export function Domains() {
  const [domain, setDomain] = useState("");
  return (
    <Stack>
      <Group>
        <Dialog button="Add a domain" title="Add a domain" send="Add it" renews={DOMAINS} says="The domain is added: now prove it." onOpen={() => setDomain("")} submit={() => api.POST("/api/v1/verified-domains", { body: { domain } })}>
          {(error) => <TextInput label="Domain" placeholder="example.org" required value={domain} onChange={(event) => setDomain(event.currentTarget.value)} error={fieldErrors(error)["domain"]} />}
        </Dialog>
      </Group>
      <List queryKey={["domains"]} page={(cursor) => data(api.GET("/api/v1/verified-domains", { params: { query: cursor ? { cursor } : {} } }))} empty={<Empty says="None." cli="shopfloor identity-provider add-domain example.org" />}>
        {(items: Api["DomainReply"][]) => (
          <DataTable
            label="Domains" rows={items} id={(each) => each.id}
            columns={[
              { name: "Domain", cell: (each) => each.domain },
              { name: "Status", cell: (each) => <Status is={each.verified_at ? "good" : "warning"}>{each.verified_at ? "proved" : "not proved"}</Status> },
              { name: "TXT record", cell: (each) => <Code className="wrap-anywhere">{each.record_name} {each.record_text}</Code> },
              { name: "Actions", cell: (each) => <Actions of={each} /> },
            ]}
          />
        )}
      </List>
    </Stack>
  );
}

function Actions({ of: domain }: { of: Api["DomainReply"] }) {
  const params = { path: { domain_id: domain.id } };
  return (
    <Group gap="xs" wrap="nowrap">
      {domain.verified_at ? null : (
        <Dialog small button="Check" about={domain.domain} title={`Look for the record of ${domain.domain}`} send="Look now" renews={DOMAINS} says="The domain is proved." submit={() => api.POST("/api/v1/verified-domains/{domain_id}/verify", { params })}>
          {() => <Text size="sm">Put the TXT record into the domain's DNS first.</Text>}
        </Dialog>
      )}
      <Dialog small button="Remove" about={domain.domain} title={`Remove ${domain.domain}?`} send="Remove" danger renews={DOMAINS} says="The domain is removed." submit={() => api.DELETE("/api/v1/verified-domains/{domain_id}", { params })}>
        {() => <Text size="sm">Identity providers make no accounts for its addresses any more.</Text>}
      </Dialog>
    </Group>
  );
}
