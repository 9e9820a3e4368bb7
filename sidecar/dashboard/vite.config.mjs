import { gzipSync } from "node:zlib";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/* nginx sends these files as they are (gzip_static); only index.html is left
 * out, because its nonce is put in as it is sent. */
function gzipFiles() {
  let out = "";
  const walk = (dir) => {
    for (const e of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, e.name);
      if (e.isDirectory()) {
        walk(path);
      } else if (/\.(js|css|svg|json)$/.test(e.name)) {
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    }
  };
  return {
    name: "gzip-files",
    apply: "build",
    configResolved(c) { out = join(c.root, c.build.outDir); },
    closeBundle() { walk(out); },
  };
}

export default defineConfig({
  base: "/dashboard/",
  plugins: [react(), gzipFiles()],
  build: {
    outDir: process.env["DASHBOARD_OUT"] ?? "../../build/dashboard",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    manifest: "manifest.json",
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
