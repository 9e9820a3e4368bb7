import { gzipSync } from "node:zlib";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
  plugins: [gzipFiles()],
  build: {
    outDir: process.env["DASHBOARD_OUT"] ?? "../../build/dashboard",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    manifest: "manifest.json",
    /* "use client" of libraries means nothing to a page */
    rolldownOptions: { onwarn(w, next) { if (w.code !== "MODULE_LEVEL_DIRECTIVE") { next(w); } } },
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
