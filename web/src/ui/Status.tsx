import { Badge } from "@mantine/core";
import { IconAlert, IconCheck, IconX } from "./icons";

const LOOKS = {
  good: { icon: IconCheck, color: "green" },
  warning: { icon: IconAlert, color: "yellow" },
  bad: { icon: IconX, color: "red" },
};

/** A status by icon and word; the colour only repeats it. */
export function Status({ is, children }: { is: keyof typeof LOOKS; children: string }) {
  const { icon: Icon, color } = LOOKS[is];
  return (
    <Badge variant="outline" tt="none" color={color} c="var(--mantine-color-text)" leftSection={<Icon size={12} aria-hidden />} style={{ flexShrink: 0 }}>
      {children}
    </Badge>
  );
}
