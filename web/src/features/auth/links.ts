/** The token of a one-time link stands behind its `#`, which no server sees. It leaves the address bar at once. */
export function tokenOfLink(): string {
  const token = location.hash.slice(1);
  if (token) history.replaceState(history.state, "", location.pathname + location.search);
  return token;
}

/** Where to go on after signing in: a path of this site, nothing that a browser could take for another one. */
export function safeReturn(to: string | undefined): string {
  return to && /^\/(?![/\\])[!-[\]-~]*$/.test(to) && !to.startsWith("/sign-in") ? to : "/";
}
