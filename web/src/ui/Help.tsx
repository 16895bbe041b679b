import { Kbd, Modal, Table, Text } from "@mantine/core";
import { useShortcuts } from "@/lib/shortcuts";

/** The keys that work on this page now. */
export function Help({ opened, close }: { opened: boolean; close: () => void }) {
  const keys = useShortcuts();
  return (
    <Modal opened={opened} onClose={close} title="Keys on this page" closeButtonProps={{ "aria-label": "Close" }}>
      <Text size="sm" c="dimmed" mb="sm">They are off while you type.</Text>
      <Table>
        <Table.Tbody>
          {keys.map((each) => (
            <Table.Tr key={each.keys}>
              <Table.Td>
                {each.keys.split(" ").map((key) => <Kbd key={key} mr={4}>{key.replace("mod", "Ctrl or Cmd")}</Kbd>)}
              </Table.Td>
              <Table.Td>{each.does}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
