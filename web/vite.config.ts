import { tanstackRouter } from "@tanstack/router-plugin/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { twins } from "./tools/twins.ts";

// `npm run dev` sends everything that is not a page to a running API: SHOPFLOOR_URL=http://127.0.0.1:8321.
const api = process.env["SHOPFLOOR_URL"] ?? "http://127.0.0.1:8321";
const toApi = { target: api, ws: true, changeOrigin: false };

export default defineConfig({
  plugins: [tanstackRouter({ target: "react", autoCodeSplitting: true }), react(), twins()],
  resolve: { alias: { "@": new URL("./src", import.meta.url).pathname } },
  html: { cspNonce: "__CSP_NONCE__" },
  build: {
    outDir: "../src/shopfloor/apps/webui/dist",
    emptyOutDir: true,
    target: "es2023",
    manifest: true,
    assetsInlineLimit: 0, // the policy of the pages names no data: scripts or fonts
    modulePreload: { polyfill: false },
  },
  server: {
    port: 8322,
    strictPort: true,
    proxy: Object.fromEntries(
      ["/api", "/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/.well-known"].map((path) => [path, toApi]),
    ),
  },
});
