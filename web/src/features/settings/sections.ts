/** The sections of the settings: yours, then the organization's. Who may not see one doesn't find it here. */
export const SECTIONS = [
  { to: "/settings/profile", name: "Profile", permission: null },
  { to: "/settings/security", name: "Password and factors", permission: null },
  { to: "/settings/sessions", name: "Sessions", permission: null },
  { to: "/settings/keys", name: "API keys", permission: null },
  { to: "/settings/organization", name: "Organization", permission: "organization.read" },
  { to: "/settings/members", name: "Members", permission: "member.read" },
  { to: "/settings/teams", name: "Teams", permission: "team.read" },
  { to: "/settings/roles", name: "Roles", permission: "role.read" },
  { to: "/settings/secrets", name: "Secrets", permission: "secret.read" },
  { to: "/settings/notifications", name: "Notifications", permission: "notification.edit" },
  { to: "/settings/sign-in", name: "Sign-in and SSO", permission: "organization.edit" },
] as const;
