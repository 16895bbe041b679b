import "./lib/nonce";
import "./styles";
import { createRoot } from "react-dom/client";
import { App } from "./App";

// A deploy while this page is open takes its files away: reload once, then leave it to the error panel.
const RELOADED = "shopfloor:reloaded-at";
addEventListener("vite:preloadError", (event) => {
  const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
  if (Date.now() - last < 60_000) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  event.preventDefault();
  location.reload();
});

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
